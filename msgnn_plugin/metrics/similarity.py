"""PSNR and SSIM in float64, without a protocol: values as they come, on the range [0, 255]."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

PEAK = 255.0
WINDOW = 11
SIGMA = 1.5
C1 = (0.01 * PEAK) ** 2
C2 = (0.03 * PEAK) ** 2


def psnr(derained: NDArray[np.float64], clean: NDArray[np.float64]) -> float:
    """Return ``10 log10(255**2 / MSE)`` in dB, the error averaged over all pixels and channels; inf for equal ones.

    Args:
        derained: Picture of range [0, 255], any shape.
        clean: Picture of the same shape.
    """
    error = float(np.mean(np.square(derained - clean)))
    return 10 * math.log10(PEAK**2 / error) if error else math.inf


def ssim(derained: NDArray[np.float64], clean: NDArray[np.float64], *, zero_padding: bool = False) -> float:
    """Return the mean structural similarity of Wang et al. (2004): 11x11 Gaussian window of sigma 1.5, by channel.

    Args:
        derained: Picture of range [0, 255], (H, W) or (H, W, C).
        clean: Picture of the same shape.
        zero_padding: Whether the window also stands on the border, zeros around the picture; else it stays inside.

    Returns:
        Similarity, at most 1; nan where the window has to stay inside a picture that is smaller.
    """
    if not zero_padding and min(clean.shape[:2]) < WINDOW:
        return math.nan
    # A channel at a time keeps the maps of a large picture out of the memory.
    planes = zip(np.atleast_3d(derained).transpose(2, 0, 1), np.atleast_3d(clean).transpose(2, 0, 1), strict=True)
    return float(np.mean([_ssim_of_plane(*pair, zero_padding) for pair in planes]))


def _ssim_of_plane(first: NDArray[np.float64], second: NDArray[np.float64], zero_padding: bool) -> float:
    mean1, mean2 = _blur(first, zero_padding), _blur(second, zero_padding)
    variance1 = _blur(first * first, zero_padding) - mean1 * mean1
    variance2 = _blur(second * second, zero_padding) - mean2 * mean2
    covariance = _blur(first * second, zero_padding) - mean1 * mean2
    luminance = (2 * mean1 * mean2 + C1) / (mean1 * mean1 + mean2 * mean2 + C1)
    return float(np.mean(luminance * (2 * covariance + C2) / (variance1 + variance2 + C2)))


def _blur(plane: NDArray[np.float64], zero_padding: bool) -> NDArray[np.float64]:
    taps = cv2.getGaussianKernel(WINDOW, SIGMA)
    blurred = cv2.sepFilter2D(plane, -1, taps, taps, borderType=cv2.BORDER_CONSTANT)
    inside = slice(WINDOW // 2, -(WINDOW // 2))
    return blurred if zero_padding else blurred[inside, inside]
