"""Pools of pairs with faults planted in them, to measure what a distillation rejects."""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Sides = tuple[NDArray[np.uint8], NDArray[np.uint8]]
_SHIFTS = ((3, 0), (-3, 0), (0, 3), (0, -3))


def shift(rainy: NDArray, clean: NDArray, other: Sides, rng: np.random.Generator) -> Sides:
    """Misalign the sides by 3 pixels."""
    across, down = _SHIFTS[rng.integers(len(_SHIFTS))]
    height, width = rainy.shape[:2]
    return rainy[3 + down : height - 3 + down, 3 + across : width - 3 + across], clean[3:-3, 3:-3]


def swap(rainy: NDArray, clean: NDArray, other: Sides, rng: np.random.Generator) -> Sides:
    """Call the clean side rainy."""
    return clean, rainy


def blur(rainy: NDArray, clean: NDArray, other: Sides, rng: np.random.Generator) -> Sides:
    """Blur the clean side by a Gaussian of 1 to 2.5 pixels."""
    return rainy, cv2.GaussianBlur(clean, (0, 0), rng.uniform(1, 2.5))


def compress(rainy: NDArray, clean: NDArray, other: Sides, rng: np.random.Generator) -> Sides:
    """Save the clean side as JPEG of quality 10."""
    return rainy, jpeg(clean, 10)


def mispair(rainy: NDArray, clean: NDArray, other: Sides, rng: np.random.Generator) -> Sides:
    """Give the clean side of another pair."""
    return rainy, cv2.resize(other[1], rainy.shape[1::-1], interpolation=cv2.INTER_AREA)


def dry(rainy: NDArray, clean: NDArray, other: Sides, rng: np.random.Generator) -> Sides:
    """Leave out the rain; half of them are saved as JPEG of quality 90."""
    return jpeg(clean, 90) if rng.random() < 0.5 else clean, clean


def noise(rainy: NDArray, clean: NDArray, other: Sides, rng: np.random.Generator) -> Sides:
    """Take noise for rain: Gaussian, grey or coloured, of either sign or bright alone, or salt."""
    kind = rng.integers(3)
    if kind == 2:
        spots = rng.random(clean.shape[:2]) < rng.uniform(0.01, 0.1)
        return np.where(spots[..., None], np.uint8(255), clean), clean
    values = rng.normal(0, rng.uniform(8, 40), (*clean.shape[:2], rng.choice((1, 3))))
    values = np.abs(values) if kind else values
    return np.clip(clean + values, 0, 255).astype(np.uint8), clean


def repeat(rainy: NDArray, clean: NDArray, other: Sides, rng: np.random.Generator) -> Sides:
    """Take a pair that is in the pool: as it is, as JPEG of quality 75, or nine tenths as large."""
    kind = rng.integers(3)
    if kind == 0:
        return other
    if kind == 1:
        return tuple(jpeg(side, 75) for side in other)
    return tuple(cv2.resize(side, None, fx=0.9, fy=0.9, interpolation=cv2.INTER_AREA) for side in other)


FAULTS: dict[str, Callable[[NDArray, NDArray, Sides, np.random.Generator], Sides]] = {
    "shift": shift,
    "swap": swap,
    "blur": blur,
    "compress": compress,
    "mispair": mispair,
    "dry": dry,
    "noise": noise,
    "repeat": repeat,
}


def jpeg(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """Save an RGB picture as JPEG and read it again."""
    data = cv2.imencode(".jpg", np.ascontiguousarray(image[:, :, ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[:, :, ::-1])


def write_pool(folder: Path, pairs: Sequence[tuple[str, Sides]], seed: int) -> None:
    """Write pairs to ``folder/rainy`` and ``folder/clean``: every second one as it is, the others with a fault.

    Args:
        folder: Where to.
        pairs: What each is called, and its sides, RGB uint8; no two of one background.
        seed: Of what the faults draw.

    The names are ``good_KIND_N`` and ``FAULT_KIND_N``; faults take turns.
    """
    rng = np.random.default_rng(seed)
    for number, (kind, sides) in enumerate(pairs):
        sides = tuple(np.ascontiguousarray(side) for side in sides)
        fault = "good"
        if number % 2:
            fault = list(FAULTS)[number // 2 % len(FAULTS)]
            other = tuple(np.ascontiguousarray(side) for side in pairs[number - 1][1])
            sides = FAULTS[fault](*sides, other, rng)
        for side, image in zip(("rainy", "clean"), sides, strict=True):
            path = folder / side / f"{fault}_{kind}_{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), np.ascontiguousarray(image[:, :, ::-1]), [cv2.IMWRITE_PNG_COMPRESSION, 1])
