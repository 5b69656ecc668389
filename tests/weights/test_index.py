"""Shipped weights by their names: found, checked, and refused where they are not what was shipped."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch

from msgnn_plugin.archs import FAMILIES, from_state_dict, load_weights
from msgnn_plugin.weights import default_path, read_index, weights_path
from tests.weights.conftest import SECTIONS

GOOD = {"sha256": "0" * 64, "family": "msgnn", "purpose": "pictures", "result": "30 dB"}


def test_a_name_leads_to_its_file_and_the_network_computes_in_float32(ship, network):
    file = ship("general", network, default=True)
    assert weights_path("general") == default_path() == file
    stored = load_weights(weights_path("general"))
    assert {tensor.dtype for tensor in stored.values() if tensor.is_floating_point()} == {torch.float16}
    loaded = from_state_dict(stored).eval()
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    assert loaded.settings == network.settings
    assert torch.equal(loaded.hyper, network.hyper)
    assert torch.equal(loaded.exemplar_bank, network.exemplar_bank)
    # Eleven bits of mantissa: each weight is off by at most 2^-11 of itself (or half the smallest subnormal).
    for name, value in network.named_parameters():
        assert torch.allclose(loaded.state_dict()[name], value, rtol=2**-11, atol=2**-25), name
    rainy = torch.rand(1, 3, 37, 41)
    with torch.no_grad():
        difference = (loaded(rainy) - network(rainy)).abs().max()
    assert 0 < difference < 0.5 / 255


def test_without_a_default_there_is_none(ship, network):
    assert default_path() is None
    ship("general", network)
    assert default_path() is None


def flip_a_bit(file):
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (flip_a_bit, "must have the SHA-256"),
        (lambda file: file.write_bytes(file.read_bytes()[:-1]), "was changed or cut short"),
        (lambda file: file.unlink(), "got no such file"),
    ],
)
def test_a_damaged_file_is_refused(ship, network, damage, sentence):
    damage(ship("general", network, default=True))
    for find in (default_path, lambda: weights_path("general")):
        with pytest.raises((ValueError, FileNotFoundError), match=sentence) as error:
            find()
        assert str(error.value).endswith("install msgnn_plugin again.")
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("given", ["genral", "../shipped/rain800", "rain800.safetensors", "../x", "", ".."])
def test_what_is_neither_a_file_nor_a_name_is_told_which_names_there_are(ship, network, given, tmp_path, monkeypatch):
    for name in ("general", "rain800"):
        ship(name, network)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match=r"a name of shipped ones \(general, rain800\), got ") as error:
        weights_path(given)
    assert str(error.value).endswith(f"got {given!r}." + " Did you mean general?" * (given == "genral"))


def test_a_file_wins_over_a_name_and_says_so(ship, network, tmp_path, monkeypatch):
    ship("general", network)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "general").write_text("mine")
    with pytest.warns(UserWarning, match="general is taken from the file general, though shipped weights"):
        assert weights_path("general").read_text() == "mine"
    # The default is no file of the user's.
    ship("general", network, default=True)
    assert default_path().name == "general.safetensors"


def test_files_need_no_index(folder, tmp_path, recwarn):
    (folder / "index.json").write_text("{")
    (tmp_path / "net.pth").touch()
    assert weights_path(tmp_path / "net.pth") == tmp_path / "net.pth"
    assert weights_path("net.pth", tmp_path) == tmp_path / "net.pth"
    assert not recwarn


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "must be JSON"),
        (b"\xff\xfe", "must be JSON"),
        ("[]", "must hold `default` and `weights`, got \\[\\]"),
        ({"weights": {}}, "must hold `default` and `weights`"),
        ({"default": None, "weights": []}, "a mapping in `weights`"),
        ({"default": "a", "weights": {}}, "as `default`, got 'a'"),
        ({"default": {}, "weights": {}}, "as `default`, got {}"),
        ({"default": None, "weights": {"../x": GOOD}}, "must hold names of .*, got '../x'"),
        ({"default": None, "weights": {"/etc/x": GOOD}}, "must hold names of"),
        ({"default": None, "weights": {"a": None}}, "must hold texts for family, .* in `weights.a`, got None"),
        ({"default": None, "weights": {"a": GOOD | {"file": "../x"}}}, "must hold texts for family"),
        ({"default": None, "weights": {"a": GOOD | {"result": 3}}}, "must hold texts for family"),
        ({"default": None, "weights": {"a": GOOD | {"sha256": "0" * 63}}}, "64 hexadecimal digits"),
    ],
)
def test_a_broken_index_is_one_sentence(folder, content, sentence):
    content = content if isinstance(content, str | bytes) else json.dumps(content)
    (folder / "index.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=sentence) as error:
        read_index()
    assert str(folder / "index.json") in str(error.value)
    assert "\n" not in str(error.value)


def test_what_the_package_ships_is_whole(repository):
    index = read_index()
    folder = repository / "msgnn_plugin/weights"
    assert (folder / "index.json").read_text() == index.to_json()
    for kind in ("safetensors", "md"):
        assert {file.stem for file in folder.glob(f"*.{kind}")} == set(index.weights), kind
    sizes = [weights.check().stat().st_size for weights in index.weights.values()]
    assert all(size <= 12e6 for size in sizes)
    assert sum(sizes) <= 40e6
    for weights in index.weights.values():
        stored = load_weights(weights.file)
        assert all(tensor.dtype == torch.float16 for tensor in stored.values() if tensor.is_floating_point())
        assert isinstance(from_state_dict(stored), FAMILIES[weights.family])
        assert all(f"\n## {section}\n" in weights.card.read_text() for section in SECTIONS), weights.name


def test_an_installed_package_has_them(repository, tmp_path):
    # A copy: what is built must not lie in the checkout, nor depend on what it has committed so far.
    source = tmp_path / "source"
    shutil.copytree(repository / "msgnn_plugin/weights", source / "msgnn_plugin/weights")
    shutil.copytree(repository / "datasets/manifests", source / "datasets/manifests")
    (source / "msgnn_plugin/__init__.py").touch()
    for file in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(repository / file, source)
    for name in ("general.safetensors", "general.md"):
        (source / "msgnn_plugin/weights" / name).write_text("content")
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(tmp_path / "built")],
        cwd=source,
        env=os.environ | {"MSGNN_BUILD_OPS": "0"},
        check=True,
        capture_output=True,
    )
    built = {path.name for path in (tmp_path / "built/msgnn_plugin/weights").iterdir()}
    assert {path.name for path in (source / "msgnn_plugin/weights").iterdir() if path.is_file()} == built
    assert {"index.json", "general.safetensors", "general.md"} <= built
