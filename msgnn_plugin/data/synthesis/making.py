"""From a clean photograph and a preset to a rainy one."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from msgnn_plugin.data.synthesis.picture import add_rain, check_picture
from msgnn_plugin.data.synthesis.presets import Preset, draw_evenly, find_preset
from msgnn_plugin.data.synthesis.streaks import draw_streaks


@dataclass(frozen=True)
class MadeRain:
    """A rainy picture and what belongs to it, all in the form of the photograph it was made on.

    Attributes:
        rainy: The picture in the rain.
        clean: The same scene without rain.
        rain: The layer R of rainy = clip(clean + R).
    """

    rainy: NDArray
    clean: NDArray
    rain: NDArray


def synthesize(clean: NDArray, preset: str | Preset, rng: np.random.Generator) -> MadeRain:
    """Make one rainy picture.

    Args:
        clean: Photograph (H, W) or (H, W, 3), uint8, or float in [0, 1]; any size from 1 x 1 up.
        preset: Name of a preset, or one of your own.
        rng: Source of every draw, the settings' included; the same state makes the same picture.

    Returns:
        The rainy picture, its clean one and its rain.

    Raises:
        TypeError: If ``clean`` is neither uint8 nor float.
        ValueError: If ``clean`` is no picture or the preset's name is unknown.
    """
    check_picture("synthesize", clean)
    preset = find_preset(preset) if isinstance(preset, str) else preset
    angle, fan = draw_evenly(preset.angle, rng), draw_evenly(preset.fan, rng)
    layer = np.zeros(clean.shape[:2], np.float32)
    for ranges in preset.streaks:
        for streaks in ranges.draw(angle, fan, rng):
            layer += draw_streaks(layer.shape, streaks, rng)
    rainy, rain = add_rain(clean, layer, hiding=preset.hiding, noise=draw_evenly(preset.noise, rng), rng=rng)
    return MadeRain(rainy, clean, rain)
