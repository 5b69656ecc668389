"""From a clean photograph and a preset to a rainy one."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from msgnn_plugin.data.synthesis.camera import add_sensor_noise
from msgnn_plugin.data.synthesis.drops import add_drops
from msgnn_plugin.data.synthesis.haze import add_haze, transmission
from msgnn_plugin.data.synthesis.night import darken, light_night
from msgnn_plugin.data.synthesis.picture import add_rain, as_form_of, as_rgb, check_picture
from msgnn_plugin.data.synthesis.presets import Preset, draw_evenly, find_preset
from msgnn_plugin.data.synthesis.streaks import draw_streaks


@dataclass(frozen=True)
class MadeRain:
    """A rainy picture and what belongs to it, all in the form of the photograph it was made on.

    Attributes:
        rainy: The picture in the rain.
        clean: The same scene without rain: the photograph itself, or what is seen of it by night.
        rain: The layer R of rainy = clip(clean + R); None where rain is more than a layer (haze, drops, night).
    """

    rainy: NDArray
    clean: NDArray
    rain: NDArray | None


def synthesize(clean: NDArray, preset: str | Preset, rng: np.random.Generator) -> MadeRain:
    """Make one rainy picture.

    Light meets them in this order: the scene under its light, the veil of far drops, near drops' streaks, drops on the
    lens, the sensor.

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
    while preset.among:
        preset = preset.among[rng.integers(len(preset.among))]
    if preset.additive:
        layer = _draw_layer(clean.shape[:2], preset, rng)
        rainy, rain = add_rain(clean, layer, hiding=preset.hiding, noise=draw_evenly(preset.noise, rng), rng=rng)
        return MadeRain(rainy, clean, rain)
    rainy, scene = _make_scene(as_rgb(clean), preset, rng)
    return MadeRain(as_form_of(clean, rainy), clean if preset.night is None else as_form_of(clean, scene), None)


def _draw_layer(size: tuple[int, int], preset: Preset, rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw all streaks of a picture, (H, W)."""
    angle, fan = draw_evenly(preset.angle, rng), draw_evenly(preset.fan, rng)
    layer = np.zeros(size, np.float32)
    for ranges in preset.streaks:
        for streaks in ranges.draw(angle, fan, rng):
            layer += draw_streaks(size, streaks, rng)
    return layer


def _make_scene(
    clean: NDArray[np.float32], preset: Preset, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the rainy picture and the scene without rain, both (H, W, 3), as a share of white."""
    size = clean.shape[:2]
    scene, light = clean, None
    if preset.night is not None:
        light = light_night(size, preset.night.draw(rng), rng)
        scene = darken(clean, light)
    rainy = scene
    if preset.haze is not None:
        haze = preset.haze.draw(rng)
        rainy = add_haze(rainy, transmission(size, haze, rng), haze.airlight)
    if light is not None and preset.streaks:
        rainy = rainy + light.glow
    if preset.streaks:
        # By night a streak is as bright as the light it stands in.
        brightness = _draw_layer(size, preset, rng)[..., None] * (1 if light is None else light.light)
        rainy = rainy + brightness * (1 - np.float32(preset.hiding) * np.clip(rainy, 0, 1))
    if preset.drops is not None:
        rainy = add_drops(np.clip(rainy, 0, 1), preset.drops.draw(rng), rng)
    return add_sensor_noise(rainy, draw_evenly(preset.noise, rng), rng), scene
