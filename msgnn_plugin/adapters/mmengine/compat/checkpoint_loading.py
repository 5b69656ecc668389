"""mmengine reads checkpoints by `torch.load` with whatever default holds: since torch 2.6 its own are refused.

Its checkpoints hold the logged history (numpy arrays and references to four methods) beside tensors. These are let
through by name, nothing else is, and no other code in a file is run.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import checkpoint as published
from mmengine.runner.checkpoint import CheckpointLoader

from msgnn_plugin.adapters.basicsr.compat.inspection import source_contains

MENDS = "resuming with torch 2.6 or later, from checkpoints that cannot run code"
STATISTICS = ("min", "max", "current", "mean")


def needed() -> bool:
    """Whether the published function leaves the choice to torch's default."""
    return not source_contains(published.load_from_local, "weights_only")


def apply() -> None:
    """Replace what reads local files."""
    CheckpointLoader.register_scheme(prefixes="", loader=load_from_local, force=True)


def load_from_local(filename: str, map_location: Any) -> dict[str, Any]:
    """Read a checkpoint of mmengine, or weights of any toolbox, without running code.

    Args:
        filename: The file.
        map_location: Where tensors go, as `torch.load` takes it.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no checkpoint, is cut short, or carries code.
    """
    path = Path(filename).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint: `load_from` must be a file, got {filename!r}, which is none.")
    try:
        with torch.serialization.safe_globals(_admitted()):
            checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError, TypeError) as error:
        raise ValueError(
            f"checkpoint: {filename!r} must be a whole file of tensors and mmengine's records, got one cut short, of "
            "another kind or with code in it."
        ) from error
    if isinstance(checkpoint.get("meta"), dict):
        # No version that writes checkpoints of this form puts it there, and Runner.resume would run it as Python.
        checkpoint["meta"].pop("config", None)
    return checkpoint


def _admitted() -> list[Any]:
    """Return what a record of the log is made of, as `torch.serialization.safe_globals` takes it."""
    numbers = [type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.int32, np.bool_)]
    reconstruct, scalar = np._core.multiarray._reconstruct, np._core.multiarray.scalar
    return [
        *(HistoryBuffer, np.ndarray, np.dtype, *numbers),
        # numpy 1 wrote other names for the same two.
        *((reconstruct, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
        *((scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
        # Pickle refers to a method by `getattr`, which would let anything through.
        (_statistics_method, "builtins.getattr"),
    ]


def _statistics_method(owner: Any, name: str) -> Any:
    if owner is not HistoryBuffer or name not in STATISTICS:
        raise pickle.UnpicklingError(f"refused: {name!r} of {owner!r}")
    return getattr(owner, name)
