"""`basicsr weights`, and every command that takes weights, with shipped ones."""

import csv
import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from msgnn_plugin.adapters.basicsr import places
from msgnn_plugin.archs import MSGNNArch, from_state_dict, load_weights
from msgnn_plugin.cli.main import main
from tests.weights.conftest import SMALL


def command(*arguments):
    return main(list(map(str, arguments)))


@pytest.fixture
def picture(tmp_path, make_pair):
    cv2.imwrite(str(tmp_path / "rainy.png"), make_pair(0, (48, 40))[0][:, :, ::-1])
    return tmp_path / "rainy.png"


def test_the_table_marks_the_default(ship, network, capsys):
    file = ship("general", network, default=True)
    ship("rain800", network)
    assert command("weights") == 0
    head, general, rain800 = capsys.readouterr().out.splitlines()
    assert head.split() == ["name", "family", "size", "for", "result"]
    size = f"{file.stat().st_size / 1e6:.1f}"
    assert general.split() == ["general", "(default)", "msgnn", size, "MB", "pictures", "Rain12:", "30", "dB"]
    assert rain800.split()[:2] == ["rain800", "msgnn"]


def test_json_tells_the_same(ship, network, capsys):
    file = ship("general", network, default=True)
    ship("rain800", network)
    assert command("weights", "--json") == 0
    first, second = json.loads(capsys.readouterr().out)
    assert (first["name"], first["default"], first["intact"]) == ("general", True, True)
    assert (first["file"], first["bytes"]) == (str(file), file.stat().st_size)
    assert (second["name"], second["default"]) == ("rain800", False)
    assert command("weights", "rain800", "--json") == 0
    assert json.loads(capsys.readouterr().out) == [second]


def test_a_name_prints_its_card(ship, network, folder, capsys):
    ship("general", network)
    assert command("weights", "general") == 0
    assert capsys.readouterr().out.strip() == (folder / "general.md").read_text().strip()
    assert command("weights", "genral") == 2
    assert "must be a name of shipped weights (general), got 'genral'. Did you mean general?" in capsys.readouterr().err
    (folder / "general.md").unlink()
    assert command("weights", "general") == 2
    assert "general.md must be a path to read" in capsys.readouterr().err


@pytest.mark.parametrize("more", [[], ["--json"], ["general"]])
def test_damaged_files_are_told_and_the_others_listed(ship, network, capsys, more):
    file = ship("general", network)
    ship("rain800", network)
    file.write_bytes(file.read_bytes()[:-1])
    assert command("weights", *more) == 1
    output = capsys.readouterr()
    assert output.err.startswith(f"basicsr weights: error: weights: {file} must have the SHA-256")
    assert output.err.count("\n") == 1
    if more == ["--json"]:
        assert [entry["intact"] for entry in json.loads(output.out)] == [False, True]
    elif not more:
        assert "damaged" in output.out.splitlines()[1]
        assert "MB" in output.out.splitlines()[2]
    file.unlink()
    assert command("weights", *more) == 1
    assert "got no such file" in capsys.readouterr().err


def test_a_version_without_weights_says_so(folder, capsys):
    assert command("weights") == 0
    assert "comes without weights" in capsys.readouterr().out
    assert command("weights", "--json") == 0
    assert json.loads(capsys.readouterr().out) == []


def identity():
    """A network whose head is zero gives its input back."""
    network = MSGNNArch(**SMALL)
    for parameter in network.head[-1].parameters():
        torch.nn.init.zeros_(parameter)
    return network


def test_restore_takes_the_default_and_names(ship, network, picture, tmp_path, capsys):
    rainy = cv2.imread(str(picture))
    assert command("restore", picture, "-o", tmp_path / "out", "--device", "cpu") == 2
    assert "`--weights` must name a weights file" in capsys.readouterr().err
    ship("same", identity(), default=True)
    file = ship("other", network)
    assert command("restore", picture, "-o", tmp_path / "out", "--device", "cpu") == 0
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "out/rainy.png")), rainy)
    for out, weights in (("named", "other"), ("file", file)):
        assert command("restore", picture, "-o", tmp_path / out, "--weights", weights, "--device", "cpu") == 0
    by_name, by_file = ((tmp_path / out / "rainy.png").read_bytes() for out in ("named", "file"))
    assert by_name == by_file
    assert (cv2.imread(str(tmp_path / "named/rainy.png")) != rainy).any()
    file.write_bytes(file.read_bytes()[:-1])
    assert command("restore", picture, "-o", tmp_path / "cut", "--weights", "other", "--device", "cpu") == 2
    assert "was changed or cut short" in capsys.readouterr().err


