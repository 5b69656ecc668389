"""Any layout of a data set made into one: `OUT/PART/{rainy,clean}/NAME`, or an LMDB a part."""

import hashlib
import json
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from msgnn_plugin.data.atomic import atomic_path, write_bytes_atomic
from msgnn_plugin.data.lmdb_writer import build_lmdb
from msgnn_plugin.data.pairs import Pair, Picture
from msgnn_plugin.data.parts import Part, Single
from msgnn_plugin.data.reading import PictureReader

FORMS = ("folder", "png-lmdb", "raw-lmdb")
_SOURCE_NAME = "source.json"
# Halves are cut out of JPEGs as a rule, whose noise no level shrinks much; this one is quick.
_COMPRESSION = 3


def prepare(
    part: Part,
    out: str | Path,
    *,
    form: str = "folder",
    on_done: Callable[[int], None] = lambda count: None,
    on_bad: Callable[[str], None] = lambda sentence: None,
) -> list[str]:
    """Write one part of a data set in one form.

    In the folder form a picture that is a file of its own is copied as it is, bit by bit, so that nothing is lost and a
    JPEG does not grow; halves of a file, and pictures out of an LMDB, become PNGs. Both sides get the pair's name. A
    clean picture that several rainy ones share is stored once (hard links) where the disk can.

    The work is done in ``out.partial`` and moved at the end. An interrupted run goes on where it stopped; a picture
    whose file has changed since is done again. Pictures that cannot be read are passed over and told of; as long as
    there are any, nothing is moved, because an incomplete copy would look like a complete one.

    Args:
        part: What to write.
        out: Folder to make; must not exist.
        form: "folder", "png-lmdb" or "raw-lmdb".
        on_done: Called with a number of pairs that are written, earlier runs' first.
        on_bad: Called with the sentence about a pair that cannot be read.

    Returns:
        Names of the pairs that could not be read; empty when ``out`` is finished.

    Raises:
        FileExistsError: If ``out`` exists.
        OSError: If the disk is full or the folder cannot be written.
        ValueError: If the part's layout is faulty, a file in it lacks its partner, or an LMDB is asked for of pictures
            without a clean side.
    """
    out = Path(out)
    if part.fault:
        raise ValueError(part.fault)
    if part.alone:
        raise ValueError(
            f"Data set: every picture of {part.folder} must have its partner, got {len(part.alone)} without, "
            f"{part.alone[0]} the first. Add it or exclude `{part.alone[0].stem}`."
        )
    if not part.entries:
        raise ValueError(f"Data set: part `{part.name}` must hold pictures, got none in {part.folder}.")
    if form == "folder":
        return _build_folder(part.entries, out, on_done, on_bad)
    if part.entries[0].clean is None:
        raise ValueError(f"Data set: `--form {form}` must be given pairs, got {part.folder} without a clean side.")
    return build_lmdb(part.entries, out, form=form.removesuffix("-lmdb"), on_done=on_done, on_bad=on_bad)


def _build_folder(
    entries: Sequence[Pair | Single],
    out: Path,
    on_done: Callable[[int], None],
    on_bad: Callable[[str], None],
) -> list[str]:
    """Write `out/rainy` and `out/clean`."""
    if out.exists() or out.is_symlink():
        raise FileExistsError(
            f"Data set: `out` must be a new path, got {out}, which exists. Remove it or choose another."
        )
    partial = out.with_name(out.name + ".partial")
    work = {entry.name: (_stamp(entry), _targets(entry)) for entry in entries}
    done = _finished(partial, work)
    on_done(len(done))
    # Before any picture is written: a kill at any later moment leaves stamps that are right for what is there.
    write_bytes_atomic(partial / _SOURCE_NAME, json.dumps(work).encode())
    groups: dict[Picture, list[Pair | Single]] = defaultdict(list)
    for entry in entries:
        if entry.name not in done:
            groups[entry.clean or entry.rainy].append(entry)
    reader, bad = PictureReader(), []
    # OpenCV decodes and encodes outside the interpreter's lock, so threads are enough.
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for group, errors in zip(
            groups.values(), pool.map(lambda group: _write_group(reader, group, partial), groups.values()), strict=True
        ):
            for name, sentence in errors.items():
                bad.append(name)
                on_bad(sentence)
            on_done(len(group) - len(errors))
    if not bad:
        os.rename(partial, out)
        (out / _SOURCE_NAME).unlink()
    return bad


def _finished(partial: Path, work: dict[str, tuple[str, list[str]]]) -> set[str]:
    """Return the names that an earlier run wrote from the files as they are now; remove what it wrote of others."""
    source = partial / _SOURCE_NAME
    known = json.loads(source.read_bytes()) if source.is_file() else {}
    done = set()
    for name, (stamp, targets) in known.items():
        if work.get(name) == (stamp, targets):
            if all((partial / target).is_file() for target in targets):
                done.add(name)
        else:
            for target in targets:
                (partial / target).unlink(missing_ok=True)
    return done


def _write_group(reader: PictureReader, group: list[Pair | Single], folder: Path) -> dict[str, str]:
    """Write the pairs that share a clean picture; return why those could not be read that could not."""
    errors, first_clean = {}, None
    for entry in group:
        try:
            images = [reader.read_picture(entry.rainy)] if entry.clean is None else reader.read_pair(entry)
        except (OSError, ValueError) as error:
            errors[entry.name] = str(error)
            continue
        targets = [folder / target for target in _targets(entry)]
        _write(entry.rainy, images[0], targets[0])
        if entry.clean is not None:
            _write(entry.clean, images[1], targets[1], same=first_clean)
            first_clean = targets[1]
    return errors


def _write(picture: Picture, image: np.ndarray, target: Path, same: Path | None = None) -> None:
    """Write a picture: as another name of a file that holds it already, as a copy of its own file, or as PNG."""
    with atomic_path(target) as temporary:
        if same is not None:
            try:
                os.link(same, temporary)
            except OSError:  # Not every file system can.
                shutil.copyfile(same, temporary)
        elif _is_file(picture):
            shutil.copyfile(picture.path, temporary)
        else:
            _, data = cv2.imencode(
                ".png", np.ascontiguousarray(image[:, :, ::-1]), [cv2.IMWRITE_PNG_COMPRESSION, _COMPRESSION]
            )
            temporary.write_bytes(data)


def _targets(entry: Pair | Single) -> list[str]:
    """Return where the sides of a pair go, below the part's folder."""
    sides = {"rainy": entry.rainy, "clean": entry.clean}
    return [f"{side}/{entry.name}{_suffix(picture)}" for side, picture in sides.items() if picture is not None]


def _suffix(picture: Picture) -> str:
    """Return the suffix under which a picture is written."""
    return Path(picture.path).suffix.lower() if _is_file(picture) else ".png"


def _is_file(picture: Picture) -> bool:
    """Whether a picture is a file of its own."""
    return picture.half is None and picture.key is None


def _stamp(entry: Pair | Single) -> str:
    """Return a digest that changes with where a pair lies and with its files' sizes and times."""
    parts: list[object] = []
    for picture in (entry.rainy, entry.clean):
        if picture is not None:
            stat = Path(picture.path, *(("data.mdb",) if picture.key else ())).stat()
            parts += [os.path.abspath(picture.path), picture.half, picture.key, stat.st_size, stat.st_mtime_ns]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
