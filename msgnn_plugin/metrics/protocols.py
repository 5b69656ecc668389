"""Named protocols: what exactly a table means by PSNR and SSIM."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from msgnn_plugin.metrics.luma import luma, rounded_luma
from msgnn_plugin.metrics.similarity import psnr, ssim

# What the code of MSGNN's authors gives two equal pictures.
_MSGNN_IDENTICAL = 100.0


class Similarity(NamedTuple):
    """How alike two pictures are: PSNR in dB (inf if equal), SSIM (nan where its window does not fit)."""

    psnr: float
    ssim: float


@dataclass(frozen=True, slots=True)
class Protocol:
    """A way to measure.

    Attributes:
        name: What tables call it.
        about: What it takes and where it comes from, for the reader of a table.
        measure: Takes derained and clean picture, float64 of range [0, 255], (H, W, 3) RGB or (H, W) grey.
        takes_floats: Whether it is defined for what a network gives, before that is rounded to a picture.
    """

    name: str
    about: str
    measure: Callable[[NDArray[np.float64], NDArray[np.float64]], Similarity]
    takes_floats: bool = False


def measure_similarity(derained: NDArray, clean: NDArray, protocol: str = "rgb") -> Similarity:
    """Measure a derained picture against the clean one by a named protocol.

    A grey picture beside one in colour counts as three equal channels; two grey ones are their own luma. 16 bits are
    scaled to [0, 255] and not rounded, except for the luma of "y-matlab".

    Args:
        derained: Picture, (H, W, 3) RGB or (H, W) grey; uint8, uint16, or where the protocol takes it ("msgnn") floats
            of range [0, 1], not clipped.
        clean: Picture of the same height and width.
        protocol: A key of ``PROTOCOLS``.

    Returns:
        PSNR and SSIM.

    Raises:
        ValueError: If the protocol is unknown, a picture has another form, or the two differ in size.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"metrics: `protocol` must be one of {', '.join(PROTOCOLS)}, got {protocol!r}.")
    chosen = PROTOCOLS[protocol]
    pictures = [_on_255(picture, name, chosen) for picture, name in ((derained, "derained"), (clean, "clean"))]
    if pictures[0].shape[:2] != pictures[1].shape[:2]:
        (height, width), (clean_height, clean_width) = (picture.shape[:2] for picture in pictures)
        raise ValueError(
            f"metrics: `derained` must be as large as its clean picture, {clean_width}x{clean_height}, got "
            f"{width}x{height}; crop or resize it first, and say so beside the number."
        )
    if pictures[0].ndim != pictures[1].ndim:
        pictures = [picture if picture.ndim == 3 else np.dstack([picture] * 3) for picture in pictures]
    return chosen.measure(*pictures)


def _on_255(picture: NDArray, name: str, protocol: Protocol) -> NDArray[np.float64]:
    if not (picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] == 3)) or 0 in picture.shape:
        raise ValueError(f"metrics: `{name}` must have shape (H, W, 3) or (H, W) and pixels, got {picture.shape}.")
    if picture.dtype == np.uint8:
        return picture.astype(np.float64)
    if picture.dtype == np.uint16:
        return picture / 257
    if not protocol.takes_floats or not np.issubdtype(picture.dtype, np.floating):
        raise ValueError(
            f"metrics: `{name}` must be a picture of 8 or 16 bits for the protocol {protocol.name}, got "
            f"{picture.dtype}; round it as it would be written."
        )
    if not np.isfinite(picture).all():
        raise ValueError(f"metrics: `{name}` must hold finite numbers, got nan or inf.")
    return picture.astype(np.float64) * 255


def _rgb(derained: NDArray[np.float64], clean: NDArray[np.float64]) -> Similarity:
    return Similarity(psnr(derained, clean), ssim(derained, clean))


def _y(derained: NDArray[np.float64], clean: NDArray[np.float64]) -> Similarity:
    return _rgb(luma(derained), luma(clean))


def _y_matlab(derained: NDArray[np.float64], clean: NDArray[np.float64]) -> Similarity:
    return _rgb(rounded_luma(derained), rounded_luma(clean))


def _msgnn(derained: NDArray[np.float64], clean: NDArray[np.float64]) -> Similarity:
    decibels = psnr(derained.clip(0, 255), clean.clip(0, 255))
    return Similarity(_MSGNN_IDENTICAL if math.isinf(decibels) else decibels, ssim(derained, clean, zero_padding=True))


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("rgb", "all three channels, SSIM window inside the picture; BasicSR's without test_y_channel", _rgb),
        Protocol("y", "Y in [16, 235], not rounded, SSIM window inside; BasicSR's with test_y_channel", _y),
        Protocol(
            "y-matlab",
            "Y rounded as MATLAB's rgb2ycbcr gives it for 8 bits, SSIM window inside; the MATLAB scripts for Rain200L, "
            "Rain200H and SPA-Data",
            _y_matlab,
        ),
        Protocol(
            "msgnn",
            "all three channels, SSIM padded with zeros, values not rounded, 100 dB for equal pictures; the code of "
            "MSGNN's authors",
            _msgnn,
            takes_floats=True,
        ),
    )
}
