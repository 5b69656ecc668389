"""One side of a set: its rainy or its clean pictures, whether or not their partners lie beside them."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from msgnn_plugin.data.images import natural_key
from msgnn_plugin.data.layouts import find_pairs, find_sets, survey_pairs
from msgnn_plugin.data.lmdb_store import is_store, open_store
from msgnn_plugin.data.pairs import Picture, as_stems
from msgnn_plugin.data.parts import joined_orientation
from msgnn_plugin.data.photographs import find_photographs


class SidePicture(NamedTuple):
    """A picture, and its partner on the other side where it was found in a set of pairs."""

    picture: Picture
    partner: Picture | None = None


def find_side(
    root: str | Path, side: Literal["rainy", "clean"], *, left: str = "clean", exclude: Sequence[str | int] = ()
) -> list[SidePicture]:
    """Find the pictures of one side in a folder of single pictures, an LMDB, or a set of pairs.

    Files that may be pairs of two halves are taken for such if the halves' details are alike, see
    ``joined_orientation``. A clean picture that several rainy ones share is there once.

    Args:
        root: Folder of single pictures at any depth, an LMDB, or a set of pairs in any layout of ``find_pairs``.
        side: Which side to take.
        left: Which half of a one-file pair is the left one, "clean" or "rainy".
        exclude: Names to leave out, in a set of pairs those of either side; unknown ones are warned of.

    Returns:
        The pictures, in natural order.

    Raises:
        FileNotFoundError: If the folder is missing or holds no pictures.
        ValueError: If pairs lack a partner, there are several sets of pairs, an LMDB is damaged, or none is left.
    """
    field = f"{side}_root"
    if left not in ("clean", "rainy"):
        raise ValueError(f"unpaired rain: `left` must be 'clean' or 'rainy', got {left!r}.")
    if not Path(root).is_dir():
        raise FileNotFoundError(f"unpaired rain: `{field}` must be a folder of pictures or an LMDB, got {root}.")
    places = find_sets(root)
    if not places:
        raise FileNotFoundError(f"unpaired rain: `{field}` must hold pictures, got {root} without any.")
    if len(places) == 1 and is_store(places[0]):
        return _stored(places[0], as_stems(exclude))
    if any(_holds_pairs(place, left) for place in places):
        pairs = find_pairs(root, left=left, exclude=exclude)
        sides = [(pair.rainy, pair.clean) if side == "rainy" else (pair.clean, pair.rainy) for pair in pairs]
        return [SidePicture(*pictures) for pictures in dict(sides).items()]
    return [SidePicture(Picture(str(path))) for path in find_photographs(root, exclude)]


def _holds_pairs(place: Path, left: str) -> bool:
    """Whether what a layout of pairs fits is one, and not a folder of single pictures."""
    pairs = survey_pairs(place, left=left).pairs
    # No pair at all means two sides whose names do not fit: `find_pairs` says which.
    return not pairs or not pairs[0].joined or joined_orientation([Picture(p.rainy.path) for p in pairs]) is not None


def _stored(folder: Path, exclude: frozenset[str]) -> list[SidePicture]:
    """Return the pictures of an LMDB."""
    keys = open_store(str(folder)).keys_by_name()
    unknown = sorted(exclude - keys.keys(), key=natural_key)
    if unknown:
        warnings.warn(f"unpaired rain: `exclude` names {', '.join(unknown)}, which {folder} lacks.", stacklevel=3)
    kept = [name for name in sorted(keys, key=natural_key) if name not in exclude]
    if not kept:
        raise ValueError(f"unpaired rain: `exclude` must leave at least one picture of {folder}, got none left.")
    return [SidePicture(Picture(str(folder), key=keys[name])) for name in kept]
