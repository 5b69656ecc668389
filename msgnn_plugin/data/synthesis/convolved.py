"""Streaks that share a few directions and lengths, each kind of them one convolution: the demonstration's rain."""

import cv2
import numpy as np
from numpy.typing import NDArray

from msgnn_plugin.data.synthesis.picture import add_rain, check_picture

# How far a streak of the same name may be off: real drops differ in size, and each size falls at its own speed.
_LENGTH_RANGE = (0.6, 1.4)
_BRIGHTNESS_RANGE = (0.4, 1.0)
# Streaks of a layer share this many directions and lengths; one convolution each.
_KINDS = 5
_FWHM_OF_SIGMA = 2.3548
# Narrower profiles than this (in pixels, sigma) fall between the pixels; they are drawn this wide and fainter.
_MIN_SIGMA = 0.45


def add_streaks(
    clean: NDArray,
    *,
    density: float = 0.2,
    length: float = 24.0,
    width: float = 1.6,
    angle: float = 0.0,
    spread: float = 3.0,
    strength: float = 0.5,
    layers: int = 3,
    noise: float = 0.0,
    rng: np.random.Generator,
) -> tuple[NDArray, NDArray]:
    r"""Add rain streaks to a clean picture: O = clip(B + R), R known and never negative.

    A falling drop draws a line as long as its way during the exposure, and is brighter than what lies behind it, for
    it gathers light of nearly the whole sky (Garg and Nayar, "Vision and Rain", IJCV 2007). So R is noise (drops at
    random places) blurred along the direction of fall. Drops of layer i are 2**i times as far as those of the nearest:
    their streaks are as much shorter and narrower, and once narrower than a pixel fainter. The form is ours.

    Args:
        clean: Picture (H, W) or (H, W, 3), uint8, or float in [0, 1].
        density: Streaks that cover a pixel on average, all layers together; each layer has the same share.
        length: Length of a near streak, pixels.
        width: Full width at half maximum of a near streak, pixels.
        angle: Direction of fall in degrees from the vertical; positive falls towards the right.
        spread: Standard deviation of the directions, degrees.
        strength: Brightness of the strongest streak, as a share of white.
        layers: Number of depth layers.
        noise: Standard deviation of the camera's noise, as a share of white; added to O, not to R.
        rng: Source of every draw; the same state gives the same rain.

    Returns:
        The rainy picture and the rain layer, both in the form of ``clean``.

    Raises:
        TypeError: If ``clean`` is neither uint8 nor float.
        ValueError: If a size or a setting is out of its range.
    """
    check_picture("add_streaks", clean)
    _check(density, length, width, layers)
    rain = np.zeros(clean.shape[:2], np.float32)
    for layer in range(layers):
        scale = 0.5**layer
        rain += _streak_layer(rain.shape, density / layers, length * scale, width * scale, angle, spread, rng)
    return add_rain(clean, rain * strength, noise=noise, rng=rng)


def _streak_layer(
    size: tuple[int, int],
    density: float,
    length: float,
    width: float,
    angle: float,
    spread: float,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Return one depth's streaks, shape ``size``, brightness up to about 1 where none overlap."""
    layer = np.zeros(size, np.float32)
    for _ in range(_KINDS):
        kernel = _streak_kernel(length * rng.uniform(*_LENGTH_RANGE), width, angle + spread * rng.standard_normal())
        margin = kernel.shape[0] // 2
        canvas = (size[0] + 2 * margin, size[1] + 2 * margin)  # Streaks whose middle lies outside reach in.
        count = rng.poisson(canvas[0] * canvas[1] * density / _KINDS / max(length * width, 1.0))
        drops = np.zeros(canvas, np.float32)
        places = rng.integers(0, canvas, (count, 2))
        np.add.at(drops, (places[:, 0], places[:, 1]), rng.uniform(*_BRIGHTNESS_RANGE, count))
        streaks = cv2.filter2D(drops, cv2.CV_32F, cv2.flip(kernel, -1), borderType=cv2.BORDER_CONSTANT)
        layer += streaks[margin : margin + size[0], margin : margin + size[1]]
    return np.maximum(layer, 0)  # Long kernels are applied by Fourier transform, whose rounding goes below zero.


def _streak_kernel(length: float, width: float, angle: float) -> NDArray[np.float32]:
    """Draw one streak: even along its length, Gaussian across, peak 1 unless narrower than a pixel."""
    sigma = max(width / _FWHM_OF_SIGMA, _MIN_SIGMA)
    radius = int(np.ceil(length / 2 + 3 * sigma))
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1].astype(np.float32)
    sine, cosine = np.sin(np.radians(angle)), np.cos(np.radians(angle))
    along, across = x * sine + y * cosine, x * cosine - y * sine
    profile = np.exp(-0.5 * np.square(across / sigma)) * np.clip(length / 2 + 0.5 - np.abs(along), 0, 1)
    return (profile * min(width / _FWHM_OF_SIGMA / sigma, 1.0)).astype(np.float32)


def _check(density: float, length: float, width: float, layers: int) -> None:
    for name, value, positive in (("density", density, False), ("length", length, True), ("width", width, True)):
        if value < 0 or (positive and value == 0):
            rule = "positive" if positive else "at least 0"
            raise ValueError(f"add_streaks: `{name}` must be {rule}, got {value}.")
    if layers < 1:
        raise ValueError(f"add_streaks: `layers` must be at least 1, got {layers}.")
