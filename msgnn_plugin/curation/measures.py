"""What can be measured of a rainy picture and the one that is said to be its clean side. The measures are ours."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

# Shifts looked for, in pixels.
_REACH = 16
# Gradients far above this many levels a pixel count alike, so that neither strong edges nor bright streaks decide.
_GRADIENT = 6.0
# How far apart, in pixels, the rain at two places is compared: noise has forgotten itself there, streaks and drops not.
_STEPS = ((0, 4), (1, 4), (2, 3), (3, 3), (3, 2), (4, 1), (4, 0), (4, -1), (3, -2), (3, -3), (2, -3), (1, -4))
_SMALLEST = 16


@dataclass(frozen=True)
class PairMeasures:
    """What was measured of a pair, or of one window of it.

    Attributes:
        shift: How far the rainy picture's edges lie from the clean one's, pixels, up to 23.
        agreement: Correlation of their edges at that shift, -1 to 1.
        level: Mean absolute difference of the brightness, levels of 255.
        detail: Mean logarithm of the rainy gradient over the clean one; rain adds detail, so below 0 the sides are
            swapped.
        sharpness: Logarithm of the clean side's energy in its finest octave over that in the next.
        lost: Correlation of what the rainy side has more with what sharpening would give the clean one: above 0 the
            clean one lacks detail of the scene.
        blocking: How much stronger an 8 x 8 grid stands in the clean side than in the rainy one.
        lineness: Correlation of the difference with itself 4 pixels on, in the direction where it is highest: 0 for
            noise.
        roundness: The same in the direction where it is lowest: below 0 for streaks, above for drops.
        skew: Skewness of the difference's fine part: above 0 where rain brightens, as streaks do.
        rainy_light: Mean brightness of the rainy side, levels of 255.
        clean_light: Mean brightness of the clean side.
    """

    shift: float
    agreement: float
    level: float
    detail: float
    sharpness: float
    lost: float
    blocking: float
    lineness: float
    roundness: float
    skew: float
    rainy_light: float
    clean_light: float


def measure_pair(rainy: NDArray[np.uint8], clean: NDArray[np.uint8]) -> PairMeasures:
    """Measure a pair.

    Args:
        rainy: RGB, shape (H, W, 3), uint8, at least 16 pixels a side.
        clean: The same scene without rain, of equal shape.

    Returns:
        The measures.

    Raises:
        ValueError: If shapes differ or are too small.
    """
    if rainy.shape != clean.shape or min(rainy.shape[:2]) < _SMALLEST:
        raise ValueError(
            f"measure_pair: `rainy` and `clean` must be equal in shape and at least {_SMALLEST} pixels a side, got "
            f"{rainy.shape} and {clean.shape}."
        )
    bright, base = (cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY) for image in (rainy, clean))
    bright, base = bright.astype(np.float32), base.astype(np.float32)
    difference = bright - base
    shift, agreement = _align(bright, base)
    lineness, roundness, skew = _shape(difference)
    return PairMeasures(
        shift=shift,
        agreement=agreement,
        level=float(np.abs(difference).mean()),
        detail=float((np.log(_slope(bright) + 0.5) - np.log(_slope(base) + 0.5)).mean()),
        sharpness=_sharpness(base),
        lost=_correlate(difference - _blur(difference, 1.5), base - _blur(base, 1)),
        blocking=_blocking(base) - _blocking(bright),
        lineness=lineness,
        roundness=roundness,
        skew=skew,
        rainy_light=float(bright.mean()),
        clean_light=float(base.mean()),
    )


def _align(bright: NDArray[np.float32], base: NDArray[np.float32]) -> tuple[float, float]:
    """Return the shift at which the edges of both agree best, in pixels, and how well they do.

    Correlation of gradients as complex numbers (Argyriou and Vlachos, "Estimation of sub-pixel motion using gradient
    cross-correlation", 2003), each shortened to less than 1.
    """
    height, width = bright.shape
    window = np.sqrt(np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1]))
    one, two = (_edges(image) * window for image in (bright, base))
    size = np.sqrt(np.square(np.abs(one)).sum() * np.square(np.abs(two)).sum()) + 1e-9
    surface = np.fft.ifft2(np.fft.fft2(one) * np.conj(np.fft.fft2(two))).real / size
    reach = min(_REACH, height // 2 - 1, width // 2 - 1)
    near = np.roll(surface, (reach, reach), (0, 1))[: 2 * reach + 1, : 2 * reach + 1]
    row, column = np.unravel_index(near.argmax(), near.shape)
    return float(np.hypot(row - reach, column - reach)), float(near.max())


def _edges(image: NDArray[np.float32]) -> NDArray[np.complex64]:
    across, down = (cv2.Sobel(image, cv2.CV_32F, dx, dy) / 8 for dx, dy in ((1, 0), (0, 1)))
    return (across + 1j * down) / (np.hypot(across, down) + _GRADIENT)


def _slope(image: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.hypot(cv2.Sobel(image, cv2.CV_32F, 1, 0), cv2.Sobel(image, cv2.CV_32F, 0, 1)) / 8


def _blur(image: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    return cv2.GaussianBlur(image, (0, 0), sigma)


def _sharpness(image: NDArray[np.float32]) -> float:
    fine = _blur(image, 0.7)
    energies = [float(np.square(band).mean()) + 0.02 for band in (image - fine, fine - _blur(image, 1.4))]
    return float(np.log(energies[0] / energies[1]))


def _blocking(image: NDArray[np.float32]) -> float:
    """Return how much larger steps are at every eighth row and column, whichever it is, than elsewhere."""
    found = []
    for lines in (image, image.T):
        steps = np.abs(np.diff(lines, axis=1))
        excess = np.minimum(steps[:, 1:-1] - (steps[:, :-2] + steps[:, 2:]) / 2, 20)
        phases = np.array([excess[:, phase::8].mean() for phase in range(8)])
        found.append((phases.max() - np.median(phases)) / (np.median(steps) + 0.3 * steps.mean() + 0.3))
    return float(np.mean(found))


def _shape(difference: NDArray[np.float32]) -> tuple[float, float, float]:
    """Return the highest and the lowest correlation of the difference with itself 4 pixels on, and its skewness."""
    fine = difference - _blur(difference, 4)
    height, width = fine.shape
    energy = float(np.square(fine).mean())
    found = []
    for down, across in _STEPS:
        ahead = fine[down:, max(across, 0) : width + min(across, 0)]
        behind = fine[: height - down, max(-across, 0) : width + min(-across, 0)]
        found.append(float((ahead * behind).mean()) / (energy + 1e-3))
    return max(found), min(found), float((fine * fine * fine).mean()) / (energy**1.5 + 1e-6)


def _correlate(one: NDArray[np.float32], two: NDArray[np.float32]) -> float:
    one, two = one - one.mean(), two - two.mean()
    return float((one * two).sum() / np.sqrt((one * one).sum() * (two * two).sum() + 1e-6))
