"""What is found out about the pairs of a unit, written down pair by pair, so that a kill costs the one in hand."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Journal:
    """An open journal: one line of JSON a pair.

    Attributes:
        known: What it holds, by the pairs' numbers.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        data = _read_all(descriptor)
        self.known: dict[int, dict[str, Any]] = {}
        whole = 0
        for line in data.splitlines(keepends=True):
            # A kill, or a disk that lost power, leaves at most a last line that is cut short.
            try:
                record = json.loads(line)
            except ValueError:
                break
            if not line.endswith(b"\n"):
                break
            self.known[record["number"]] = record
            whole += len(line)
        os.ftruncate(descriptor, whole)
        os.lseek(descriptor, whole, os.SEEK_SET)

    def add(self, record: dict[str, Any]) -> None:
        """Write down one pair's record, on the disk before this returns."""
        data = json.dumps(record, allow_nan=False).encode() + b"\n"
        while data:
            data = data[os.write(self._descriptor, data) :]
        os.fsync(self._descriptor)
        self.known[record["number"]] = record


@contextmanager
def open_journal(path: Path) -> Iterator[Journal]:
    """Open a unit's journal, made where it is missing.

    Nobody else may have it meanwhile: a worker whose command was killed may still be busy with the unit, and is waited
    for.

    Args:
        path: The file.

    Yields:
        The journal.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield Journal(descriptor)
    finally:
        os.close(descriptor)


def _read_all(descriptor: int) -> bytes:
    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(0)
        return file.read()
