"""Pairs of a rainy and a clean picture: where each half lies, and how names on the two sides belong together."""

import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgnn_plugin.data.images import IMAGE_SUFFIXES, natural_key

# What publishers put around a picture's own number: norain-7, rain-7, norain-7x2, 001_in, 001_GT, 000gt.
_AFFIXES = re.compile(r"^(?:no)?rain[-_]|(?:x[234]|[-_]?gt|_in|[-_]clean|[-_]rain)$", re.IGNORECASE)
_NUMBERED = re.compile(r"_\d+$")


@dataclass(frozen=True, slots=True)
class Picture:
    """Where one picture lies.

    Attributes:
        path: File, or folder of an LMDB when ``key`` is set.
        half: "left" or "right" for half of a file that holds a pair, None for the whole.
        key: Key inside an LMDB.
    """

    path: str
    half: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """A rainy picture and its clean one; ``name`` is unique within a set."""

    name: str
    rainy: Picture
    clean: Picture

    @property
    def joined(self) -> bool:
        """Whether one file holds both as halves."""
        return self.rainy.half is not None


def pair_by_name(
    rainy_paths: Sequence[Path],
    clean_paths: Sequence[Path],
    exclude: Iterable[str] = (),
    alone: list[Path] | None = None,
) -> list[Pair]:
    """Pair two lists of files by their names.

    A rainy file takes the clean file of the same stem, else of the same stem without what publishers add
    (``rain-7x2`` and ``norain-7``), else the one that several rainy files share (``7_1`` ... ``7_14`` and ``7``).

    Args:
        rainy_paths: Rainy files, stems unique.
        clean_paths: Clean files, stems unique.
        exclude: Stems, of either side, to leave out.
        alone: Gets the files without a partner; None makes them an error.

    Returns:
        Pairs in the natural order of the rainy stems.

    Raises:
        ValueError: If a file on either side has no partner and ``alone`` is None, or a partner is not certain.
    """
    exclude = set(exclude)
    rainy = _by_stem(rainy_paths)
    clean = _by_stem(clean_paths)
    bare: dict[str, list[str]] = {}
    for stem in clean:
        bare.setdefault(bare_name(stem), []).append(stem)
    pairs, used = [], set()
    for stem in sorted(rainy, key=natural_key):
        partner = _partner(stem, rainy[stem], clean, bare)
        used.add(partner)
        if partner is None and stem not in exclude:
            if alone is None:
                raise ValueError(
                    f"Image pairs: `{rainy[stem]}` must have a clean partner, got none. Add it or exclude `{stem}`."
                )
            alone.append(rainy[stem])
        elif stem not in exclude and partner not in exclude:
            pairs.append(Pair(stem, Picture(str(rainy[stem])), Picture(str(clean[partner]))))
    for stem, path in clean.items():
        if stem not in used and stem not in exclude:
            if alone is None:
                raise ValueError(
                    f"Image pairs: `{path}` must have a rainy partner, got none. Add it or exclude `{stem}`."
                )
            alone.append(path)
    _warn_unknown(exclude, rainy.keys() | clean.keys())
    return pairs


def pair_halves(paths: Sequence[Path], left: str, exclude: Iterable[str] = ()) -> list[Pair]:
    """Make each file the pair of its two halves.

    Args:
        paths: Files with a rainy and a clean half side by side, stems unique.
        left: Which half is the left one, "clean" (Rain800) or "rainy" (Rain1200).
        exclude: Stems to leave out.

    Returns:
        Pairs in the natural order of the stems.

    Raises:
        ValueError: If two files have the same stem.
    """
    exclude = set(exclude)
    rainy_half, clean_half = ("right", "left") if left == "clean" else ("left", "right")
    files = _by_stem(paths)
    _warn_unknown(exclude, files.keys())
    return [
        Pair(stem, Picture(str(files[stem]), rainy_half), Picture(str(files[stem]), clean_half))
        for stem in sorted(files, key=natural_key)
        if stem not in exclude
    ]


def pair_pictures(rainy: dict[str, Picture], clean: dict[str, Picture], exclude: Iterable[str] = ()) -> list[Pair]:
    """Pair pictures of which at least one side lies in an LMDB; the names of both sides are equal.

    Args:
        rainy: Rainy pictures by name.
        clean: Clean pictures by name.
        exclude: Names to leave out; ``901`` leaves out ``901_1`` ... ``901_14`` as it does with files.

    Returns:
        Pairs in the natural order of the names.

    Raises:
        ValueError: If a name is on one side alone.
    """
    exclude = set(exclude)
    alone = sorted(rainy.keys() ^ clean.keys(), key=natural_key)
    if alone:
        side, picture = ("clean", rainy[alone[0]]) if alone[0] in rainy else ("rainy", clean[alone[0]])
        raise ValueError(f"Image pairs: `{alone[0]}` in {picture.path} must have a {side} partner, got none.")
    _warn_unknown(exclude, rainy.keys() | {_NUMBERED.sub("", name) for name in rainy})
    return [
        Pair(name, rainy[name], clean[name])
        for name in sorted(rainy, key=natural_key)
        if name not in exclude and _NUMBERED.sub("", name) not in exclude
    ]


def bare_name(stem: str) -> str:
    """Return a stem without what publishers add around the picture's own name."""
    return _AFFIXES.sub("", stem) or stem


def partner_names(stem: str) -> tuple[str, ...]:
    """Return which bare names the clean partner of a rainy stem may have, the likeliest first."""
    bare = bare_name(stem)
    return bare, _NUMBERED.sub("", stem), _NUMBERED.sub("", bare)


def as_stems(names: Iterable[Any]) -> frozenset[str]:
    """Return names as stems: `7` and `7.png` both mean the stem "7" (YAML makes a number of the first)."""
    if isinstance(names, str):
        raise TypeError(f"Image pairs: `exclude` must be a list of names, got {names!r}. Write [{names}].")
    paths = [Path(str(name)) for name in names]
    return frozenset(path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name for path in paths)


def _by_stem(paths: Sequence[Path]) -> dict[str, Path]:
    """Return the files by stem."""
    files: dict[str, Path] = {}
    for path in paths:
        if path.stem in files:
            raise ValueError(
                f"Image pairs: file names must differ in more than the suffix, got {files[path.stem]} and {path.name}."
            )
        files[path.stem] = path
    return files


def _partner(stem: str, path: Path, clean: dict[str, Path], bare: dict[str, list[str]]) -> str | None:
    """Return the stem of the clean file that belongs to a rainy one, None where there is none."""
    if stem in clean:
        return stem
    for name in partner_names(stem):
        found = bare.get(name, [])
        if len(found) > 1:
            raise ValueError(f"Image pairs: `{path}` must have one clean partner, got {' and '.join(sorted(found))}.")
        if found:
            return found[0]
    return None


def _warn_unknown(exclude: set[str], known: Iterable[str]) -> None:
    """Tell of names to leave out that are not there: a slip here lets a test picture into the training."""
    unknown = sorted(exclude.difference(known), key=natural_key)
    if unknown:
        warnings.warn(f"Image pairs: `exclude` names {', '.join(unknown)}, which the set does not hold.", stacklevel=4)
