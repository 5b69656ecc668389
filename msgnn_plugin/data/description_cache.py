"""Descriptions of a whole set's rain, made once and kept in the user's cache folder."""

import hashlib
import io
import logging
import os
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from msgnn_plugin.data.atomic import write_bytes_atomic
from msgnn_plugin.data.lmdb_store import open_store
from msgnn_plugin.data.pairs import Picture
from msgnn_plugin.data.rain_description import VERSION, describe_rain
from msgnn_plugin.data.reading import PictureReader


def describe_pictures(pictures: Sequence[Picture]) -> NDArray[np.float32]:
    """Describe the rain of every picture, several at a time; what an earlier run has described is not read again.

    What is described is kept in ``$XDG_CACHE_HOME/msgnn_plugin`` (``~/.cache/msgnn_plugin``), one file a set. A picture
    counts as another once its path, size or time of change is another. A folder that cannot be written costs the next
    run its time, nothing else.

    Args:
        pictures: Where they lie, at least one.

    Returns:
        Shape (N, D) as ``describe_rain`` gives them.

    Raises:
        ValueError: If pictures cannot be read; the others are described and kept before it is raised.
    """
    # Opened and held here, for LMDB refuses the second of two threads that open one.
    stores = [open_store(path) for path in {picture.path for picture in pictures if picture.key is not None}]
    reader = PictureReader()
    stamps = [_stamp(picture) for picture in pictures]
    file = _cache_file(pictures)
    known = _load(file)
    missing = [number for number, stamp in enumerate(stamps) if stamp not in known]
    bad = []

    def work(number: int) -> NDArray[np.float32] | str:
        try:
            return describe_rain(_eight_bits(reader.read_picture(pictures[number])))
        except (OSError, ValueError) as error:
            return str(error)

    if missing:
        console = Console(stderr=True)
        # Decoding, filtering and most of numpy run outside the interpreter's lock, so threads are enough.
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            results = track(
                pool.map(work, missing),
                "Describing rain",
                len(missing),
                console=console,
                disable=not console.is_terminal,
            )
            for number, result in zip(missing, results, strict=True):
                if isinstance(result, str):
                    bad.append(result)
                else:
                    known[stamps[number]] = result
        _save(file, {stamp: known[stamp] for stamp in stamps if stamp in known})
    del stores
    if bad:
        raise ValueError(
            f"Exemplars: the policy retrieved must read every rainy picture, got {len(bad)} of "
            f"{len(pictures)} that cannot be, the first: {bad[0]}"
        )
    return np.stack([known[stamp] for stamp in stamps])


def _eight_bits(image: NDArray) -> NDArray[np.uint8]:
    return image if image.dtype == np.uint8 else (image >> 8).astype(np.uint8)


def _stamp(picture: Picture) -> str:
    """Return what tells this state of a picture from any other."""
    file = Path(picture.path)
    if picture.key is not None:
        file /= "data.mdb"
    state = file.stat()
    facts = (
        VERSION,
        os.path.abspath(picture.path),
        picture.key,
        picture.half,
        (state.st_size, state.st_mtime_ns),
    )
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def _cache_file(pictures: Sequence[Picture]) -> Path:
    """Return the file for all sets of pictures from the same folders."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folders = {
        os.path.abspath(picture.path if picture.key is not None else Path(picture.path).parent) for picture in pictures
    }
    name = hashlib.sha256("\n".join(sorted(folders)).encode()).hexdigest()[:32]
    return Path(home) / "msgnn_plugin" / f"rain-{name}.npz"


def _load(file: Path) -> dict[str, NDArray[np.float32]]:
    try:
        with np.load(file, allow_pickle=False) as content:
            return dict(zip(content["stamps"].tolist(), content["descriptions"], strict=True))
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return {}  # None there yet, or a damaged one, which the next save replaces.


def _save(file: Path, known: dict[str, NDArray[np.float32]]) -> None:
    if not known:
        return
    buffer = io.BytesIO()
    np.savez(buffer, stamps=np.array(list(known)), descriptions=np.stack(list(known.values())))
    try:
        write_bytes_atomic(file, buffer.getvalue())
    except OSError as error:
        logging.getLogger("msgnn_plugin").warning("Cannot keep the descriptions of rain in %s: %s", file, error)
