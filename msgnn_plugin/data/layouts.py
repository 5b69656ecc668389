"""The layouts in which publishers hand out rain data, recognised from the folders alone."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from msgnn_plugin.data.distilled import SUFFIX, read_kept
from msgnn_plugin.data.images import list_images, natural_key
from msgnn_plugin.data.lmdb_store import is_store, open_store
from msgnn_plugin.data.pairs import Pair, Picture, as_stems, pair_by_name, pair_halves, pair_pictures

RAINY_FOLDERS = frozenset({"rain", "rainy", "rainy_image", "rain_image", "input", "lq", "real_world"})
CLEAN_FOLDERS = frozenset({"norain", "clean", "target", "ground_truth", "groundtruth", "gt", "label", "real_world_gt"})
# Rain1200's three strengths are one training set; any other siblings are sets of their own (train and test, say).
_MERGED_FOLDERS = frozenset({"rain_heavy", "rain_medium", "rain_light"})
_PAIR_LIST = "real_world.txt"
_MAX_DEPTH = 4
_HOW = "Copy or link a published set there; datasets/README.md says which and how."


@dataclass
class Survey:
    """What lies below a folder.

    Attributes:
        layout: The layout in words.
        pairs: The pairs, names unique, in natural order.
        alone: Files that lack their partner.
    """

    layout: str
    pairs: list[Pair]
    alone: list[Path] = field(default_factory=list)


def find_pairs(
    root: str | Path | None = None,
    *,
    rainy_root: str | Path | None = None,
    clean_root: str | Path | None = None,
    left: str = "clean",
    exclude: Iterable[str | int] = (),
) -> list[Pair]:
    """Find the pairs below ``root``, whose layout is recognised, or in two named folders.

    Recognised: two folders side by side under any of the usual names; ``norain-N`` and ``rain-N`` in one folder, or
    the rainy ones in a folder below; files that hold a pair as two halves; a list of pairs; the folder that
    `basicsr data prepare` writes. ``root`` may lie above the pictures as long as it holds one set only. It may also be
    the manifest (`.parquet`) that `basicsr distill` writes: then the pairs are those it keeps.

    Args:
        root: Folder of the set, or manifest.
        rainy_root: Folder or LMDB of the rainy pictures, together with ``clean_root`` instead of ``root``.
        clean_root: Folder or LMDB of the clean pictures.
        left: Which half of a one-file pair is the left one, "clean" or "rainy".
        exclude: Names (stems, of either side) to leave out.

    Returns:
        Pairs, names unique, in natural order.

    Raises:
        FileNotFoundError: If a folder is missing or holds no pictures.
        ValueError: If the layout is not certain, a picture lacks its partner, or an LMDB is damaged.
    """
    names = as_stems(exclude)
    if left not in ("clean", "rainy"):
        raise ValueError(f"Image pairs: `left` must be 'clean' or 'rainy', got {left!r}.")
    if (root is None) == (rainy_root is None and clean_root is None) or (rainy_root is None) != (clean_root is None):
        raise ValueError(
            "Image pairs: either `root` or both `rainy_root` and `clean_root` must be given, got "
            f"root={root}, rainy_root={rainy_root}, clean_root={clean_root}."
        )
    if root is None:
        pairs = _pairs_of_two_folders(Path(rainy_root), Path(clean_root), names)
    elif Path(root).suffix == SUFFIX and Path(root).is_file():
        pairs = read_kept(root, names)
    else:
        pairs = _survey_below(_existing(Path(root), "root"), left, names, None).pairs
    if not pairs:
        raise ValueError("Image pairs: `exclude` must leave at least one pair, got names for all of them.")
    return pairs


def survey_pairs(
    root: str | Path, *, rainy: str | None = None, clean: str | None = None, left: str = "clean"
) -> Survey:
    """Find the pairs below a folder as `find_pairs` does, name the layout, and go on where a file has no partner.

    Args:
        root: Folder of the set.
        rainy: Folder of the rainy pictures inside it, for a name that no published layout has; ``clean`` likewise.
        clean: Folder of the clean pictures, together with ``rainy``.
        left: Which half of a one-file pair is the left one, "clean" or "rainy".

    Returns:
        What was found.

    Raises:
        FileNotFoundError: If a folder is missing or holds no pictures.
        ValueError: If the layout is not certain, or an LMDB is damaged.
    """
    root = _existing(Path(root), "root")
    alone: list[Path] = []
    if rainy is None or clean is None:
        survey = _survey_below(root, left, frozenset(), alone)
    else:
        pairs = _pairs_of_two_folders(root / rainy, root / clean, frozenset(), alone)
        survey = Survey(f"two folders {rainy} | {clean}", pairs)
    survey.alone = alone
    return survey


def find_sets(root: str | Path) -> list[Path]:
    """Return the topmost folders below ``root`` (itself, if it is one) that a layout fits, in natural order."""
    return _search(_existing(Path(root), "root"), _MAX_DEPTH)


def _survey_below(folder: Path, left: str, exclude: frozenset[str], alone: list[Path] | None) -> Survey:
    """Return what the one layout in or below a folder holds."""
    found = _search(folder, _MAX_DEPTH)
    if not found:
        raise FileNotFoundError(f"Image pairs: `root` must hold image pairs, got {folder} without any. {_HOW}")
    if len(found) == 1:
        return _survey_of(found[0], left, exclude, alone)
    parts = [path.relative_to(folder).parts for path in found]
    heads = [_plain(part[0]) for part in parts]
    if len(set(heads)) < len(heads) or not _MERGED_FOLDERS.issuperset(heads):
        names = ", ".join(sorted(("/".join(part) for part in parts), key=natural_key))
        raise ValueError(
            f"Image pairs: `root` must hold one set, got {folder} with several ({names}). Name one of them."
        )
    merged = []
    for path, part in zip(found, parts, strict=True):
        survey = _survey_of(path, left, exclude, alone)
        merged += [Pair(f"{part[0]}_{pair.name}", pair.rainy, pair.clean) for pair in survey.pairs]
    layout = f"{' + '.join(part[0] for part in parts)}, each {survey.layout}"
    return Survey(layout, sorted(merged, key=lambda pair: natural_key(pair.name)))


def _search(folder: Path, depth: int) -> list[Path]:
    """Return the topmost folders, from this one down, that a layout fits."""
    if is_store(folder) or _is_set(folder):
        return [folder]
    if depth == 0:
        return []
    return [found for child in _subfolders(folder).values() for found in _search(child, depth - 1)]


def _is_set(folder: Path) -> bool:
    """Whether pairs begin in this very folder."""
    return bool(_two_sides(folder) or (folder / _PAIR_LIST).is_file() or list_images(folder))


def _survey_of(folder: Path, left: str, exclude: frozenset[str], alone: list[Path] | None) -> Survey:
    """Return what a folder holds that a layout fits."""
    if is_store(folder):
        raise ValueError(
            f"Image pairs: `root` must hold both sides, got {folder}, an LMDB of one. "
            "Give the folder above it, or rainy_root and clean_root."
        )
    if (folder / _PAIR_LIST).is_file():
        return Survey(f"list {_PAIR_LIST}", _pairs_of_list(folder, exclude))
    sides = _two_sides(folder)
    if sides:
        rainy, clean = (path.relative_to(folder).as_posix() for path in sides)
        return Survey(f"two folders {rainy} | {clean}", _pairs_of_two_folders(*sides, exclude, alone))
    images = list_images(folder)
    clean = [path for path in images if path.stem.lower().startswith("norain-")]
    rainy = [path for path in images if path.stem.lower().startswith("rain-")]
    layout = "rain-N and norain-N in one folder"
    if clean and not rainy:
        below = [path for name, path in _subfolders(folder).items() if name in RAINY_FOLDERS]
        rainy = list_images(below[0]) if len(below) == 1 else []
        layout = f"norain-N, rainy ones in {below[0].name} below" if rainy else layout
    if clean and rainy:
        return Survey(layout, pair_by_name(rainy, clean, exclude, alone))
    return Survey(f"one file a pair, left half {left}", pair_halves(images, left, exclude))


def _pairs_of_two_folders(
    rainy_root: Path, clean_root: Path, exclude: frozenset[str], alone: list[Path] | None = None
) -> list[Pair]:
    """Pair two folders, each of files or an LMDB."""
    rainy_store = is_store(_existing(rainy_root, "rainy_root"))
    clean_store = is_store(_existing(clean_root, "clean_root"))
    if rainy_store or clean_store:
        return pair_pictures(_pictures(rainy_root), _pictures(clean_root), exclude)
    rainy, clean = list_images(rainy_root), list_images(clean_root)
    if not rainy and not clean:
        raise FileNotFoundError(f"Image pairs: {rainy_root} and {clean_root} must hold pictures, got none. {_HOW}")
    return pair_by_name(rainy, clean, exclude, alone)


def _pictures(folder: Path) -> dict[str, Picture]:
    """Return the pictures of a folder or an LMDB by name."""
    if is_store(folder):
        return {name: Picture(str(folder), key=key) for name, key in open_store(str(folder)).keys_by_name().items()}
    return {path.stem: Picture(str(path)) for path in list_images(folder)}


def _pairs_of_list(folder: Path, exclude: frozenset[str]) -> list[Pair]:
    """Return the pairs that a list names, one "rainy clean" a line, paths relative to its folder (SPA-Data)."""
    lines = (folder / _PAIR_LIST).read_text(encoding="utf-8").splitlines()
    pairs = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        paths = [folder / name.lstrip("/") for name in line.split()]
        absent = [str(path) for path in paths if not path.is_file()]
        if len(paths) != 2 or absent:
            got = f"{absent[0]}, which does not exist" if absent else repr(line)
            raise ValueError(f"Image pairs: line {number} of {folder / _PAIR_LIST} must name two pictures, got {got}.")
        rainy, clean = paths
        if not exclude & {rainy.stem, clean.stem}:
            pairs.append(Pair(_listed_name(rainy.relative_to(folder)), Picture(str(rainy)), Picture(str(clean))))
    names = {pair.name for pair in pairs}
    if len(names) < len(pairs):
        raise ValueError(f"Image pairs: the rainy names in {folder / _PAIR_LIST} must be unique, got one twice.")
    return pairs


def _listed_name(path: Path) -> str:
    """Return a listed picture's name: its path below the folder of its side, which may hold folders itself."""
    return "_".join(path.with_suffix("").parts[1:]) or path.stem


