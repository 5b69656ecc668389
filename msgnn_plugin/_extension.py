"""Finds and loads the compiled kernels, if they were built, and remembers how that went."""

import os
import warnings
from pathlib import Path

import torch

LIBRARY_PATTERN = "_C*.so"
BUILD_COMMAND = "pip install --no-build-isolation -e ."


def _load() -> str:
    libraries = sorted(Path(__file__).parent.glob(LIBRARY_PATTERN))
    required = os.environ.get("MSGNN_REQUIRE_OPS") == "1"
    if os.environ.get("MSGNN_DISABLE_OPS") == "1":
        if required:
            raise ImportError("msgnn_plugin: `MSGNN_DISABLE_OPS` must not be 1 with MSGNN_REQUIRE_OPS=1; unset one.")
        return "left out by MSGNN_DISABLE_OPS=1, plain PyTorch runs"
    if not libraries:
        if required:
            raise ImportError(
                f"msgnn_plugin: compiled ops must be there with MSGNN_REQUIRE_OPS=1, got none; {BUILD_COMMAND}"
            )
        return "not built, plain PyTorch runs"
    try:
        torch.ops.load_library(libraries[0])
    except OSError as error:
        if required:
            raise ImportError(f"msgnn_plugin: compiled ops must load with MSGNN_REQUIRE_OPS=1, got {error}.") from error
        warnings.warn(f"msgnn_plugin: compiled ops did not load, plain PyTorch runs instead: {error}", stacklevel=2)
        return f"built but not loadable ({error}), plain PyTorch runs"
    return f"loaded from {libraries[0].name}"


_STATUS = _load()
# Whether compiled kernels are in use.
LOADED = _STATUS.startswith("loaded")


def status() -> str:
    """Return in a few words whether compiled kernels are in use."""
    return _STATUS
