"""Weights files: whole, wrapped, cut short, and hostile."""

import pickle

import pytest
import torch

from msgnn_plugin.archs import MSGNNArch, from_state_dict, load_weights


class RunsCode:
    def __reduce__(self):
        return (eval, ("1 + 1",))


@pytest.fixture
def weights():
    return MSGNNArch(num_feat=8, num_blocks=1, num_groups=1).state_dict()


def test_reads_what_torch_and_safetensors_wrote(tmp_path, weights):
    safetensors = pytest.importorskip("safetensors.torch")
    torch.save({"params": weights}, tmp_path / "a.pth")
    safetensors.save_file(weights, tmp_path / "a.safetensors")
    for name in ("a.pth", "a.safetensors"):
        network = from_state_dict(load_weights(tmp_path / name))
        assert all(torch.equal(value, weights[key]) for key, value in network.state_dict().items())


def test_takes_off_what_others_put_around(weights):
    for prefix in ("module.", "_orig_mod.", "module._orig_mod.", "module.module."):
        named = {f"{prefix}{name}": value for name, value in weights.items()}
        for wrapped in (
            named,
            {"state_dict": {"params": named}},
            {"params_ema": {}, "params": named},
            {**named, "n_averaged": torch.tensor(3)},
        ):
            from_state_dict(wrapped)


def test_refuses_what_is_no_mapping():
    for other in (None, [1]):
        with pytest.raises(ValueError, match=f"must map names to tensors, got {type(other).__name__}"):
            from_state_dict(other)


def test_refuses_code(tmp_path, weights):
    for name, save in (("torch.pth", torch.save), ("plain.pth", lambda x, path: path.write_bytes(pickle.dumps(x)))):
        save({"params": weights, "extra": RunsCode()}, tmp_path / name)
        with pytest.raises(ValueError, match=f"{name}' must hold tensors only, got one that asks to run code"):
            load_weights(tmp_path / name)


def test_refuses_what_is_cut_short(tmp_path, weights):
    safetensors = pytest.importorskip("safetensors.torch")
    torch.save(weights, tmp_path / "a.pth")
    safetensors.save_file(weights, tmp_path / "a.safetensors")
    for name in ("a.pth", "a.safetensors"):
        whole = (tmp_path / name).read_bytes()
        for length in (0, 10, len(whole) // 2):
            (tmp_path / name).write_bytes(whole[:length])
            with pytest.raises(ValueError, match=f"{name}' must "):
                load_weights(tmp_path / name)


def test_refuses_what_is_not_there_or_no_dictionary(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"must be a weights file \(.pth or .safetensors\), got .*nothing.pth"):
        load_weights(tmp_path / "nothing.pth")
    torch.save(torch.zeros(3), tmp_path / "tensor.pth")
    with pytest.raises(ValueError, match="must hold a dictionary of tensors, got Tensor"):
        load_weights(tmp_path / "tensor.pth")
