"""The veil of drops too far and too small to be seen one by one."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Haze:
    """Veiling haze.

    Attributes:
        thickness: Optical depth at the far end, at least 0; 0.7 lets half of the light through.
        airlight: Brightness of the veil, as a share of white, in [0, 1].
        unevenness: How far thickness swells and thins from place to place, in [0, 1].

    Raises:
        ValueError: If a setting is out of its range.
    """

    thickness: float
    airlight: float = 0.8
    unevenness: float = 0.3

    def __post_init__(self) -> None:
        if self.thickness < 0:
            raise ValueError(f"Haze: `thickness` must be at least 0, got {self.thickness}.")
        for name in ("airlight", "unevenness"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"Haze: `{name}` must be between 0 and 1, got {getattr(self, name)}.")


def transmission(size: tuple[int, int], haze: Haze, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return how much of the scene's light comes through, t = exp(-thickness x depth).

    A photograph tells no depths. Most scenes recede upwards, so depth rises from a third at the lower edge to 1 at the
    upper one; slow random swells stand for what stands nearer or farther. This form is ours.

    Args:
        size: Height and width, pixels.
        haze: Its settings.
        rng: Source of the swells.

    Returns:
        Shares in (0, 1], shape ``size``.
    """
    ramp = np.linspace(1, 1 / 3, size[0], dtype=np.float32)[:, None]
    swell = smooth_noise(size, 3, rng)
    depth = ramp * (1 + np.float32(haze.unevenness) * swell)
    return np.exp(-np.float32(haze.thickness) * np.clip(depth, 0, None))


def add_haze(scene: NDArray[np.float32], share: NDArray[np.float32], airlight: float) -> NDArray[np.float32]:
    """Veil a scene: t B + (1 - t) A (Koschmieder 1924; Narasimhan and Nayar, "Vision and the Atmosphere", IJCV 2002).

    Args:
        scene: Picture B, (H, W, C), in [0, 1].
        share: Transmission t, (H, W).
        airlight: Brightness A of the veil.
    """
    share = share[..., None]
    return scene * share + (1 - share) * np.float32(airlight)


def smooth_noise(size: tuple[int, int], waves: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return values in [-1, 1], shape ``size``: a cosine series of ``waves`` x ``waves`` terms, the slowest first."""
    coefficients = rng.uniform(-1, 1, (waves, waves)).astype(np.float32)
    down, across = (
        np.cos(np.pi * np.arange(waves) * (np.arange(side)[:, None] + 0.5) / side).astype(np.float32) for side in size
    )
    return down @ (coefficients / np.abs(coefficients).sum()) @ across.T
