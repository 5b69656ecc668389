"""What the camera adds: noise of the light itself and of the sensor, and blur of what is out of focus."""

import cv2
import numpy as np
from numpy.typing import NDArray


def add_sensor_noise(
    scene: NDArray[np.float32], noise: float, rng: np.random.Generator, *, shot: float = 0.5
) -> NDArray[np.float32]:
    """Add noise whose variance grows with brightness, as photons arrive one by one (Foi et al., TIP 2008).

    Args:
        scene: Picture, (H, W, C), as a share of white.
        noise: Standard deviation in white, at least 0.
        rng: Source of the noise.
        shot: Share of the variance in white that belongs to the light and fades in the dark; the rest is everywhere.

    Returns:
        The noisy picture, not clipped.
    """
    if noise == 0:
        return scene
    deviation = np.float32(noise) * np.sqrt(np.float32(1 - shot) + np.float32(shot) * np.clip(scene, 0, 1))
    return scene + deviation * rng.standard_normal(scene.shape, dtype=np.float32)


def blur(picture: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Blur by a Gaussian, standard deviation in pixels; 0 leaves the picture as it is. The shape is kept."""
    if sigma <= 0:
        return picture
    radius = int(np.ceil(3 * sigma))
    kernel = np.exp(-0.5 * np.square(np.arange(-radius, radius + 1, dtype=np.float32) / np.float32(sigma)))
    kernel /= kernel.sum()
    # Not GaussianBlur: its thread pool does not survive a fork into data-loader workers.
    return cv2.sepFilter2D(picture, cv2.CV_32F, kernel, kernel, borderType=cv2.BORDER_REPLICATE).reshape(picture.shape)
