"""What the rain of a picture looks like, in numbers that one scene under two different rains does not share.

Rain is thin bright lines, nearly colourless and everywhere. So all measures here count bright ridges: places where the
second derivative is negative across and small along, each at the scale that answers most (Lindeberg, "Edge detection
and ridge detection with automatic scale selection", IJCV 1998). What is made of them is ours.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

# To be raised with every change of what describe_rain gives: descriptions are kept between runs.
VERSION = 1
# Full widths at half maximum, in pixels, of the lines looked for, half an octave apart.
WIDTHS = (1.4, 2.0, 2.8, 4.0, 5.7, 8.0, 11.3)
ORIENTATIONS = 36
_FWHM_OF_SIGMA = 2.3548
_SIGMAS = tuple(width / _FWHM_OF_SIGMA for width in WIDTHS)
_KINDS = len(WIDTHS) * ORIENTATIONS  # at most 256: a kind is kept in one byte

_FIRST = np.array([-0.5, 0, 0.5], np.float32)
_SECOND = np.array([1, -2, 1], np.float32)
_AS_IT_IS = np.array([1], np.float32)

# A picture is described by its middle of at most this side, in cells of about this side.
_MOST_SIDE = 512
_CELL_SIDE = 64
# Scene lines are strong in a few cells, rain is in nearly all of them: so the weaker cells tell of rain.
_CELL_QUANTILE = 0.2
_CONTRAST_WEIGHT = 0.2


def orientation_histogram(layer: NDArray) -> NDArray[np.float32]:
    """Tell how the energy of bright lines is spread over directions.

    Args:
        layer: Rain layer or grey picture, shape (H, W) from 1x1 up, of any real type and scale.

    Returns:
        Shape (36,), sum 1. Entry i is for lines 5 i degrees from the vertical, 180 degrees periodic; positive leans as
        `angle` of ``add_streaks`` does. Uniform where there is no line.

    Raises:
        ValueError: If the layer is empty, of another shape, or holds values that are not finite.
    """
    return _normalise(_line_energy(_check_layer("orientation_histogram", layer)).sum(axis=(0, 1)))


def width_histogram(layer: NDArray) -> NDArray[np.float32]:
    """Tell how the energy of bright lines is spread over their widths.

    Args:
        layer: Rain layer or grey picture, shape (H, W) from 1x1 up, of any real type and scale.

    Returns:
        Shape (7,), sum 1, for lines as wide as ``WIDTHS`` says. Uniform where there is no line.

    Raises:
        ValueError: If the layer is empty, of another shape, or holds values that are not finite.
    """
    return _normalise(_line_energy(_check_layer("width_histogram", layer)).sum(axis=(0, 2)))


def describe_rain(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Describe the rain of a picture: directions, widths and contrast of its streaks, hardly the scene.

    Euclidean distance compares two of them. Energies are taken of the darkest channel (rain lifts all three alike, so
    coloured detail drops out) and, for every direction and width, of the weaker cells of a grid over the picture. Of
    larger pictures the middle 512x512 is described, unscaled: widths are in pixels, as the networks see them.

    Args:
        image: RGB, shape (H, W, 3), uint8, from 1x1 up.

    Returns:
        Shape (44,): square roots of the orientation histogram (36) and of the width histogram (7), then the logarithm
        of the lines' contrast.

    Raises:
        ValueError: If shape or dtype is another.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0 or image.dtype != np.uint8:
        raise ValueError(
            f"describe_rain: `image` must be uint8 of shape (H, W, 3), got {image.dtype} of shape {image.shape}."
        )
    top, left = (max(side - _MOST_SIDE, 0) // 2 for side in image.shape[:2])
    middle = image[top : top + _MOST_SIDE, left : left + _MOST_SIDE]
    darkest = np.minimum(np.minimum(middle[..., 0], middle[..., 1]), middle[..., 2])
    cells = _line_energy(darkest.astype(np.float32), _CELL_SIDE)
    directions, widths = (np.quantile(cells.sum(axis), _CELL_QUANTILE, axis=0) for axis in (1, 2))
    contrast = np.log1p(widths.sum()) * _CONTRAST_WEIGHT
    return np.concatenate([np.sqrt(_normalise(directions)), np.sqrt(_normalise(widths)), [contrast]], dtype=np.float32)


def _line_energy(layer: NDArray[np.float32], cell_side: int | None = None) -> NDArray[np.float64]:
    """Return the mean energy of bright lines, shape (cells, widths, orientations); one cell unless a side is given."""
    strongest = np.zeros(layer.shape, np.float32)
    kind = np.zeros(layer.shape, np.uint8)
    blurred, before = layer, 0.0
    for number, sigma in enumerate(_SIGMAS):
        # Each blur goes on from the one before.
        kernel = _gaussian(np.sqrt(sigma**2 - before**2))
        blurred, before = _filter(blurred, kernel, kernel), sigma
        xx = _filter(blurred, _SECOND, _AS_IT_IS)
        yy = _filter(blurred, _AS_IT_IS, _SECOND)
        xy = _filter(blurred, _FIRST, 2 * _FIRST)
        difference = xx - yy
        # Half the first is how far the two curvatures differ, the second that both sides are darker: a spot fails the
        # one, an edge's foot the other. The power makes a line answer most where sigma is its own.
        strength = np.minimum(np.sqrt(difference * difference + xy * xy), -(xx + yy)) * np.float32(sigma**1.5)
        # OpenCV gives twice the line's angle from the horizontal, clockwise in [0, 360).
        turned = cv2.phase(difference, xy, angleInDegrees=True)
        direction = (1.5 * ORIENTATIONS + 0.5 - turned * (ORIENTATIONS / 360)).astype(np.uint8)
        code = np.take((np.arange(2 * ORIENTATIONS) % ORIENTATIONS + number * ORIENTATIONS).astype(np.uint8), direction)
        cv2.copyTo(code, (strength > strongest).view(np.uint8), kind)
        np.maximum(strongest, strength, out=strongest)
    rows, columns = (_cells(side, cell_side) for side in layer.shape)
    cell = rows[:, None] * (columns[-1] + 1) + columns
    count = int(cell[-1, -1]) + 1
    energy = np.bincount((cell * _KINDS + kind).ravel(), np.square(strongest).ravel(), count * _KINDS)
    return energy.reshape(count, len(WIDTHS), ORIENTATIONS) / np.bincount(cell.ravel())[:, None, None]


def _cells(side: int, cell_side: int | None) -> NDArray[np.intp]:
    """Return to which cell each row or column belongs."""
    count = 1 if cell_side is None else max(round(side / cell_side), 1)
    return np.arange(side) * count // side


def _gaussian(sigma: float) -> NDArray[np.float32]:
    radius = int(np.ceil(3 * sigma))
    kernel = np.exp(-0.5 * np.square(np.arange(-radius, radius + 1) / sigma))
    return (kernel / kernel.sum()).astype(np.float32)


def _filter(image: NDArray[np.float32], across: NDArray, down: NDArray) -> NDArray[np.float32]:
    # Not GaussianBlur and the like: their thread pool does not survive a fork into data-loader workers.
    return cv2.sepFilter2D(image, cv2.CV_32F, across, down, borderType=cv2.BORDER_REFLECT)


def _normalise(histogram: NDArray[np.float64]) -> NDArray[np.float32]:
    total = histogram.sum()
    if not total > 0:
        return np.full(histogram.shape, 1 / histogram.size, np.float32)
    return (histogram / total).astype(np.float32)


def _check_layer(where: str, layer: NDArray) -> NDArray[np.float32]:
    if layer.ndim != 2 or layer.size == 0:
        raise ValueError(f"{where}: `layer` must have shape (H, W), got {layer.shape}.")
    layer = layer.astype(np.float32)
    if not np.isfinite(layer).all():
        raise ValueError(f"{where}: `layer` must hold finite numbers, got NaN or infinity.")
    return layer
