"""Pictures of a run for its report: what it derained, beside its rainy input, small enough to be embedded."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from msgnn_plugin.adapters.basicsr import register
from msgnn_plugin.adapters.basicsr.components import registered
from msgnn_plugin.adapters.basicsr.reporting.runs import RunResult, SetResult, section
from msgnn_plugin.data.image_file import read_picture

# Of 100; lower ones smear streaks that are a pixel wide.
MAX_SIDE, QUALITY = 640, 90


@dataclass(frozen=True)
class Example:
    """One picture to show.

    Attributes:
        name: The image.
        size: Width and height as shown.
        derained: JPEG of at most `MAX_SIDE` pixels a side.
        rainy: The same of the input; None where the data is not at hand.
    """

    name: str
    size: tuple[int, int]
    derained: bytes
    rainy: bytes | None


def load_examples(run: RunResult, result: SetResult, wanted: Sequence[tuple[int, str]]) -> tuple[list[Example], str]:
    """Load the pictures that a run kept of some images.

    Args:
        run: The run; a picture that is broken is added to its problems.
        result: Its result on a set.
        wanted: (place in the set, name) of the images.

    Returns:
        The examples, and a sentence on what could not be shown, empty where all is.
    """
    files = {name: _saved(run, result, name) for _, name in wanted}
    kept = [(place, name) for place, name in wanted if files[name] is not None]
    notes = []
    if len(kept) < len(wanted):
        notes.append(
            f"{len(wanted) - len(kept)} of {len(wanted)} pictures were not kept by the run: `val.save_img: true` keeps "
            "them, in a test too."
        )
    data, fault = _open_data(run, result) if kept else (None, "")
    if fault:
        notes.append(f"Rainy inputs are not shown: {fault}")
    examples = []
    for place, name in kept:
        try:
            derained = _bytes(read_picture(files[name]).rgb)
        except (ValueError, OSError) as error:
            run.problems.append(str(error))
            continue
        rainy = None if data is None else _rainy(data, place, name, derained.shape)
        if data is not None and rainy is None:
            notes.append(f"No rainy input of the same name and size was found for {name}.")
        small = _shrink(derained)
        shown = None if rainy is None else _encode(_shrink(rainy))
        examples.append(Example(name, (small.shape[1], small.shape[0]), _encode(small), shown))
    return examples, " ".join(notes)


def _saved(run: RunResult, result: SetResult, name: str) -> Path | None:
    """Return the file of a derained picture, where BasicSR writes it; None if it is not there."""
    if Path(name).name != name:
        return None
    home = run.folder / "visualization"
    if result.iteration is not None:
        path = home / name / f"{name}_{result.iteration}.png"
    else:
        suffix = section(run.options, "val").get("suffix") or run.folder.resolve().name
        path = home / result.name / f"{name}_{suffix}.png"
    return path if path.is_file() else None


def _open_data(run: RunResult, result: SetResult) -> tuple[Any, str]:
    """Build the data set that was measured, or say why not."""
    options = next(
        (
            data
            for data in section(run.options, "datasets").values()
            if isinstance(data, dict) and str(data.get("name")) == result.name
        ),
        None,
    )
    if options is None:
        return None, f"the run's options name no set {result.name}."
    # Exemplars are not shown, and some are costly to choose.
    options = {key: value for key, value in options.items() if key != "exemplar_path"}
    options |= {"phase": "val", "exemplar": "self"}
    register()
    build = registered("dataset").get(options.get("type"))
    if build is None:
        return None, f"there is no data set of the type {options.get('type')!r}."
    try:
        return build(options), ""
    # A data set of BasicSR's own, or of a plugin, may find fault in any of these ways.
    except (ValueError, TypeError, KeyError, OSError, AssertionError) as error:
        return None, " ".join(str(error).split())


def _rainy(data: Any, place: int, name: str, shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
    """Return the input of an image, if it is the one of that name and size."""
    try:
        sample = data[place]
    except (ValueError, OSError, IndexError):
        return None
    stem = Path(sample["lq_path"]).stem
    # UniRain's tables put the type in front of the name.
    if name != stem and not name.endswith(f"_{stem}"):
        return None
    picture = _bytes(sample["lq"].permute(1, 2, 0).numpy())
    return picture if picture.shape == shape else None


def _bytes(rgb: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.rint(np.clip(rgb, 0, 1) * 255).astype(np.uint8)


def _shrink(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    factor = MAX_SIDE / max(picture.shape[:2])
    if factor >= 1:
        return picture
    height, width = (max(1, round(side * factor)) for side in picture.shape[:2])
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def _encode(picture: NDArray[np.uint8]) -> bytes:
    return cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
