"""The tables of the results page: the numbers of `basicsr test`, the networks as they were released."""

import csv
import json
import re
import shutil

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from benchmarks import deraining, harness
from benchmarks.deraining_methods import peak_memory
from benchmarks.prenet import PReNet, load_prenet
from msgnn_plugin.archs import MSGNNArch
from tests.adapters import tiny_run

SMALL = {key: value for key, value in tiny_run.NETWORK.items() if key != "type"}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder to be in, with results of its own; memory, for which a process must be started, is made up."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(harness, "RESULTS", tmp_path / "json")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(deraining, "peak_memory", lambda method, rainy, exemplar: 100.0)
    return tmp_path


@pytest.fixture
def weights(folder):
    """Weights of a small random network with a bank."""
    torch.manual_seed(0)
    network = MSGNNArch(**SMALL)
    network.set_exemplar_bank(torch.randint(0, 256, (3, 3, 20, 22), dtype=torch.uint8))
    torch.save({"params_ema": network.state_dict()}, "ours.pth")
    return folder / "ours.pth"


def released(seed=0):
    """Random weights under the names that PReNet's authors gave theirs, as the released files list them."""
    torch.manual_seed(seed)
    sizes = {"conv0.0": (32, 6), "conv.0": (3, 32)} | {f"conv_{gate}.0": (32, 64) for gate in "ifgo"}
    sizes |= {f"res_conv{block}.{layer}": (32, 32) for block in range(1, 6) for layer in (0, 2)}
    found = {}
    for name, (outputs, inputs) in sizes.items():
        found |= {f"{name}.weight": torch.randn(outputs, inputs, 3, 3) / 30, f"{name}.bias": torch.randn(outputs) / 30}
    return found


def result(name="tiny"):
    document = json.loads(next((harness.RESULTS).glob("deraining-*.json")).read_text())
    return document, {row["method"]: row for row in document["results"][name]["methods"]}


@pytest.mark.parametrize("policy", ["random", "self", "retrieved"])
def test_numbers_are_those_of_basicsr_test(folder, weights, repository, policy, capsys):
    tiny_run.make_pairs(folder / "datasets/rain800/test", 3, side=40)
    shutil.copytree(repository / "options/_base_", folder / "options/_base_")
    option_file = shutil.copy(repository / "options/test_msgnn_rain800.yml", folder / "options")
    forced = [f"path:pretrain_network_g={weights}", "num_gpu=0", f"datasets:test:exemplar={policy}"]
    tiny_run.run("test", option_file, "--force_yml", *forced)
    with open("results/test_msgnn_rain800/metrics/Rain800.csv", newline="") as table:
        *_, expected = csv.DictReader(table)
    assert deraining.main(["tiny=datasets/rain800/test", "--weights", str(weights), "--exemplar", policy]) == 0
    _, rows = result()
    for method, prefix in (("ours, ours", ""), ("rainy input", "input_")):
        for measure in deraining.MEASURES:
            tolerance = 0.01 if measure.startswith("psnr") else 0.0002
            assert rows[method][measure] == pytest.approx(float(expected[prefix + measure]), abs=tolerance)
    # The network must change the picture, else two equal rows would pass for agreement.
    assert abs(rows["ours, ours"]["psnr"] - rows["rainy input"]["psnr"]) > 0.1


def test_the_policy_counts(folder, weights):
    tiny_run.make_pairs(folder / "data", 3, side=40)
    found = set()
    for policy in ("random", "self", "retrieved"):
        deraining.main(["tiny=data", "--weights", str(weights), "--exemplar", policy])
        found.add(result()[1]["ours, ours"]["psnr"])
    assert len(found) == 3


def test_tables_strips_and_a_bad_pair(folder, weights, capsys):
    tiny_run.make_pairs(folder / "data", 3)
    (folder / "data/rain/2.png").write_bytes(b"no picture")
    torch.save(released(), "net_latest.pth")
    asked = ["--weights", f"A={weights}", f"B={weights}", "--peer", "Rain100H=net_latest.pth", "--exemplar", "self"]
    assert deraining.main(["tiny=data", *asked, "--markdown", "out/t.md", "--pictures", "strips"]) == 1
    captured = capsys.readouterr()
    assert re.search("tiny: left out: .*2.png", captured.err)
    document, rows = result()
    assert list(rows) == ["rainy input", "PReNet, Rain100H", "ours, A", "ours, B"]
    assert (document["results"]["tiny"]["pairs"], document["results"]["tiny"]["left_out"]) == (2, 1)
    assert rows["rainy input"]["seconds"] is None
    assert rows["PReNet, Rain100H"]["seconds"] > 0
    one, other = ([rows[f"ours, {name}"][measure] for measure in deraining.MEASURES] for name in "AB")
    assert one == other
    assert str(folder) not in json.dumps(document)
    text = (folder / "out/t.md").read_text()
    cells = f"{rows['ours, A']['psnr']:.2f} | {rows['ours, A']['ssim']:.4f} |"
    assert f"| ours, A | {cells}" in text
    assert "tiny, 2 pairs" in text
    assert f"{rows['ours, A']['psnr']:.2f}" in captured.out
    strips = sorted((folder / "strips/tiny").iterdir())
    assert [path.name for path in strips] == ["1.png", "3.png"]
    # rainy, PReNet, A, B, clean of 24 pixels, lines of 4 between them.
    strip = cv2.imread(str(strips[0]))
    assert strip.shape == (24, 5 * 24 + 4 * 4, 3)
    assert np.array_equal(strip[:, :24], cv2.imread("data/rain/1.png"))
    assert np.array_equal(strip[:, -24:], cv2.imread("data/norain/1.png"))


