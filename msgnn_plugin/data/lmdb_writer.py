"""Building an LMDB of pairs: PNGs in BasicSR's layout, which its own data set reads too, or raw rows for speed."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import cv2
import lmdb
import numpy as np

from msgnn_plugin.data import raw_rows
from msgnn_plugin.data.atomic import write_bytes_atomic
from msgnn_plugin.data.lmdb_store import LISTS, RAW_TITLE, key_of_name
from msgnn_plugin.data.pairs import Pair, Picture
from msgnn_plugin.data.reading import PictureReader

SIDES = ("lq", "gt")
# BasicSR's own level: a fifth larger than the best, several times quicker to write.
_COMPRESSION = 1
_FIRST_MAP_SIZE = 1 << 24
# LMDB's own limit as it is compiled everywhere.
_MAX_KEY = 511
_SOURCE_NAME = "source.json"


def build_lmdb(
    pairs: Sequence[Pair],
    out: str | Path,
    *,
    form: str = "png",
    on_done: Callable[[int], None] = lambda count: None,
    on_bad: Callable[[str], None] = lambda sentence: None,
) -> list[str]:
    """Write ``out/lq.lmdb`` (rainy) and ``out/gt.lmdb`` (clean) under equal keys.

    The work is done in ``out.partial`` beside it and moved at the end. An interrupted run goes on where it stopped;
    a picture whose file has changed since is done again. Pictures that cannot be read are passed over and told of;
    as long as there are any, nothing is moved, because an incomplete cache would look like a complete one.

    Args:
        pairs: What to store, names unique.
        out: Folder to make; must not exist.
        form: "png" (BasicSR's) or "raw" (pixels as they are: larger, and a crop is read without decoding).
        on_done: Called with a number of pairs that are stored, earlier runs' first.
        on_bad: Called with the sentence about a pair that cannot be stored.

    Returns:
        Names of the pairs that could not be stored; empty when ``out`` is finished.

    Raises:
        FileExistsError: If ``out`` exists.
        OSError: If the disk is full or the folder cannot be written.
        ValueError: If ``form`` is unknown, or what lies in ``out.partial`` is not of an earlier run.
    """
    if form not in LISTS:
        raise ValueError(f"LMDB: `form` must be {' or '.join(map(repr, LISTS))}, got {form!r}.")
    out = Path(out)
    if out.exists() or out.is_symlink():
        raise FileExistsError(f"LMDB: `out` must be a new path, got {out}, which exists. Remove it or choose another.")
    partial = out.with_name(out.name + ".partial")
    partial.mkdir(parents=True, exist_ok=True)
    work = {key_of_name(pair.name): pair for pair in pairs}
    stamps = {key: _stamp(pair, form) for key, pair in work.items()}
    environments = [_open_for_writing(partial / f"{side}.lmdb") for side in SIDES]
    try:
        done = _finished(environments, partial, stamps)
        on_done(len(done))
        # Before any picture is stored: a kill at any later moment leaves stamps that are right for what is there.
        write_bytes_atomic(partial / _SOURCE_NAME, json.dumps(stamps).encode())
        rest = {key: pair for key, pair in work.items() if key not in done}
        bad = _store_all(rest, form, environments, on_done, on_bad)
        if not bad:
            for side, environment in zip(SIDES, environments, strict=True):
                write_bytes_atomic(partial / f"{side}.lmdb" / LISTS[form], _list(environment, work, form))
    finally:
        for environment in environments:
            environment.close()
    if not bad:
        _publish(partial, out)
    return bad


def _store_all(
    work: dict[str, Pair],
    form: str,
    environments: Sequence[lmdb.Environment],
    on_done: Callable[[int], None],
    on_bad: Callable[[str], None],
) -> list[str]:
    """Store the pairs, a batch a transaction; return the names of those that cannot be read."""
    bad = []
    reader = PictureReader()
    workers = os.cpu_count() or 1
    remaining = iter(work.items())
    # OpenCV decodes and encodes outside the interpreter's lock, so threads are enough.
    with ThreadPoolExecutor(workers) as pool:
        # Few at a time: a batch lies in memory, and raw rows of photographs are large.
        while batch := list(islice(remaining, max(8, 2 * workers))):
            encoded = list(pool.map(lambda item: _encode_pair(reader, item[1], form), batch))
            stored = []
            for (key, pair), result in zip(batch, encoded, strict=True):
                if isinstance(result, str):
                    bad.append(pair.name)
                    on_bad(result)
                else:
                    stored.append((key.encode(), result))
            for side, environment in enumerate(environments):
                _put(environment, [(key, pictures[side]) for key, pictures in stored])
            on_done(len(stored))
    return bad


def _encode_pair(reader: PictureReader, pair: Pair, form: str) -> tuple[bytes, bytes] | str:
    """Return both pictures as they are stored, or the sentence that says why not."""
    length = len(key_of_name(pair.name))
    if length > _MAX_KEY:
        return f"LMDB: `{pair.name}` must take at most {_MAX_KEY} bytes as a key, got {length}. Give it a shorter name."
    encode = raw_rows.pack if form == "raw" else _encode_png
    try:
        rainy, clean = reader.read_pair(pair)
    except (OSError, ValueError) as error:
        return str(error)
    try:
        return encode(rainy), encode(clean)
    except ValueError as error:
        return f"LMDB: `{pair.name}` {error}"


def _encode_png(image: np.ndarray) -> bytes:
    """Return an RGB picture, 8 or 16 bit, as PNG."""
    _, data = cv2.imencode(".png", np.ascontiguousarray(image[:, :, ::-1]), [cv2.IMWRITE_PNG_COMPRESSION, _COMPRESSION])
    return data.tobytes()


def _open_for_writing(path: Path) -> lmdb.Environment:
    """Open or make an LMDB."""
    try:
        return lmdb.open(str(path), map_size=_FIRST_MAP_SIZE)
    except lmdb.InvalidError as error:
        raise ValueError(f"LMDB: {path} must be of an earlier run of ours, got another file. Remove it.") from error


def _put(environment: lmdb.Environment, items: Sequence[tuple[bytes, bytes]]) -> None:
    """Store values in one transaction, enlarging the map as often as it takes."""
    while True:
        try:
            with environment.begin(write=True) as transaction:
                for key, value in items:
                    transaction.put(key, value)
            return
        except lmdb.MapFullError:
            environment.set_mapsize(2 * environment.info()["map_size"])
        except lmdb.Error as error:
            # A full disk reaches us as whatever the failed write left behind, often "Input/output error".
            raise OSError(
                f"LMDB: {environment.path()} must be on a disk with room that can be written, got {error}. "
                "Make room and run again, what is stored is kept."
            ) from error


def _finished(environments: Sequence[lmdb.Environment], partial: Path, stamps: dict[str, str]) -> set[str]:
    """Return the keys that an earlier run stored from the files as they are now; remove all others."""
    source = partial / _SOURCE_NAME
    known = json.loads(source.read_bytes()) if source.is_file() else {}
    stored = []
    for environment in environments:
        with environment.begin() as transaction:
            stored.append({bytes(key).decode() for key in transaction.cursor().iternext(keys=True, values=False)})
    keep = {key for key in set.intersection(*stored) if key in stamps and known.get(key) == stamps[key]}
    for environment, keys in zip(environments, stored, strict=True):
        with environment.begin(write=True) as transaction:
            for key in keys - keep:
                transaction.delete(key.encode())
    return keep


def _stamp(pair: Pair, form: str) -> str:
    """Return a digest that changes with the form, with where a pair lies and with its files' sizes and times."""
    parts: list[object] = [form]
    for picture in (pair.rainy, pair.clean):
        stat = _file_of(picture).stat()
        parts += [os.path.abspath(picture.path), picture.half, picture.key, stat.st_size, stat.st_mtime_ns]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _file_of(picture: Picture) -> Path:
    """Return the file that holds a picture."""
    return Path(picture.path) if picture.key is None else Path(picture.path, "data.mdb")


def _list(environment: lmdb.Environment, keys: Iterable[str], form: str) -> bytes:
    """Return the list of one side, with the shapes that the stored values' headers give."""
    lines = [f"{RAW_TITLE}\n"] if form == "raw" else []
    with environment.begin(buffers=True) as transaction:
        for key in keys:
            value = transaction.get(key.encode())
            if form == "raw":
                height, width, itemsize = raw_rows.read_header(value)
                number = 8 * itemsize
            else:
                width, height = (int.from_bytes(value[start : start + 4], "big") for start in (16, 20))
                number = _COMPRESSION
            lines.append(f"{key}.{form} ({height},{width},3) {number}\n")
    return "".join(lines).encode("ascii")


def _publish(partial: Path, out: Path) -> None:
    """Move the finished folder to its name; both sides appear in one step."""
    os.rename(partial, out)
    # Left-overs of the writing, of no use to a reader. After the move, so that a kill between loses nothing.
    for name in (_SOURCE_NAME, *(f"{side}.lmdb/lock.mdb" for side in SIDES)):
        (out / name).unlink(missing_ok=True)
