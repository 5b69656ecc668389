"""Where a command shall write: whether it may and can, asked before the work and not after it."""

import errno
import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path


def check_file(
    where: str, option: str, out: str, *, suffixes: Sequence[str] = (), inputs: Iterable[str | Path] = ()
) -> Path:
    """Return the path of a file to write.

    Args:
        where: The command, for an error's beginning.
        option: What the user calls the file, for an error.
        out: What the user gave.
        suffixes: Endings of which the name must have one, in small letters; none means any.
        inputs: Files that the command reads, which must not be written over.

    Raises:
        ValueError: If the name does not end so, is a folder's, or an input's.
        OSError: If nothing can be written there.
    """
    path = Path(out)
    if suffixes and path.suffix.lower() not in suffixes:
        *most, last = suffixes
        endings = f"{', '.join(most)} or {last}" if most else last
        raise ValueError(f"{where}: `{option}` must end in {endings}, got {out!r}.")
    if path.is_dir():
        raise ValueError(f"{where}: `{option}` must name a file, got the folder {out!r}.")
    if any(path.exists() and os.path.exists(source) and path.samefile(source) for source in inputs):
        raise ValueError(
            f"{where}: `{option}` must be another file than those that are read, got {out!r}; name a new one."
        )
    check_folder(path.parent)
    return path


def check_folder(folder: Path) -> None:
    """See that files can be written to a folder, or it be made; nothing is left behind.

    Raises:
        OSError: If not, with the folder's name.
    """
    there = folder
    while not os.path.lexists(there):
        there = there.parent
    if not there.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(there))
    try:
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from error
