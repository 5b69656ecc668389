"""mmengine writes files in place, so that a kill or a full disk leaves half a checkpoint where a whole one was."""

from pathlib import Path
from typing import Any

from mmengine.fileio import LocalBackend

from msgnn_plugin.adapters.basicsr.compat.inspection import source_contains
from msgnn_plugin.data.atomic import write_bytes_atomic

MENDS = "checkpoints written in place"


def needed() -> bool:
    """Whether the published method opens the final file."""
    return source_contains(LocalBackend.put, "open(filepath, 'wb')")


def apply() -> None:
    """Replace the method."""
    LocalBackend.put = put


def put(self: Any, obj: bytes, filepath: str | Path) -> None:
    """Write bytes whole or not at all; missing folders are made."""
    write_bytes_atomic(filepath, obj)
