"""Maps that lie in a file, so that they take no memory of the process that the system could not take back. Ours."""

import math
import mmap
import os
import tempfile
from collections.abc import Sequence

import torch
from torch import Tensor


def new_disk_map(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Return a channels-last map of zeros in an unnamed file, which is gone as soon as the map is.

    Args:
        shape: (B, C, H, W).
        dtype: Of its values.

    Returns:
        The map, on the CPU. Its file is in the system's folder for temporary files, which ``TMPDIR`` chooses.

    Raises:
        OSError: If there is not enough room for it.
    """
    batch, channels, height, width = shape
    size = math.prod(shape) * dtype.itemsize
    with tempfile.TemporaryFile() as file:
        try:
            # Room is taken now: a full disk amid the run would end the process.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
        except OSError as error:
            raise OSError(
                f"new_disk_map: the folder for temporary files {tempfile.gettempdir()!r} must have room for "
                f"{size / 2**20:.0f} MiB, got: {error.strerror}; free some, or set TMPDIR to another disk."
            ) from error
        memory = mmap.mmap(file.fileno(), size)
    return torch.frombuffer(memory, dtype=dtype).view(batch, height, width, channels).permute(0, 3, 1, 2)
