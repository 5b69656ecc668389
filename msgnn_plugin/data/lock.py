"""What one process at a time may work on."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def sole_use(file: Path, sentence: str) -> Iterator[int]:
    """Hold a file's lock; the system releases it when the process ends, however it does.

    Args:
        file: The file, made where it is missing, its folders too; it stays.
        sentence: What the error says.

    Yields:
        The lock's file descriptor: a child process that inherits it holds the lock too.

    Raises:
        BlockingIOError: With the sentence, if another process holds the lock.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BlockingIOError(sentence) from error
        yield held.fileno()
