"""Which pictures and videos a command's inputs mean, and which file each result goes to."""

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgnn_plugin.data.image_file import SUFFIXES

COMPARE_FOLDER = "compare"
VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv", ".ogv"}
)
# Formats that results may have; Matroska takes any sound, so it is what the others become.
_VIDEO_RESULTS = {".mp4": ".mp4", ".m4v": ".mp4", ".mov": ".mov"}
_OTHER_VIDEO_RESULT = ".mkv"
_TAKEN = SUFFIXES | VIDEO_SUFFIXES


@dataclass(frozen=True)
class PictureJob:
    """One picture or video to treat.

    Attributes:
        source: The input file.
        output: Where the result goes.
        comparison: Where a comparison would go.
        place: The source's path below the folder it was found in; the bare name for a file named by itself.
    """

    source: Path
    output: Path
    comparison: Path
    place: Path

    @property
    def is_video(self) -> bool:
        """Whether the name is that of a video."""
        return self.source.suffix.lower() in VIDEO_SUFFIXES


def plan_pictures(inputs: Sequence[str | Path], out: str | Path, *, recursive: bool = False) -> list[PictureJob]:
    """Find the pictures and videos and give each its own output file, ``STEM.png``, or ``STEM`` with a video's suffix.

    A folder means the files in it by their suffixes, hidden ones left out, in the order of their names; a file may
    have any name. Results of videos are .mp4 or .mov where the source is (.m4v becomes .mp4), else .mkv. Where two
    results would have one name, the later one gets ``STEM_2.png`` and so on.
    What lies in ``out`` from an earlier run is never taken for an input of a folder above it.

    Args:
        inputs: Files, folders and glob patterns (``**`` included).
        out: Folder of the results; comparisons go to its sub-folder ``compare``.
        recursive: Whether folders are searched to any depth; their sub-folders are kept below ``out``.

    Returns:
        One job a file, none twice.

    Raises:
        FileNotFoundError: If an input does not exist, or a pattern matches nothing.
        ValueError: If a folder holds none, ``out`` is a file, a result would overwrite an input or leave ``out``.
    """
    if out == "":
        raise ValueError("restore: `-o` must name a folder, got ''; `.` is this one.")
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise ValueError(f"restore: `-o` must name a folder, got the file {str(out)!r}.")
    found: dict[Path, tuple[Path, Path]] = {}
    for entry in inputs:
        for source, place in _expand(str(entry), out, recursive):
            found.setdefault(source.resolve(), (source, place))
    taken: set[str] = set()
    jobs = []
    for source, place in found.values():
        output = _claim(out / place.with_suffix(_result_suffix(place)), taken)
        jobs.append((source, place, output))
    for _, _, output in jobs:
        if output.resolve() in found:
            raise ValueError(
                f"restore: `-o` must not be the folder of the pictures: {str(output)!r} would overwrite an input. "
                "Name another folder."
            )
        if not output.resolve().is_relative_to(out.resolve()):
            raise ValueError(f"restore: results must stay inside `-o`, got a link out of it at {str(output)!r}.")
    return [
        PictureJob(source, output, _claim(out / COMPARE_FOLDER / output.relative_to(out), taken), place)
        for source, place, output in jobs
    ]


def _result_suffix(place: Path) -> str:
    suffix = place.suffix.lower()
    return _VIDEO_RESULTS.get(suffix, _OTHER_VIDEO_RESULT) if suffix in VIDEO_SUFFIXES else ".png"


def find_partner(folder: Path, place: Path) -> Path | None:
    """Return the picture in ``folder`` at the same place, whatever its suffix; None if there is none."""
    names = folder / place.parent
    candidates = sorted(p for p in names.iterdir() if p.stem == place.stem) if names.is_dir() else []
    return next((p for p in candidates if p.suffix.lower() in SUFFIXES), None)


def _expand(entry: str, out: Path, recursive: bool) -> Iterable[tuple[Path, Path]]:
    """Yield each picture that one input means, with its place."""
    path = Path(entry)
    if entry and path.is_dir():  # an empty one, of a variable that is not set, would be this folder
        return _folder(path, out, recursive)
    if entry and path.exists():
        return [(path, Path(path.name))]
    matches = sorted(glob.glob(entry, recursive=True)) if glob.has_magic(entry) else []
    # A pattern such as `photos/*` meets notes and sub-folders too: only pictures are meant.
    files = [Path(match) for match in matches if Path(match).suffix.lower() in _TAKEN and Path(match).is_file()]
    if not files:
        rule = "match at least one picture" if glob.has_magic(entry) else "be a file, a folder or a pattern"
        raise FileNotFoundError(f"restore: INPUT must {rule}, got {entry!r}.")
    return [(file, Path(file.name)) for file in files]


def _folder(folder: Path, out: Path, recursive: bool) -> list[tuple[Path, Path]]:
    skipped = out.resolve()
    pictures: list[tuple[Path, Path]] = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and (Path(parent) / f).resolve() != skipped)
        files = (Path(parent) / name for name in sorted(names) if not name.startswith("."))
        pictures += [(file, file.relative_to(folder)) for file in files if file.suffix.lower() in _TAKEN]
        if not recursive:
            break
    if not pictures:
        hint = "" if recursive else " Sub-folders are searched with --recursive."
        raise ValueError(f"restore: INPUT must hold at least one picture, got the folder {str(folder)!r}.{hint}")
    return pictures


def _claim(path: Path, taken: set[str]) -> Path:
    """Return the first of STEM.png, STEM_2.png, ... that nobody has; letters' case does not tell files apart."""
    stem, number = path.stem, 1
    while str(path).casefold() in taken:
        number += 1
        path = path.with_name(f"{stem}_{number}{path.suffix}")
    taken.add(str(path).casefold())
    return path