def _two_sides(folder: Path) -> tuple[Path, Path] | None:
    """Return the rainy and the clean folder directly below, if there is one of each."""
    children = _subfolders(folder)
    if {"lq.lmdb", "gt.lmdb"} <= children.keys():
        return children["lq.lmdb"], children["gt.lmdb"]
    rainy = [path for name, path in children.items() if name in RAINY_FOLDERS]
    clean = [path for name, path in children.items() if name in CLEAN_FOLDERS]
    if rainy and clean and len(rainy) + len(clean) > 2:
        names = ", ".join(path.name for path in rainy + clean)
        raise ValueError(f"Image pairs: {folder} must hold one rainy and one clean folder, got {names}. Name the two.")
    if not rainy or not clean:
        return None
    return _enlarged(rainy[0]), clean[0]


def _enlarged(folder: Path) -> Path:
    """Return `rain/X2` for a `rain` that holds nothing else, as some copies of Rain200 do."""
    children = _subfolders(folder)
    return children["x2"] if children.keys() == {"x2"} and not list_images(folder) else folder


def _subfolders(folder: Path) -> dict[str, Path]:
    """Return the folders below by their names in lower case with underscores, hidden ones left out."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    return {_plain(name): folder / name for name in sorted(names, key=natural_key)}


def _plain(name: str) -> str:
    """Return a folder's name as the tables above spell it."""
    return name.lower().replace(" ", "_").replace("-", "_")


def _existing(folder: Path, field: str) -> Path:
    """Return the folder, or say where data must be put."""
    if not folder.is_dir():
        state = "a file" if folder.exists() else "a path that does not exist"
        raise FileNotFoundError(
            f"Image pairs: `{field}` must be a folder of image pairs, got {folder}, {state}. {_HOW}"
        )
    return folder
