"""What is measured of each pair when a data set is verified; every file is decoded once."""

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from msgnn_plugin.data.overlap import make_thumbnail
from msgnn_plugin.data.pairs import Pair, Picture
from msgnn_plugin.data.parts import Single, edge_energy
from msgnn_plugin.data.reading import PictureReader, describe

LAYER_SIDE = 64
# Rain layers of one pair saved anew as JPEG of quality 50 and up, at another size too, agree by 0.97 and more
# (Rain100H, Rain100L), those of one background under two rains by less than 0.4 (Rain800).
SAME_RAIN = 0.9
_SKEW_WEIGHT = 0.6
# Mean difference of the sides, in 8-bit levels, below which neither is the rainy one: the lightest of the pairs at hand
# (Rain100L) differs by 1.6, one picture on both sides of a JPEG by 0.02.
_ALIKE = 0.2


@dataclass
class Scan:
    """What one pair, or one single picture, looks like.

    Attributes:
        name: Its name in the set.
        error: Why it cannot be used, one sentence; then nothing below is set.
        sizes_differ: Whether the error is one of sizes, not of reading.
        rainy_digest: Digest of the rainy picture's pixels.
        digest: Digest of the background's pixels: of the clean picture, of the only one where there is no clean one.
        thumbnail: Thumbnail of the background, see `make_thumbnail`.
        layer: The rain alone, (rainy - clean) without its coarse structure, shape (64, 64), float16; None if unpaired.
        alike: Whether both sides are one picture, so that there is no rain to judge.
        edge_ratio: Log of the rainy edge energy over the clean one; None if unpaired or alike.
        rain_score: How much the rainy side looks as if rain were on it and not on the other: the edge ratio, the mean
            log ratio over pixels (which veiling, that flattens strong edges, does not turn), and the skew of the
            difference, since rain brightens. Below 0 the other side looks rainier; None if unpaired or alike. Ours.
    """

    name: str
    error: str = ""
    sizes_differ: bool = False
    rainy_digest: bytes = b""
    digest: bytes = b""
    thumbnail: NDArray[np.uint8] | None = None
    layer: NDArray[np.float16] | None = None
    alike: bool = False
    edge_ratio: float | None = None
    rain_score: float | None = None


def scan_entries(entries: Sequence[Pair | Single], on_done: Callable[[int], None] = lambda count: None) -> list[Scan]:
    """Decode and measure pairs or single pictures, as many at a time as there are processors.

    OpenCV and the digests work outside the interpreter's lock, so threads are enough.

    Args:
        entries: What to look at.
        on_done: Called with a number of entries that are done.

    Returns:
        One scan an entry, in their order; what cannot be read carries its error.
    """
    reader = PictureReader()
    scans = []
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for scan in pool.map(lambda entry: _scan(reader, entry), entries):
            scans.append(scan)
            on_done(1)
    return scans


def rain_agreement(one: NDArray, two: NDArray) -> float:
    """Return the concordance of two rain layers: 1 for equal ones, less where pattern or strength differ."""
    one, two = one.astype(np.float32), two.astype(np.float32)
    return float(2 * (one * two).sum() / max(float((one * one).sum() + (two * two).sum()), 1e-6))


def _scan(reader: PictureReader, entry: Pair | Single) -> Scan:
    """Decode and measure one pair or picture."""
    try:
        if entry.clean is None:
            only = reader.read_picture(entry.rainy)
            return Scan(entry.name, rainy_digest=_digest(only), digest=_digest(only), thumbnail=make_thumbnail(only))
        rainy, clean = _read(reader, entry)
    except (OSError, ValueError) as error:
        return Scan(entry.name, error=str(error))
    if rainy.shape != clean.shape:
        sizes = [
            f"{describe(picture)} {image.shape[1]}x{image.shape[0]}"
            for picture, image in ((entry.rainy, rainy), (entry.clean, clean))
        ]
        return Scan(entry.name, error=f"the halves must be equal in size, got {' and '.join(sizes)}", sizes_differ=True)
    rainy_grey, clean_grey = (_grey(image) for image in (rainy, clean))
    difference = rainy_grey.astype(np.float32) - clean_grey
    alike = bool(np.abs(difference).mean() < _ALIKE)
    edge_ratio, score = (None, None) if alike else _compare_rain(rainy_grey, clean_grey, difference)
    return Scan(
        entry.name,
        rainy_digest=_digest(rainy),
        digest=_digest(clean),
        thumbnail=make_thumbnail(clean),
        layer=_rain_layer(difference),
        alike=alike,
        edge_ratio=edge_ratio,
        rain_score=score,
    )


def _read(reader: PictureReader, pair: Pair) -> tuple[np.ndarray, np.ndarray]:
    """Return both sides, even where their sizes differ; the larger side of an odd joined file is its right one."""
    if not pair.joined:
        return reader.read_picture(pair.rainy), reader.read_picture(pair.clean)
    whole = reader.read_picture(Picture(pair.rainy.path, key=pair.rainy.key))
    half = whole.shape[1] // 2
    sides = {"left": whole[:, :half], "right": whole[:, half:]}
    return sides[pair.rainy.half], sides[pair.clean.half]


def _grey(image: np.ndarray) -> np.ndarray:
    """Return the green channel as 8 bits' range: nearest to brightness, and at no cost."""
    return image[:, :, 1] if image.dtype == np.uint8 else image[:, :, 1] / np.float32(257)


def _compare_rain(rainy: np.ndarray, clean: np.ndarray, difference: np.ndarray) -> tuple[float, float]:
    """Return `Scan.edge_ratio` and `Scan.rain_score`."""
    rainy_edges, clean_edges = edge_energy(rainy), edge_energy(clean)
    # The floor stands for noise, so that flat pictures give 0 and not a ratio of nothings.
    ratio = float(np.log((rainy_edges.mean() + 1e-3) / (clean_edges.mean() + 1e-3)))
    typical = float((cv2.log(rainy_edges + 4) - cv2.log(clean_edges + 4)).mean())
    fine = difference - cv2.GaussianBlur(difference, (0, 0), 5)
    spread = float(np.square(fine).mean())
    skew = float((fine * fine * fine).mean()) / (spread**1.5 + 1e-6)
    return ratio, ratio + typical + _SKEW_WEIGHT * float(np.clip(skew, -1, 1))


def _rain_layer(difference: np.ndarray) -> np.ndarray:
    """Return `Scan.layer`."""
    layer = cv2.resize(difference, (LAYER_SIDE, LAYER_SIDE), interpolation=cv2.INTER_AREA)
    return (layer - cv2.GaussianBlur(layer, (0, 0), 2)).astype(np.float16)


def _digest(image: np.ndarray) -> bytes:
    """Return a digest of a picture's size and pixels."""
    digest = hashlib.blake2b(repr((image.shape, str(image.dtype))).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image))
    return digest.digest()
