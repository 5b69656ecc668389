"""Files that appear whole or not at all, whatever kills the process that writes them."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TEMPORARY_SUFFIX = ".tmp"


@contextmanager
def atomic_path(final: str | Path, *, keep_suffix: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside ``final`` that takes its place when the block ends without an error.

    The temporary name is hidden, unique and in the same folder (a rename across file systems is not atomic). Missing
    parent folders are made. On an error in the block the temporary file is removed and an older ``final`` stays.

    Args:
        final: Path of the finished file.
        keep_suffix: Whether the temporary name ends as the final one, for writers that choose their format by it; else
            it ends in ``.tmp``, so that what a kill leaves is not taken for a finished file.

    Yields:
        The path to write to.

    Raises:
        FileNotFoundError: If the block ended without writing the temporary file.
        OSError: If the file cannot be flushed or moved, for example on a full disk.
    """
    final = Path(final)
    final.parent.mkdir(parents=True, exist_ok=True)
    # A long name would pass the 255 bytes most file systems allow once something is added to it.
    suffix = final.suffix if keep_suffix else TEMPORARY_SUFFIX
    temporary = final.with_name(f".{final.stem[:40]}.{os.getpid()}.{secrets.token_hex(4)}{suffix}")
    try:
        yield temporary
        _flush(temporary)
        os.replace(temporary, final)
    except BaseException as error:
        if isinstance(error, OSError) and error.filename == str(temporary):
            error.filename = str(final)  # the name that a user knows
        temporary.unlink(missing_ok=True)
        raise
    _flush(final.parent)


def write_bytes_atomic(path: str | Path, data: bytes) -> None:
    """Write ``data`` to ``path`` so that a reader sees the older file or the whole new one.

    Args:
        path: Path of the file; missing parent folders are made.
        data: Its content.

    Raises:
        OSError: If it cannot be written; what was there before stays.
    """
    with atomic_path(path, keep_suffix=False) as temporary:
        temporary.write_bytes(data)


def _flush(path: Path) -> None:
    """Have the kernel put a file, or a folder's list of names, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
