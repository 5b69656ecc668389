"""The parts of a data set on disk, training and test, found by the folders' names that its manifest gives."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from msgnn_plugin.data.images import list_images, natural_key
from msgnn_plugin.data.layouts import find_sets, survey_pairs
from msgnn_plugin.data.manifests import Manifest, SplitRule
from msgnn_plugin.data.pairs import Pair, Picture, as_stems
from msgnn_plugin.data.reading import PictureReader

_MAX_DEPTH = 3
# What tells a file that holds a pair from a single photograph, whose halves differ: looked at in this many files.
_SAMPLES = 12
# Correlation of the halves' details. Large shapes tell less: a sky above a street makes any two halves alike. Met in
# the median: 0.74 under the heavy rain of Rain100H, 0.98 in Rain800, 0.02 between the halves of single photographs.
_ALIKE = 0.4


class Single(NamedTuple):
    """A picture without a clean side, in the form of a `Pair`."""

    name: str
    rainy: Picture
    clean: None = None


@dataclass
class Part:
    """One part of a set as it lies on disk.

    Attributes:
        rule: What the manifest says of it.
        folder: Where it lies.
        layout: The layout in words.
        entries: Its pairs, or its pictures where the set has no clean side; names unique, in natural order.
        alone: Files that lack their partner.
        fault: Why nothing could be made of the folder, one sentence.
    """

    rule: SplitRule
    folder: Path
    layout: str = ""
    entries: list[Pair] | list[Single] = field(default_factory=list)
    alone: list[Path] = field(default_factory=list)
    fault: str = ""

    @property
    def name(self) -> str:
        """Name of the part."""
        return self.rule.name


def find_parts(
    manifest: Manifest,
    root: str | Path,
    *,
    split: str | None = None,
    left: str | None = None,
    exclude: Iterable[str | int] = (),
) -> list[Part]:
    """Find the parts of a set in or below a folder.

    Args:
        manifest: The set.
        root: Folder that holds the parts' folders, or is one of them, or holds the whole undivided set.
        split: Part that ``root`` is; None looks for them.
        left: Left half of one-file pairs, instead of the manifest's.
        exclude: Names (stems, of either side) to leave out; those that no part holds are warned of.

    Returns:
        The parts found, in the manifest's order.

    Raises:
        FileNotFoundError: If ``root`` is no folder.
        ValueError: If ``split`` is unknown, or which part is which is not certain.
    """
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"Data set: `PATH` must be a folder that holds {manifest.name}, got {root}.")
    parts = [
        _survey(manifest, rule, folder, left) for rule, folder in _assign(manifest, root, split).items()
    ] or _divide(manifest, _survey(manifest, SplitRule("whole"), root, left))
    _exclude(parts, as_stems(exclude))
    return parts


def guess_entries(folder: str | Path) -> list[Pair] | list[Single]:
    """Find the pictures of a folder of unknown making: pairs in any published layout, or single pictures.

    Args:
        folder: Folder; what lies up to four folders below counts too.

    Returns:
        Pairs, or single pictures; names are unique and begin with the folder's own where there are several.

    Raises:
        FileNotFoundError: If there is no such folder, or no picture in it.
        ValueError: If a layout is not certain.
    """
    found = find_sets(folder)
    if not found:
        raise FileNotFoundError(f"Data set: {folder} must hold pictures, got none.")
    entries = []
    for place in found:
        survey = survey_pairs(place)
        inside = survey.pairs
        if inside and inside[0].joined:
            left = joined_orientation([Picture(pair.rainy.path) for pair in inside])
            if left is None:
                inside = [Single(pair.name, Picture(pair.rainy.path)) for pair in inside]
            elif left == "rainy":
                inside = survey_pairs(place, left=left).pairs
        prefix = "" if len(found) == 1 else place.relative_to(folder).as_posix().replace("/", "_") + "_"
        entries += [type(entry)(prefix + entry.name, entry.rainy, entry.clean) for entry in inside]
    return entries


def joined_orientation(pictures: list[Picture]) -> str | None:
    """Tell by their details whether files are pairs of two halves.

    Args:
        pictures: The files; a few of them are looked at, unreadable ones passed over.

    Returns:
        "clean" or "rainy", the half that is the left one by its edges, or None where they are single photographs.
    """
    reader = PictureReader()
    alike, clean_left, looked_at = 0, 0, 0
    for picture in pictures[:: max(1, len(pictures) // _SAMPLES)]:
        try:
            grey = reader.read_picture(picture)[:, :, 1]
        except (OSError, ValueError):
            continue
        looked_at += 1
        if grey.shape[1] % 2:
            continue
        half = grey.shape[1] // 2
        left, right = grey[:, :half], grey[:, -half:]
        details = [_details(side) for side in (left, right)]
        if min(np.ptp(details, axis=1)) > 0 and np.corrcoef(details)[0, 1] > _ALIKE:
            alike += 1
            clean_left += edge_energy(left).mean() <= edge_energy(right).mean()
    if 2 * alike <= looked_at:
        return None
    return "clean" if 2 * clean_left >= alike else "rainy"


def edge_energy(grey: np.ndarray) -> np.ndarray:
    """Return the gradient's size (sum of the absolute differences along both axes) of a grey picture (H, W)."""
    values = grey.astype(np.float32)
    along_x = cv2.Sobel(values, cv2.CV_32F, 1, 0, scale=0.25)
    return np.abs(along_x) + np.abs(cv2.Sobel(values, cv2.CV_32F, 0, 1, scale=0.25))


