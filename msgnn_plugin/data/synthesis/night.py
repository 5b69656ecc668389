"""The same scene by night: little light, most of it from lamps, which glow in the wet air and light up the rain."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

# Colours of street light as linear-looking RGB shares: sodium, warm and cold lamps.
_LAMP_COLOURS = np.array([(1.0, 0.72, 0.38), (1.0, 0.85, 0.62), (0.86, 0.93, 1.0)], np.float32)
# Colour of what the night sky gives.
_SKY_COLOUR = np.array((0.8, 0.9, 1.1), np.float32)
# Lamps hang in this share of the picture, from above.
_LAMP_REGION = 0.65


@dataclass(frozen=True)
class Night:
    """Light of the night.

    Attributes:
        ambient: What is left of the day's light, as a share, in [0, 1].
        lamps: Number of local lights, at least 0.
        power: Light of a lamp close to it, as a share of the day's, at least 0.
        reach: Distance in which a lamp's light falls to half, as a share of the picture's shorter side, above 0.
        glow: Brightness of the halo in the wet air around a lamp, as a share of white, at least 0.

    Raises:
        ValueError: If a setting is out of its range.
    """

    ambient: float = 0.2
    lamps: int = 3
    power: float = 0.8
    reach: float = 0.25
    glow: float = 0.4

    def __post_init__(self) -> None:
        if not 0 <= self.ambient <= 1:
            raise ValueError(f"Night: `ambient` must be between 0 and 1, got {self.ambient}.")
        for name in ("lamps", "power", "glow"):
            if getattr(self, name) < 0:
                raise ValueError(f"Night: `{name}` must be at least 0, got {getattr(self, name)}.")
        if self.reach <= 0:
            raise ValueError(f"Night: `reach` must be above 0, got {self.reach}.")


@dataclass(frozen=True)
class NightLight:
    """Where there is how much light, each (H, W, 3).

    Attributes:
        light: What falls on the scene and on the rain, as a share of the day's light.
        lamps: The lamps themselves.
        glow: Their halos in wet air.
    """

    light: NDArray[np.float32]
    lamps: NDArray[np.float32]
    glow: NDArray[np.float32]


def light_night(size: tuple[int, int], night: Night, rng: np.random.Generator) -> NightLight:
    """Place lamps and spread their light.

    Light falls off as 1 / (1 + (r / reach)^2): the inverse square far away, finite close to the lamp. Wet air scatters
    a lamp's light several times over, which makes a halo that falls off about exponentially (after Narasimhan and
    Nayar, "Shedding Light on the Weather", CVPR 2003, whose multiple scattering it simplifies). Places, sizes and
    colours are ours.

    Args:
        size: Height and width, pixels.
        night: The settings.
        rng: Source of every draw.
    """
    height, width = size
    short = min(size)
    rows, columns = np.arange(height, dtype=np.float32), np.arange(width, dtype=np.float32)
    # Whole planes, one a colour: several times as fast as pixels of three.
    light = np.empty((3, height, width), np.float32)
    light[:] = (night.ambient * _SKY_COLOUR)[:, None, None]
    lamps, glow = np.zeros_like(light), np.zeros_like(light)
    for _ in range(night.lamps):
        row, column = rng.uniform(0, _LAMP_REGION) * (height - 1), rng.uniform(0, 1) * (width - 1)
        colour = _LAMP_COLOURS[rng.integers(len(_LAMP_COLOURS))]
        strength = rng.uniform(0.5, 1.0)
        distance = np.sqrt(np.square(rows - np.float32(row))[:, None] + np.square(columns - np.float32(column)))
        reach, radius = night.reach * short, max(0.012 * short * strength, 0.7)
        fall = (night.power * strength) / (1 + np.square(distance / reach))
        # White in the middle, as it is too bright for the sensor.
        disc = np.clip(radius + 0.5 - distance, 0, 1)
        edge = 0.5 * np.exp(-distance / (1.5 * radius))
        halo = night.glow * strength * np.exp(-distance / (0.4 * reach))
        for plane, share in enumerate(colour):
            light[plane] += fall * share
            np.maximum(lamps[plane], disc * (0.5 + 0.5 * share) + edge * share, out=lamps[plane])
            glow[plane] += halo * share
    return NightLight(*(cv2.merge(planes) for planes in (light, lamps, glow)))


def darken(scene: NDArray[np.float32], night: NightLight) -> NDArray[np.float32]:
    """Return the scene by night: its day picture, (H, W, 3), under the night's light, with the lamps in it."""
    return np.clip(np.maximum(scene * night.light, night.lamps), 0, 1)
