"""What a data set must hold: `datasets/manifests/NAME.yml`, one small file a set."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

# A wheel carries the files inside the package, a clone keeps them where its users look.
_PACKAGED = Path(__file__).with_name("manifest_files")
FOLDER = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parents[2] / "datasets" / "manifests"
_TEXTS = ("title", "about", "source", "licence", "sizes", "notes")
_KEYS = {*_TEXTS, "layouts", "left", "paired", "shared_backgrounds", "splits"}
_SPLIT_KEYS = {"pairs", "backgrounds", "folders", "numbers", "repeats", "rainy", "clean"}


@dataclass(frozen=True)
class SplitRule:
    """What one part of a set, `train` or a test part, must hold and where it lies.

    Attributes:
        name: "train" for the training part; any other name is a test part.
        pairs: Numbers of pairs (pictures for an unpaired set) that are right; empty where none is stated.
        backgrounds: Number of distinct clean files, where several rainy pictures share one; None if not stated.
        folders: Names the part's folder goes by; "a/b" is b inside a.
        numbers: First and last number N of the pictures ``N_K`` or ``N`` that belong to it in an undivided copy.
        repeats: Pairs that the published part holds more than once, so that they are no fault of a copy.
        rainy: Folder of the rainy pictures inside the part, for names that no published layout has.
        clean: Folder of the clean ones, together with ``rainy``.
    """

    name: str
    pairs: tuple[int, ...] = ()
    backgrounds: int | None = None
    folders: tuple[str, ...] = ()
    numbers: tuple[int, int] | None = None
    repeats: int = 0
    rainy: str | None = None
    clean: str | None = None


@dataclass(frozen=True)
class Manifest:
    """One data set: how to get it, what it must hold, how it lies on disk.

    Attributes:
        name: The manifest's file name without suffix.
        splits: Its parts, in the file's order.
        title: The name that papers use.
        about: One sentence on what it is.
        source: How to get it, in words.
        licence: As its publisher states it.
        sizes: Sizes of the pictures, in words.
        notes: What else a user should know.
        layouts: Layouts met in the wild, in words.
        left: Which half of a one-file pair is the left one, "clean" or "rainy".
        paired: Whether rainy pictures have a clean side.
        shared_backgrounds: Whether one background under different rain is the rule, so that looking for it is idle.
    """

    name: str
    splits: tuple[SplitRule, ...]
    title: str = ""
    about: str = ""
    source: str = "not stated"
    licence: str = "not stated"
    sizes: str = "not stated"
    notes: str = ""
    layouts: tuple[str, ...] = ()
    left: str = "clean"
    paired: bool = True
    shared_backgrounds: bool = False


def list_manifests() -> list[str]:
    """Return the names of the sets that come with a manifest, numbers in the order of their size."""
    from msgnn_plugin.data.images import natural_key

    return sorted((path.stem for path in FOLDER.glob("*.yml")), key=natural_key)


def load_manifest(name: str | Path) -> Manifest:
    """Read the manifest of a set.

    Args:
        name: Name of a set that comes with one, letters' case aside, or the path of a file of one's own (``.yml``).

    Returns:
        The manifest.

    Raises:
        FileNotFoundError: If there is none of that name.
        ValueError: If it has an unknown key, or a value out of its rule.
    """
    path = Path(name)
    if path.suffix.lower() not in (".yml", ".yaml"):
        path = FOLDER / f"{str(name).lower()}.yml"
        if path.stem not in list_manifests():
            near = difflib.get_close_matches(path.stem, list_manifests(), n=1)
            raise FileNotFoundError(
                f"Manifest: `NAME` must be one of {', '.join(list_manifests())} or the path of a .yml file, got {name}."
                + (f" Did you mean {near[0]}?" if near else "")
            )
    if not path.is_file():
        raise FileNotFoundError(f"Manifest: `NAME` must be a set's name or a file, got {path}, which is none.")
    try:
        fields = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"Manifest: {path} must be YAML, got text that is not ({reason}).") from error
    return _manifest(path, fields)


def _manifest(path: Path, fields: Any) -> Manifest:
    """Check a manifest's keys and make it."""
    _check_keys(path, "", fields, _KEYS)
    for key in _TEXTS:
        _check(path, key, fields.get(key, ""), isinstance(fields.get(key, ""), str), "text")
    left = fields.get("left", "clean")
    _check(path, "left", left, left in ("clean", "rainy"), "clean or rainy")
    for key in ("paired", "shared_backgrounds"):
        _check(path, key, fields.get(key, True), isinstance(fields.get(key, True), bool), "true or false")
    layouts, splits = fields.get("layouts", []), fields.get("splits")
    _check(path, "layouts", layouts, _is_list_of(layouts, str), "a list of texts")
    _check(path, "splits", splits, isinstance(splits, Mapping) and len(splits) > 0, "at least one part with its rules")
    rules = tuple(_split(path, str(name), rule) for name, rule in splits.items())
    return Manifest(name=path.stem, **{**fields, "layouts": tuple(layouts), "splits": rules})


def _split(path: Path, name: str, rule: Any) -> SplitRule:
    """Check one part's keys and make its rule."""
    where = f"splits.{name}"
    rule = {} if rule is None else rule
    _check_keys(path, f"{where}.", rule, _SPLIT_KEYS)
    pairs, numbers = rule.get("pairs", []), rule.get("numbers")
    pairs = pairs if isinstance(pairs, list) else [pairs]
    _check(
        path, f"{where}.pairs", pairs, all(_is_count(value) for value in pairs), "one or several whole numbers above 0"
    )
    backgrounds = rule.get("backgrounds")
    _check(path, f"{where}.backgrounds", backgrounds, backgrounds is None or _is_count(backgrounds), "a number above 0")
    folders = rule.get("folders", [])
    _check(path, f"{where}.folders", folders, _is_list_of(folders, str), "a list of names")
    right = numbers is None or (_is_list_of(numbers, int) and len(numbers) == 2 and numbers[0] <= numbers[1])
    _check(path, f"{where}.numbers", numbers, right, "the first and the last number")
    sides = [rule.get(key) for key in ("rainy", "clean")]
    right = sides == [None, None] or _is_list_of(sides, str)
    _check(path, f"{where}.rainy", sides, right, "given together with `clean`, both names of folders")
    repeats = rule.get("repeats", 0)
    _check(path, f"{where}.repeats", repeats, repeats == 0 or _is_count(repeats), "a number from 0")
    numbers = None if numbers is None else tuple(numbers)
    return SplitRule(name, tuple(pairs), backgrounds, tuple(folders), numbers, repeats, *sides)


def _check_keys(path: Path, where: str, fields: Any, known: set[str]) -> None:
    """Refuse what is no mapping of known keys."""
    _check(path, where.rstrip(".") or "the file", fields, isinstance(fields, Mapping), "a mapping of keys to values")
    unknown = [str(key) for key in fields if key not in known]
    if unknown:
        raise ValueError(f"Manifest: {path} must use the keys {', '.join(sorted(known))}, got `{where}{unknown[0]}`.")


def _check(path: Path, key: str, value: Any, right: bool, rule: str) -> None:
    """Refuse a value that breaks its rule."""
    if not right:
        raise ValueError(f"Manifest: {path}: `{key}` must be {rule}, got {value!r}.")


def _is_list_of(value: Any, kind: type) -> bool:
    """Whether a value is a list of one type only (true and false are no numbers)."""
    return isinstance(value, list) and all(isinstance(item, kind) and not isinstance(item, bool) for item in value)


def _is_count(value: Any) -> bool:
    """Whether a value is a whole number above 0."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
