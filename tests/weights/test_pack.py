"""scripts/pack_weights.py and `basicsr convert --half`."""

import hashlib
import importlib.util
import json

import pytest
import torch

from msgnn_plugin.archs import MSGNNArch, load_weights
from msgnn_plugin.cli.main import main
from msgnn_plugin.weights import default_path, read_index
from tests.weights.conftest import SMALL

pytest.importorskip("safetensors")
TEXTS = ("--purpose", "pictures", "--result", "Rain12: 30 dB")


@pytest.fixture
def packing(repository, folder):
    spec = importlib.util.spec_from_file_location("pack_weights", repository / "scripts/pack_weights.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def pack(packing):
    return lambda *arguments: packing.main([*map(str, arguments), *TEXTS])


@pytest.fixture
def trained(network, tmp_path):
    """A checkpoint of training, whose averaged network is the one to take."""
    torch.save({"params": MSGNNArch(**SMALL).state_dict(), "params_ema": network.state_dict()}, tmp_path / "net.pth")
    return tmp_path / "net.pth"


def snapshot(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_packs_the_averaged_network_in_half_precision(pack, trained, network, folder, write_card, capsys):
    write_card("general")
    assert pack("general", trained, "--default") == 0
    file = folder / "general.safetensors"
    assert f"{file}: " in capsys.readouterr().out
    stored, expected = load_weights(file), network.state_dict()
    assert stored.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(stored[name], value.half() if value.is_floating_point() else value), name
        assert stored[name].dtype == (torch.float16 if value.is_floating_point() else value.dtype), name
    assert json.loads((folder / "index.json").read_text()) == {
        "default": "general",
        "weights": {
            "general": {
                "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
                "family": "msgnn",
                "purpose": "pictures",
                "result": "Rain12: 30 dB",
            }
        },
    }
    assert default_path() == file


def test_the_same_input_gives_the_same_bytes_in_any_order(pack, trained, folder, write_card):
    for name in ("b", "a"):
        write_card(name)
        assert pack(name, trained) == 0
    first = snapshot(folder)
    for name in ("a", "b", "a"):
        assert pack(name, trained) == 0
    assert snapshot(folder) == first
    assert (folder / "a.safetensors").read_bytes() == (folder / "b.safetensors").read_bytes()


def test_other_weights_may_take_a_name_and_the_default_stays(pack, trained, folder, tmp_path, write_card):
    write_card("general")
    assert pack("general", trained, "--default") == 0
    torch.save(MSGNNArch(**SMALL, use_exemplar=False).state_dict(), tmp_path / "new.pth")
    assert pack("general", tmp_path / "new.pth") == 0
    assert default_path() == folder / "general.safetensors"
    assert not any(name.startswith("graphs.exemplar") for name in load_weights(default_path()))


@pytest.mark.parametrize(
    ("name", "source", "sentence"),
    [
        ("../x", "net.pth", "NAME must be small letters, digits, - and _, got '../x'"),
        ("Big", "net.pth", "NAME must be small letters"),
        ("uncarded", "net.pth", "uncarded.md: must be the card of these weights, got no such file"),
        ("bare", "net.pth", "bare.md: must have the headings Data, Schedule, Hardware, Results, Licence, Limits"),
        ("general", "none.pth", "must be a weights file"),
        ("general", "other.pth", "must hold weights of MSGNN"),
        ("general", "large.pth", "halve: `stem.weight` must hold numbers from -65504 to 65504, got 70000"),
        ("general", "nan.pth", "halve: `stem.weight` must hold numbers"),
    ],
)
def test_bad_input_changes_nothing(
    pack, trained, network, folder, write_card, tmp_path, monkeypatch, capsys, name, source, sentence
):
    monkeypatch.chdir(tmp_path)
    write_card("general")
    assert pack("general", trained) == 0
    (folder / "bare.md").write_text("# bare\n\n## Data\nWords.\n")
    for file, value in (("large.pth", 7e4), ("nan.pth", float("nan"))):
        weights = network.state_dict()
        weights["stem.weight"] = torch.full_like(weights["stem.weight"], value)
        torch.save(weights, file)
    torch.save({"conv.weight": torch.zeros(1)}, "other.pth")
    before = snapshot(folder), sorted(tmp_path.iterdir())
    capsys.readouterr()
    assert pack(name, source) == 2
    error = capsys.readouterr().err
    assert error.startswith("pack_weights: error: ")
    assert sentence in error
    assert error.count("\n") == 1
    assert (snapshot(folder), sorted(tmp_path.iterdir())) == before


def test_files_and_all_of_them_have_limits(packing, pack, trained, folder, write_card, monkeypatch, capsys):
    assert (packing.MAX_FILE, packing.MAX_ALL) == (12e6, 40e6)
    write_card("general")
    write_card("other")
    assert pack("general", trained) == 0
    size = (folder / "general.safetensors").stat().st_size
    before = snapshot(folder)
    for limit, value in (("MAX_FILE", size - 1), ("MAX_ALL", 2 * size - 1)):
        with monkeypatch.context() as limits:
            limits.setattr(packing, limit, value)
            assert pack("other", trained) == 2
        assert f"got {size}; train a smaller network" in capsys.readouterr().err
        assert snapshot(folder) == before
    monkeypatch.setattr(packing, "MAX_FILE", size)
    monkeypatch.setattr(packing, "MAX_ALL", 2 * size)
    assert pack("other", trained) == 0
    # A new file in the place of an old one counts once.
    assert pack("other", trained) == 0
    assert list(read_index().weights) == ["general", "other"]


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_convert_halves_floating_tensors_alone(trained, network, tmp_path, suffix, capsys):
    assert main(["convert", str(trained), str(tmp_path / f"half{suffix}"), "--half"]) == 0
    stored = load_weights(tmp_path / f"half{suffix}")
    stored = stored.get("params", stored)
    assert stored["hyper"].dtype == torch.int64
    assert stored["exemplar_bank"].dtype == torch.uint8
    for name, value in network.state_dict().items():
        assert torch.equal(stored[name], value.half() if value.is_floating_point() else value), name