def test_commands_take_names(ship, network, picture, tmp_path):
    file = ship("general", network)
    assert command("convert", "general", tmp_path / "plain.pth") == 0
    plain = torch.load(tmp_path / "plain.pth", weights_only=True)["params"]
    stored = load_weights(file)
    assert all(torch.equal(plain[name], tensor) for name, tensor in stored.items())
    assert command("bank", "general", picture, "-o", tmp_path / "bank.pth", "--size", 32) == 0
    assert from_state_dict(load_weights(tmp_path / "bank.pth")).exemplar_bank.shape == (1, 3, 32, 32)
    pytest.importorskip("matplotlib")
    assert command("graph", picture, "--weights", "general", "--at", "5,5", "-o", tmp_path / "figure.png") == 0


def test_export_takes_names(ship, network, tmp_path, monkeypatch):
    exporting = pytest.importorskip("msgnn_plugin.exporting")
    given = []
    agreement = SimpleNamespace(sizes=(), difference=0.0, share=1.0)
    monkeypatch.setattr(exporting, "export_network", lambda network, *_, **__: given.append(network) or agreement)
    ship("general", network)
    assert command("export", "general", "-o", tmp_path / "net.pt2") == 0
    assert torch.equal(given[0].exemplar_bank, network.exemplar_bank)


@pytest.mark.parametrize(
    "arguments",
    [
        ["restore", "{picture}", "-o", "out", "--weights", "genral"],
        ["graph", "{picture}", "--weights", "genral", "--at", "5,5", "-o", "out.png"],
        ["bank", "genral", "{picture}", "-o", "out.pth"],
        ["convert", "genral", "out.pth"],
        ["export", "genral", "-o", "out.pt2"],
        ["mmengine", "test", "config.py", "--weights", "genral"],
        ["mmengine", "train", "config.py", "--weights", "genral"],
    ],
)
def test_commands_tell_the_names_there_are(ship, network, picture, tmp_path, monkeypatch, capsys, arguments):
    if arguments[0] == "mmengine":
        pytest.importorskip("mmengine")
    monkeypatch.chdir(tmp_path)
    ship("general", network)
    assert command(*(argument.format(picture=picture) for argument in arguments)) == 2
    assert "or a name of shipped ones (general), got 'genral'. Did you mean general?" in capsys.readouterr().err
    assert not list(tmp_path.glob("out*"))


def test_option_files_take_names(ship, network, tmp_path):
    file = ship("general", network)
    for value, expected in (("general", file), (str(file), file)):
        opt = {"datasets": {}, "path": {"pretrain_network_g": value}}
        places.resolve_paths(opt, tmp_path)
        assert opt["path"]["pretrain_network_g"] == str(expected)
    (tmp_path / "general").touch()
    opt = {"datasets": {}, "path": {"pretrain_network_g": "general"}}
    with pytest.warns(UserWarning, match="general is taken from the file"):
        places.resolve_paths(opt, tmp_path)
    assert opt["path"]["pretrain_network_g"] == str(tmp_path / "general")


def test_basicsr_test_measures_them_as_their_own_file(ship, network, tmp_path, monkeypatch):
    from tests.adapters import tiny_run

    monkeypatch.chdir(tmp_path)
    tiny_run.make_pairs(tmp_path / "data/test", 2)
    ship("general", network)
    torch.save(
        {"params_ema": from_state_dict(load_weights(tmp_path / "shipped/general.safetensors")).state_dict()}, "a.pth"
    )
    tables = []
    for weights in ("general", "a.pth"):
        options = tiny_run.measuring_options(weights) | {"name": weights.partition(".")[0], "manual_seed": 0}
        tiny_run.run("test", tiny_run.write_options(tmp_path / "options" / f"{options['name']}.yml", options))
        with open(tmp_path / "results" / options["name"] / "metrics/first.csv", newline="") as table:
            tables.append(list(csv.reader(table)))
    assert len(tables[0]) == 4
    assert tables[0] == tables[1]