@pytest.mark.slow
def test_memory_is_that_of_a_process_of_its_own(folder, weights):
    torch.save(released(), "net.pth")
    exemplar = torch.rand(1, 3, 30, 30)
    peer = deraining.peer("P", folder / "net.pth")
    small, large = (peak_memory(peer, torch.rand(1, 3, side, side), exemplar) for side in (32, 256))
    # Four maps of 32 channels are the least that it holds at once: the LSTM's state and what makes the next.
    assert large - small > 4 * 32 * 256**2 * 4 / harness.MEBIBYTE
    assert peak_memory(deraining.ours("O", weights, "retrieved"), torch.rand(1, 3, 32, 32), exemplar) > 100


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["data"], "SET=ROOT must be NAME=VALUE"),
        (["a=data", "a=data"], "with a NAME of its own"),
        (["a=data", "--limit", "0"], "`--limit` must be at least 1, got 0"),
        (["a=nowhere"], "got nowhere"),
        (["a=data", "--weights", "nowhere"], "got 'nowhere'"),
        (["a=data", "--peer", "b=ours.pth"], "must hold PReNet's state dict"),
    ],
)
def test_a_wrong_command_line_ends_before_the_work(folder, weights, arguments, sentence, capsys):
    tiny_run.make_pairs(folder / "data", 2)
    with pytest.raises(SystemExit, match="2"):
        deraining.main(arguments)
    assert sentence in capsys.readouterr().err
    assert not harness.RESULTS.exists()


def test_loader_gives_the_released_network(folder):
    """Beside a naive pass written from the released names: gates one by one, a state of zeros to begin with."""
    weights = released()
    torch.save(weights, "net.pth")
    rainy = torch.rand(1, 3, 12, 14)

    def conv(name, x):
        return nn.functional.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1)

    derained, hidden, cell = rainy, torch.zeros(1, 32, 12, 14), torch.zeros(1, 32, 12, 14)
    for _ in range(6):
        both = torch.cat((conv("conv0.0", torch.cat((rainy, derained), 1)).relu(), hidden), 1)
        gates = {gate: conv(f"conv_{gate}.0", both) for gate in "ifgo"}
        cell = gates["f"].sigmoid() * cell + gates["i"].sigmoid() * gates["g"].tanh()
        hidden = x = gates["o"].sigmoid() * cell.tanh()
        for block in range(1, 6):
            x = (conv(f"res_conv{block}.2", conv(f"res_conv{block}.0", x).relu()).relu() + x).relu()
        derained = conv("conv.0", x) + rainy
    torch.testing.assert_close(load_prenet("net.pth")(rainy), derained, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        lambda weights: {**weights, "more.weight": torch.zeros(1)},
        lambda weights: {name: tensor for name, tensor in weights.items() if name != "conv_f.0.bias"},
        lambda weights: {**weights, "conv.0.bias": torch.zeros(4)},
        lambda weights: {**weights, "conv_g.0.weight": torch.zeros(32, 64, 5, 5)},
        lambda weights: {"params": weights},
        lambda weights: PReNet().state_dict(),
    ],
)
def test_loader_refuses_others_in_one_sentence(folder, change):
    torch.save(change(released()), "net.pth")
    with pytest.raises(ValueError, match=r"'net\.pth' must hold PReNet's state dict") as caught:
        load_prenet("net.pth")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "gain"), [("Rain100H", 12), ("Rain100L", 5)])
def test_released_weights_derain(shared, name, gain):
    """On a piece of one real picture of their own set: a wrong mapping makes it worse."""
    network = load_prenet(shared / f"data/peer_weights/PReNet/{name}/net_latest.pth")
    folder = shared / "data" / name.lower()
    file = sorted((folder / "rain").iterdir())[0].name
    rainy, clean = (cv2.imread(str(folder / side / file))[100:228, 100:228, ::-1] for side in ("rain", "norain"))
    with torch.inference_mode():
        derained = network(torch.from_numpy(rainy.copy()).permute(2, 0, 1)[None] / 255)
    picture = (derained[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    assert cv2.PSNR(picture, clean.copy()) > cv2.PSNR(rainy.copy(), clean.copy()) + gain