def _assign(manifest: Manifest, root: Path, split: str | None) -> dict[SplitRule, Path]:
    """Return the folder of each part that can be found by its name; none where the set is undivided."""
    rules = {rule.name: rule for rule in manifest.splits}
    if split is not None:
        if split not in rules:
            raise ValueError(f"Data set: `--split` must be one of {', '.join(rules)} for {manifest.name}, got {split}.")
        return {rules[split]: root}
    below = {}
    for rule in manifest.splits:
        matches = _matches(root, rule)
        if len(matches) > 1:
            names = ", ".join(str(path.relative_to(root)) for path in matches)
            raise ValueError(f"Data set: {root} must hold one folder of part `{rule.name}`, got {names}: name one.")
        if matches:
            below[rule] = matches[0]
    if below:
        return below
    named = [rule for rule in manifest.splits if _is_named(root.resolve().parts, rule)]
    named = named or [rule for rule in manifest.splits if _is_named(root.absolute().parts, rule)]
    if len(named) == 1:
        return {named[0]: root}
    if len(manifest.splits) == 1:
        return {manifest.splits[0]: root}
    if all(rule.numbers for rule in manifest.splits):
        return {}
    wanted = "; ".join(f"{rule.name}: {', '.join(rule.folders) or 'no name known'}" for rule in manifest.splits)
    raise ValueError(
        f"Data set: {root} must hold the folders of {manifest.name} ({wanted}) or be one of them, got neither. "
        "Say which part it is by --split."
    )


def _matches(folder: Path, rule: SplitRule, depth: int = _MAX_DEPTH, parts: tuple[str, ...] = ()) -> list[Path]:
    """Return the topmost folders below that go by a part's name."""
    found = []
    for child in sorted(folder.iterdir(), key=lambda path: natural_key(path.name)):
        if child.name.startswith(".") or not child.is_dir():
            continue
        if _is_named((*parts, child.name), rule):
            found.append(child)
        elif depth > 1:
            found += _matches(child, rule, depth - 1, (*parts, child.name))
    return found


def _is_named(parts: Sequence[str], rule: SplitRule) -> bool:
    """Whether a path ends in one of the names of a part, letters' case, spaces and hyphens aside."""
    path = [_plain(part) for part in parts]
    return any(path[-name.count("/") - 1 :] == _plain(name).split("/") for name in rule.folders)


def _plain(name: str) -> str:
    return name.lower().replace(" ", "_").replace("-", "_")


def _survey(manifest: Manifest, rule: SplitRule, folder: Path, left: str | None) -> Part:
    """Return what a part's folder holds, or why nothing can be made of it."""
    part = Part(rule, folder)
    try:
        if manifest.paired:
            survey = survey_pairs(folder, rainy=rule.rainy, clean=rule.clean, left=left or manifest.left)
            part.layout, part.entries, part.alone = survey.layout, survey.pairs, survey.alone
        else:
            part.layout, part.entries = "single pictures", _singles(folder)
    except (OSError, ValueError) as error:
        part.fault = str(error)
    return part


def _singles(folder: Path) -> list[Single]:
    """Return the pictures in a folder and those below."""
    places = find_sets(folder)
    if not places:
        raise FileNotFoundError(f"Data set: {folder} must hold pictures, got none.")
    entries = []
    for place in places:
        prefix = "" if place == folder else place.relative_to(folder).as_posix().replace("/", "_") + "_"
        entries += [Single(prefix + path.stem, Picture(str(path))) for path in list_images(place)]
    return entries


def _divide(manifest: Manifest, whole: Part) -> list[Part]:
    """Divide an undivided set by the numbers its pictures begin with."""
    if whole.fault:
        return [Part(rule, whole.folder, fault=whole.fault) for rule in manifest.splits]
    parts = []
    for rule in manifest.splits:
        first, last = rule.numbers
        inside = [entry for entry in whole.entries if first <= _number(entry.name) <= last]
        alone = [path for path in whole.alone if first <= _number(path.stem) <= last]
        layout = f"{whole.layout}, undivided: numbers {first} to {last}"
        parts.append(Part(rule, whole.folder, layout, inside, alone))
    return parts


def _number(name: str) -> int:
    """Return the number a name begins with, -1 if there is none."""
    digits = name.partition("_")[0]
    return int(digits) if digits.isdecimal() else -1


def _exclude(parts: list[Part], names: frozenset[str]) -> None:
    """Leave pictures out, and tell of names that are in no part: a slip lets a test picture into the training."""
    unknown = set(names)
    for part in parts:
        for entries in (part.entries, part.alone):
            kept = []
            for entry in entries:
                hit = _names(entry) & names
                unknown -= hit
                if not hit:
                    kept.append(entry)
            entries[:] = kept
    if unknown:
        listed = ", ".join(sorted(unknown, key=natural_key))
        warnings.warn(f"Data set: `exclude` names {listed}, which the set does not hold.", stacklevel=3)


def _names(entry: Pair | Single | Path) -> set[str]:
    """Return the names by which an entry may be left out."""
    if isinstance(entry, Path):
        return {entry.stem}
    pictures = [picture for picture in (entry.rainy, entry.clean) if picture is not None and picture.key is None]
    return {entry.name, *(Path(picture.path).stem for picture in pictures)}


def _details(grey: np.ndarray) -> np.ndarray:
    """Return a small copy of a grey picture less its own blur, as a vector of 1024 numbers."""
    small = cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
    return (small - cv2.blur(small, (5, 5))).ravel()
