"""Weights: read from disk without running code, taken out of the wrappers of toolboxes, put into half the bytes."""

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

WRAPPERS = ("params_ema", "params", "state_dict", "net")
# What DistributedDataParallel, AveragedModel and torch.compile put before every name, and a counter that one adds.
PREFIXES = re.compile(r"^(?:module\.|_orig_mod\.)+")
FOREIGN = "n_averaged"


def unwrap(state_dict: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return plain weights, taken out of the wrappers of toolboxes.

    The first of ``params_ema``, ``params``, ``state_dict``, ``net`` that is inside is taken; prefixes of
    wrappers are cut off.

    Raises:
        ValueError: If what is left is not a mapping of names to tensors.
    """
    if not isinstance(state_dict, Mapping):
        raise ValueError(f"unwrap: `state_dict` must map names to tensors, got {type(state_dict).__name__}.")
    while wrapper := next((w for w in WRAPPERS if isinstance(state_dict.get(w), Mapping) and state_dict[w]), None):
        state_dict = state_dict[wrapper]
    state_dict = {name: value for name, value in state_dict.items() if name != FOREIGN}
    wrong = next((name for name, value in state_dict.items() if not isinstance(value, Tensor)), None)
    if wrong is not None or not state_dict:
        got = f"an entry {wrong!r} that is none" if state_dict else "no entry at all"
        raise ValueError(f"unwrap: `state_dict` must map names to tensors, got {got}.")
    return {PREFIXES.sub("", name): value for name, value in state_dict.items()}


def halve(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return plain weights in float16; settings and exemplars, which are integers, stay as they are.

    Networks that are built from these compute in float32.

    Raises:
        ValueError: If a value is beyond float16.
    """
    halved = {name: value.half() if value.is_floating_point() else value for name, value in weights.items()}
    wrong = next((name for name, value in halved.items() if not value.isfinite().all()), None)
    if wrong is not None:
        raise ValueError(
            f"halve: `{wrong}` must hold numbers from -65504 to 65504, got {weights[wrong].abs().max():g}; keep these "
            "weights in float32."
        )
    return halved


def load_weights(path: str | Path) -> dict[str, Any]:
    """Read weights from a .safetensors file or from anything `torch.save` wrote, without running code.

    Args:
        path: The file.

    Returns:
        What the file holds, on the CPU, wrappers kept.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no weights file, is cut short, or carries code.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"load_weights: `path` must be a weights file (.pth or .safetensors), got {str(path)!r}."
        )
    if path.suffix.lower() == ".safetensors":
        return _load_safetensors(path)
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"load_weights: {str(path)!r} must hold tensors only, got one that asks to run code or is of another kind; "
            "refused, ask its author for a plain state dict or .safetensors."
        ) from error
    except (RuntimeError, EOFError, KeyError, ValueError, TypeError, OSError) as error:
        raise ValueError(
            f"load_weights: {str(path)!r} must be a whole weights file, got one cut short or of another kind."
        ) from error
    if not isinstance(weights, dict):
        raise ValueError(
            f"load_weights: {str(path)!r} must hold a dictionary of tensors, got {type(weights).__name__}."
        )
    return weights


def _load_safetensors(path: Path) -> dict[str, Any]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise ImportError(
            "load_weights: .safetensors files need the package safetensors: `pip install safetensors`."
        ) from error
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"load_weights: {str(path)!r} must be a whole .safetensors file, got {error}.") from error
