"""A folder of shipped weights that stands in for the package's own."""

import hashlib
import json

import pytest
import torch

import msgnn_plugin.weights.index as index_module
from msgnn_plugin.archs import MSGNNArch

SMALL = {"num_feat": 4, "num_blocks": 1, "num_groups": 2, "scales": (1,), "num_neighbors": 2, "window_size": 3}
SECTIONS = ("Data", "Schedule", "Hardware", "Results", "Licence", "Limits")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder of shipped weights."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    (folder / "index.json").write_text('{"default": null, "weights": {}}')
    monkeypatch.setattr(index_module, "FOLDER", folder)
    return folder


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = MSGNNArch(**SMALL)
    network.set_exemplar_bank(torch.randint(0, 256, (2, 3, 30, 33), dtype=torch.uint8))
    return network.eval()


@pytest.fixture
def write_card(folder):
    """Write the card of a name."""

    def write(name):
        (folder / f"{name}.md").write_text(f"# {name}\n" + "".join(f"\n## {section}\nWords.\n" for section in SECTIONS))

    return write


@pytest.fixture
def ship(folder, write_card):
    """Put a network into the folder, with plain means and not those of the product; return its file."""
    safetensors = pytest.importorskip("safetensors.torch")

    def put(name, network, *, default=False):
        weights = {key: t.half() if t.is_floating_point() else t for key, t in network.state_dict().items()}
        file = folder / f"{name}.safetensors"
        safetensors.save_file({key: tensor.contiguous() for key, tensor in weights.items()}, file)
        content = json.loads((folder / "index.json").read_text())
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        entry = {"sha256": digest, "family": "msgnn", "purpose": "pictures", "result": "Rain12: 30 dB"}
        content["weights"][name] = entry
        content["default"] = name if default else content["default"]
        (folder / "index.json").write_text(json.dumps(content))
        write_card(name)
        return file

    return put
