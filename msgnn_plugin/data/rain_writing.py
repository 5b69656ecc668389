"""A data set of made rain on disk: one folder of rainy pictures, one of clean ones, known rain on request."""

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np

from msgnn_plugin.data.atomic import write_bytes_atomic
from msgnn_plugin.data.photographs import find_photographs, read_photograph
from msgnn_plugin.data.synthesis import find_preset, synthesize

SETTINGS_NAME = "synthesis.json"
# BasicSR's own level: a fifth larger than the best, several times quicker to write.
_COMPRESSION = 1


@dataclass(frozen=True)
class RainSet:
    """What is to be made.

    Attributes:
        preset: Name of the kind of rain.
        seed: Seed of all draws, at least 0.
        per_picture: Rainy pictures of each photograph, at least 1; None takes what the preset's data set has.
        keep_rain: Whether the rain layer is written too.

    Raises:
        ValueError: If a setting is out of its range, or rain is to be kept that is no layer.
    """

    preset: str
    seed: int = 0
    per_picture: int | None = None
    keep_rain: bool = False

    def __post_init__(self) -> None:
        preset = find_preset(self.preset)
        if self.seed < 0:
            raise ValueError(f"rain synthesis: `seed` must be at least 0, got {self.seed}.")
        if self.per_picture is None:
            object.__setattr__(self, "per_picture", preset.per_picture)
        if self.per_picture < 1:
            raise ValueError(f"rain synthesis: `per_picture` must be at least 1, got {self.per_picture}.")
        if self.keep_rain and not preset.additive:
            raise ValueError(
                f"rain synthesis: `rain` must be left out for the preset {self.preset}, whose haze, drops or light are "
                "no layer that is added."
            )


def write_rain_set(
    root: str | Path,
    out: str | Path,
    rain_set: RainSet,
    *,
    exclude: Sequence[str | int] = (),
    jobs: int = 1,
    on_start: Callable[[int], None] = lambda count: None,
    on_done: Callable[[], None] = lambda: None,
    on_bad: Callable[[str], None] = lambda sentence: None,
) -> tuple[int, int]:
    """Write ``out/rainy/NAME.png`` and ``out/clean/NAME.png``, with ``out/rain_layer/NAME.png`` where it is kept.

    Several rainy pictures of one photograph are ``NAME_1.png`` and so on, beside one clean ``NAME.png``, or one each by
    night, where every one has lamps of its own. Each is a function of the seed, the photograph's path below ``root``
    and its number alone. An interrupted run goes on where it stopped. A photograph that cannot be read is told of and
    passed over.

    Args:
        root: Folder of clean photographs, at any depth.
        out: Folder to make or to go on with.
        rain_set: What to make.
        exclude: Names of photographs to leave out.
        jobs: Processes.
        on_start: Called with the number of photographs.
        on_done: Called after each photograph.
        on_bad: Called with the sentence about a photograph that cannot be read.

    Returns:
        How many photographs there are, and how many could not be read.

    Raises:
        FileNotFoundError: If ``root`` is missing or holds no photograph.
        ValueError: If ``out`` lies in ``root``, holds a set of other settings, or ``jobs`` is below 1.
        OSError: If the disk is full or ``out`` cannot be written.
    """
    root, out = Path(root), Path(out)
    if jobs < 1:
        raise ValueError(f"rain synthesis: `jobs` must be at least 1, got {jobs}.")
    if out.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"rain synthesis: `out` must lie outside the clean photographs in {root}, got {out}.")
    places = name_photographs(root, find_photographs(root, exclude))
    _check_settings(out, rain_set)
    on_start(len(places))
    bad = 0
    make = partial(make_rain, out=out, rain_set=rain_set, root=root)
    with _mapping(jobs) as mapped:
        for sentence in mapped(make, places):
            if sentence is not None:
                bad += 1
                on_bad(sentence)
            on_done()
    return len(places), bad


def name_photographs(root: Path, paths: Sequence[Path]) -> list[tuple[str, str]]:
    """Return each photograph's path below ``root`` and the name of its results.

    The name is the file's stem where stems are unique, else the whole path below ``root`` with underscores.

    Raises:
        ValueError: If two photographs would still have one name.
    """
    places = [path.relative_to(root) for path in paths]
    names = [place.stem for place in places]
    if len(set(names)) < len(names):
        names = ["_".join(place.with_suffix("").parts) for place in places]
    seen: dict[str, Path] = {}
    for name, place in zip(names, places, strict=True):
        if name in seen:
            raise ValueError(
                f"rain synthesis: photographs must differ in more than the suffix, got {seen[name]} and {place}."
            )
        seen[name] = place
    return [(place.as_posix(), name) for place, name in zip(places, names, strict=True)]


def make_rain(place: tuple[str, str], out: Path, rain_set: RainSet, root: Path) -> str | None:
    """Write all that belongs to one photograph and is not there yet; return why it cannot be read, or None."""
    path, name = place
    preset = find_preset(rain_set.preset)
    several = rain_set.per_picture > 1
    rainy_names = [f"{name}_{number}" for number in range(1, rain_set.per_picture + 1)] if several else [name]
    # Rainy pictures come last, so where one is the rest of it is too.
    missing = [i for i, rainy_name in enumerate(rainy_names) if not (out / "rainy" / f"{rainy_name}.png").exists()]
    if not missing:
        return None
    try:
        clean = read_photograph(root / path)
    except (OSError, ValueError) as error:
        return str(error)
    for number in missing:
        rng = np.random.default_rng(np.random.SeedSequence((rain_set.seed, number, *path.encode())))
        made = synthesize(clean, preset, rng)
        if rain_set.keep_rain:
            _write(out / "rain_layer" / f"{rainy_names[number]}.png", made.rain)
        clean_path = out / "clean" / f"{name if preset.night is None else rainy_names[number]}.png"
        if not clean_path.exists():
            _write(clean_path, made.clean)
        _write(out / "rainy" / f"{rainy_names[number]}.png", made.rainy)
    return None


def _write(path: Path, image: np.ndarray) -> None:
    encoded = cv2.imencode(".png", image[:, :, ::-1], [cv2.IMWRITE_PNG_COMPRESSION, _COMPRESSION])[1]
    write_bytes_atomic(path, encoded.tobytes())


def _check_settings(out: Path, rain_set: RainSet) -> None:
    """Keep one folder to one set of settings, so that a run goes on with what it began."""
    path, wanted = out / SETTINGS_NAME, vars(rain_set)
    if path.exists():
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            found = "a damaged file"
        if found != wanted:
            raise ValueError(
                f"rain synthesis: `out` must be new or hold a set made with {wanted}, got {found} in {out}."
            )
    elif out.exists() and any(not entry.name.startswith(".") for entry in out.iterdir()):
        raise ValueError(f"rain synthesis: `out` must be new or hold an earlier run, got {out} with other files in it.")
    else:
        write_bytes_atomic(path, json.dumps(wanted).encode())


@contextmanager
def _mapping(jobs: int) -> Iterator[Callable]:
    """Yield a `map` that works in this process or in several; what is queued is dropped when the block is left."""
    if jobs == 1:
        yield map
        return
    # Spawned, not forked: this process has threads (a progress bar's), whose locks a fork would copy as they are.
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))
    try:
        yield pool.map
    finally:
        pool.shutdown(cancel_futures=True)
