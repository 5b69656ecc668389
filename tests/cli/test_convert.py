"""`basicsr convert` as a user types it."""

import pytest
import torch

from msgnn_plugin.archs import MSGNNArch, NLCLGenerator, UniRainArch, from_state_dict, load_weights
from msgnn_plugin.archs.state_dict import unwrap
from msgnn_plugin.cli.main import main

NETWORKS = {
    "msgnn": lambda: MSGNNArch(num_feat=4, num_blocks=1, num_groups=2, num_neighbors=2, window_size=3),
    "nlcl": lambda: NLCLGenerator(num_feat=4, num_blocks=1, reversible_norm=True),
    "unirain": lambda: UniRainArch(num_feat=4, num_blocks=(1, 0, 0, 0), num_heads=(1, 1, 1, 1), num_refinement=0),
}


def convert(*arguments):
    return main(["convert", *map(str, arguments)])


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) and a[name].dtype == b[name].dtype for name in a)


@pytest.mark.parametrize("family", NETWORKS)
def test_there_and_back_every_tensor_is_the_same(family, tmp_path, capsys):
    safetensors = pytest.importorskip("safetensors")
    weights = NETWORKS[family]().state_dict()
    torch.save({"params": weights}, tmp_path / "a.pth")
    assert convert(tmp_path / "a.pth", tmp_path / "made/a.safetensors") == 0
    assert f"{len(weights)} tensors of" in capsys.readouterr().out
    with safetensors.safe_open(tmp_path / "made/a.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}
        assert same({name: file.get_tensor(name) for name in file.keys()}, weights)  # noqa: SIM118
    assert convert(tmp_path / "made/a.safetensors", tmp_path / "b.pth") == 0
    stored = torch.load(tmp_path / "b.pth", weights_only=True)
    assert list(stored) == ["params"]
    assert same(stored["params"], weights)


def test_a_checkpoint_of_training_gives_its_averaged_network(tmp_path):
    pytest.importorskip("safetensors")
    plain, averaged = (NETWORKS["msgnn"]() for _ in range(2))
    averaged.set_exemplar_bank(torch.randint(0, 256, (2, 3, 8, 9), dtype=torch.uint8))
    named = {f"module.{name}": value for name, value in averaged.state_dict().items()}
    best = {"dataset": "Set", "metric": "psnr", "value": 1.5, "iter": 2}
    torch.save({"params": plain.state_dict(), "params_ema": named, "best": best}, tmp_path / "net_g_best.pth")
    assert convert(tmp_path / "net_g_best.pth", tmp_path / "a.safetensors") == 0
    assert same(load_weights(tmp_path / "a.safetensors"), averaged.state_dict())


def test_tensors_of_any_layout_and_shared_ones_are_written(tmp_path):
    pytest.importorskip("safetensors")
    network = NETWORKS["nlcl"]().to(memory_format=torch.channels_last).bfloat16()
    weights = network.state_dict()
    weights["neck.1.weight"] = weights["neck.0.weight"]
    torch.save(weights, tmp_path / "a.pth")
    assert convert(tmp_path / "a.pth", tmp_path / "a.safetensors") == 0
    assert same(load_weights(tmp_path / "a.safetensors"), weights)


@pytest.mark.parametrize("layer", ["Back", "Rain"])
def test_the_authors_weights_keep_their_names(layer, shared, tmp_path):
    pytest.importorskip("safetensors")
    source = shared / f"golden/nlcl/latest_net_{layer}.pth"
    assert convert(source, tmp_path / "a.safetensors") == 0
    before, after = unwrap(load_weights(source)), load_weights(tmp_path / "a.safetensors")
    assert same(before, after)
    assert same(from_state_dict(before).state_dict(), from_state_dict(after).state_dict())


@pytest.mark.parametrize(
    ("source", "out", "sentence"),
    [
        ("a.pth", "b.onnx", "`OUT` must end in .pth or .safetensors, got"),
        ("a.pth", "a.pth", "`OUT` must be another file than those that are read"),
        ("nothing.pth", "b.pth", "must be a weights file"),
        ("cut.pth", "b.pth", "must be a whole weights file"),
        ("other.pth", "b.pth", "must hold weights of MSGNN"),
        ("part.pth", "b.pth", "must be complete"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_what_was_there(source, out, sentence, tmp_path, capsys):
    weights = NETWORKS["nlcl"]().state_dict()
    torch.save(weights, tmp_path / "a.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "a.pth").read_bytes()[:2000])
    torch.save({"conv.weight": torch.zeros(1)}, tmp_path / "other.pth")
    torch.save({name: value for name, value in weights.items() if name != "head.bias"}, tmp_path / "part.pth")
    (tmp_path / "b.pth").write_text("kept")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert convert(tmp_path / source, tmp_path / out) == 2
    error = capsys.readouterr().err
    assert error.startswith("basicsr convert: error: ")
    assert sentence in error
    assert error.count("\n") == 1
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
