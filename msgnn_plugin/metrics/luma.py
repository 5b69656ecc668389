"""The luma that deraining papers measure on: Y of ITU-R BT.601 in [16, 235], as MATLAB's rgb2ycbcr defines it."""

import numpy as np
from numpy.typing import NDArray

WEIGHTS = (65.481, 128.553, 24.966)


def luma(picture: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Y, not rounded. Shape: (H, W, 3) RGB of range [0, 255] -> (H, W) of range [16, 235].

    A grey picture (H, W) is its own luma: both MATLAB's scripts and BasicSR's take it as it is.
    """
    return picture if picture.ndim == 2 else 16 + picture @ np.array(WEIGHTS) / 255


def rounded_luma(picture: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Y as MATLAB's rgb2ycbcr gives it for pictures of 8 bits: rounded to whole numbers, halves up."""
    return np.floor(luma(picture) + 0.5)
