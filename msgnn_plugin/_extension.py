"""Finds and loads the compiled kernels, if they were built, and remembers how that went."""

import os
import shutil
import warnings
from pathlib import Path

import torch

LIBRARY_PATTERN = "_C*.so"
CUDA_LIBRARY = "_cuda.so"
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
        reason = error.__cause__ or error  # torch says itself only which library it was
        if required:
            raise ImportError(f"msgnn_plugin: compiled ops must load with MSGNN_REQUIRE_OPS=1, got {reason}.") from None
        warnings.warn(f"msgnn_plugin: compiled ops did not load, plain PyTorch runs instead: {reason}", stacklevel=2)
        return f"built but not loadable ({reason}), plain PyTorch runs"
    return f"loaded from {libraries[0].name}"


def _load_cuda() -> str:
    library = Path(__file__).with_name(CUDA_LIBRARY)
    if not library.is_file():
        return f"not built ({'no nvcc' if shutil.which('nvcc') is None else 'MSGNN_BUILD_CUDA=1 builds them'})"
    if os.environ.get("MSGNN_DISABLE_OPS") == "1":
        return "left out by MSGNN_DISABLE_OPS=1, plain PyTorch runs"
    # No GPU has run them yet, so nobody gets them unasked.
    unproven = "compiled, never run on a GPU, not registered"
    if os.environ.get("MSGNN_UNPROVEN_CUDA") != "1":
        return f"{unproven} (MSGNN_UNPROVEN_CUDA=1 loads them)"
    if not torch.cuda.is_available():
        return f"{unproven} (MSGNN_UNPROVEN_CUDA=1 is set, but torch finds no GPU)"
    try:
        torch.ops.load_library(library)
    except OSError as error:
        reason = error.__cause__ or error
        warnings.warn(f"msgnn_plugin: CUDA kernels did not load, plain PyTorch runs instead: {reason}", stacklevel=2)
        return f"built but not loadable ({reason}), plain PyTorch runs"
    return f"loaded from {library.name}, unproven"


_STATUS = _load()
# Whether there are compiled kernels, and whether they are in use.
BUILT = any(Path(__file__).parent.glob(LIBRARY_PATTERN))
LOADED = _STATUS.startswith("loaded")
_CUDA_STATUS = _load_cuda()


def status() -> str:
    """Return in a few words whether compiled kernels are in use."""
    return _STATUS


def cuda_status() -> str:
    """Return in a few words whether the GPU's kernels are in use."""
    return _CUDA_STATUS
