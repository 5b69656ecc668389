"""Kinds of rain by the names of the data sets they resemble: ranges that each picture draws its settings from."""

import difflib
from dataclasses import dataclass, replace

import numpy as np

from msgnn_plugin.data.synthesis.drops import LensDrops
from msgnn_plugin.data.synthesis.haze import Haze
from msgnn_plugin.data.synthesis.night import Night
from msgnn_plugin.data.synthesis.streaks import MAX_ANGLE, Streaks

Range = tuple[float, float]


def draw_evenly(span: Range, rng: np.random.Generator) -> float:
    """Draw from a range, every value equally likely."""
    return float(rng.uniform(*span))


def draw_size(span: Range, rng: np.random.Generator) -> float:
    """Draw a size from a positive range, every ratio equally likely."""
    return float(np.exp(rng.uniform(*np.log(span))))


@dataclass(frozen=True)
class StreakRanges:
    """Ranges of one kind of streak layer, see `Streaks`; ``ceiling`` counts in brightnesses.

    Attributes:
        layers: Fewest and most layers of this kind in a picture, each with settings of its own.
        distances: In how many distances a layer lies, each twice as far as the one before, with streaks half as long
            and half as wide, and as many to a pixel.
    """

    density: Range
    length: Range
    width: Range
    spread: Range
    brightness: Range
    evenness: Range
    taper: Range
    ripple: Range = (0.0, 0.4)
    ceiling: float = 5.0
    layers: tuple[int, int] = (1, 1)
    distances: int = 1

    def draw(self, angle: float, fan: float, rng: np.random.Generator) -> list[Streaks]:
        """Draw the layers of one picture.

        Args:
            angle: The wind's direction, degrees.
            fan: Standard deviation of the layers' directions about it, degrees.
            rng: Source of every draw.
        """
        drawn = []
        for _ in range(rng.integers(self.layers[0], self.layers[1] + 1)):
            brightness = draw_size(self.brightness, rng)
            near = Streaks(
                density=draw_size(self.density, rng),
                length=draw_size(self.length, rng),
                width=draw_size(self.width, rng),
                angle=float(np.clip(angle + fan * rng.standard_normal(), -MAX_ANGLE, MAX_ANGLE)),
                spread=draw_evenly(self.spread, rng),
                brightness=brightness,
                evenness=draw_size(self.evenness, rng),
                taper=draw_evenly(self.taper, rng),
                ripple=draw_evenly(self.ripple, rng),
                ceiling=self.ceiling * brightness,
            )
            drawn += [
                replace(near, length=near.length / 2**step, width=near.width / 2**step)
                for step in range(self.distances)
            ]
        return drawn


@dataclass(frozen=True)
class HazeRanges:
    """Ranges of the veil, see `Haze`."""

    thickness: Range
    airlight: Range

    def draw(self, rng: np.random.Generator) -> Haze:
        """Draw the veil of one picture."""
        return Haze(draw_evenly(self.thickness, rng), draw_evenly(self.airlight, rng))


@dataclass(frozen=True)
class DropRanges:
    """Ranges of drops on the lens, see `LensDrops`."""

    cover: Range
    radius: Range
    view: Range
    defocus: Range
    rim: Range

    def draw(self, rng: np.random.Generator) -> LensDrops:
        """Draw the drops of one picture; their radii are drawn one by one later."""
        return LensDrops(
            cover=draw_evenly(self.cover, rng),
            radius=self.radius,
            view=draw_evenly(self.view, rng),
            defocus=draw_evenly(self.defocus, rng),
            rim=draw_evenly(self.rim, rng),
        )


@dataclass(frozen=True)
class NightRanges:
    """Ranges of the night's light, see `Night`."""

    ambient: Range
    lamps: tuple[int, int]
    power: Range
    reach: Range
    glow: Range

    def draw(self, rng: np.random.Generator) -> Night:
        """Draw the light of one picture."""
        return Night(
            ambient=draw_evenly(self.ambient, rng),
            lamps=int(rng.integers(self.lamps[0], self.lamps[1] + 1)),
            power=draw_evenly(self.power, rng),
            reach=draw_evenly(self.reach, rng),
            glow=draw_evenly(self.glow, rng),
        )


@dataclass(frozen=True)
class Preset:
    """A kind of rain; every picture draws its own from the ranges.

    Attributes:
        what: One line for lists.
        streaks: Kinds of streak layers.
        angle: Range of the wind's direction, degrees from the vertical.
        fan: Range of the layers' spread about it, degrees.
        hiding: How far streaks hide what is behind them, in [0, 1], see `add_rain`.
        haze: The veil, if there is one.
        drops: Drops on the lens, if there are any.
        night: The night's light; None is day.
        noise: Range of the camera's noise, as a share of white.
        per_picture: Rainy pictures of a clean one in the data set of that name.
        among: Presets of which each picture takes one, all equally likely; the other settings do not count then.
    """

    what: str
    streaks: tuple[StreakRanges, ...] = ()
    angle: Range = (0.0, 0.0)
    fan: Range = (0.0, 0.0)
    hiding: float = 0.0
    haze: HazeRanges | None = None
    drops: DropRanges | None = None
    night: NightRanges | None = None
    noise: Range = (0.0, 0.0)
    per_picture: int = 1
    among: tuple["Preset", ...] = ()

    @property
    def additive(self) -> bool:
        """Whether there are streaks alone, so that rainy is clean plus a known layer of rain.

        Such rain is also alike everywhere: made on a crop it is as good as a crop of a rainy picture.
        """
        parts = (self.haze, self.drops, self.night)
        return all(part is None for part in parts) and all(preset.additive for preset in self.among)


# Fitted to the real pairs at hand: see docs/synthesis.md for the statistics side by side.
_RAIN200L = Preset(
    what="one kind of sparse streaks in one direction (Rain200L, Rain100L)",
    streaks=(
        StreakRanges(
            density=(0.14, 0.5),
            length=(32, 85),
            width=(1.4, 2.4),
            spread=(1.0, 3.0),
            brightness=(0.06, 0.22),
            evenness=(1.0, 2.2),
            taper=(0.5, 1.0),
            ripple=(0.0, 0.6),
        ),
    ),
    angle=(-32, 32),
)
_RAIN200H = Preset(
    what="dense streaks in several directions, partly even from end to end (Rain200H, Rain100H)",
    streaks=(
        StreakRanges(
            layers=(1, 2),
            density=(0.2, 0.8),
            length=(30, 90),
            width=(1.5, 2.6),
            spread=(0.5, 4.0),
            brightness=(0.07, 0.18),
            evenness=(1.5, 4.0),
            taper=(0.3, 1.0),
        ),
        StreakRanges(
            layers=(1, 2),
            density=(0.3, 0.8),
            length=(25, 90),
            width=(1.4, 2.6),
            spread=(0.2, 3.0),
            brightness=(0.15, 0.33),
            evenness=(8, 20),
            taper=(0.05, 0.3),
            ceiling=1.2,
        ),
    ),
    angle=(-9, 9),
    fan=(0, 16),
)
# Streaks of a picture editor: noise blurred along one direction and laid over the photograph by "screen".
_EDITOR_STREAKS = StreakRanges(
    density=(0.5, 1.0),
    length=(12, 40),
    width=(1.4, 2.4),
    spread=(0.5, 2.0),
    brightness=(0.1, 0.18),
    evenness=(1.5, 4.0),
    taper=(0.5, 1.0),
)


def _rain1200(strength: str, density: Range, brightness: Range) -> Preset:
    return Preset(
        what=f"{strength} rain of fine streaks laid over the picture (Rain1200, Rain_{strength.capitalize()})",
        streaks=(replace(_EDITOR_STREAKS, density=density, brightness=brightness, distances=2),),
        angle=(-45, 45),
        hiding=1.0,
    )


_RAIN1200 = (
    _rain1200("light", (0.15, 0.3), (0.11, 0.18)),
    _rain1200("medium", (0.3, 0.5), (0.13, 0.2)),
    _rain1200("heavy", (0.45, 0.7), (0.15, 0.22)),
)
_DAY_STREAKS = StreakRanges(
    density=(0.08, 0.3),
    length=(30, 90),
    width=(1.5, 3.5),
    spread=(0.5, 2.5),
    brightness=(0.08, 0.25),
    evenness=(1.0, 3.0),
    taper=(0.5, 1.0),
    ripple=(0.0, 0.7),
    distances=3,
)
_DROPS = DropRanges(cover=(0.06, 0.25), radius=(0.012, 0.08), view=(3, 7), defocus=(0.002, 0.008), rim=(0.2, 0.5))
_NIGHT = NightRanges(ambient=(0.08, 0.25), lamps=(2, 5), power=(0.5, 1.0), reach=(0.15, 0.4), glow=(0.2, 0.5))
PRESETS = {
    "rain200h": _RAIN200H,
    "rain200l": _RAIN200L,
    # Rain100 is Rain200 before its backgrounds were sorted out: the same two processes.
    "rain100h": _RAIN200H,
    "rain100l": _RAIN200L,
    "rain1200": Preset(what="light, medium or heavy rain, one after the other by chance (Rain1200)", among=_RAIN1200),
    "rain1200_light": _RAIN1200[0],
    "rain1200_medium": _RAIN1200[1],
    "rain1200_heavy": _RAIN1200[2],
    "rain1400": Preset(
        what="streaks of any direction laid over the picture, 14 rains a photograph (Rain1400)",
        streaks=(replace(_EDITOR_STREAKS, density=(0.3, 1.0), brightness=(0.08, 0.2)),),
        angle=(-50, 50),
        hiding=1.0,
        per_picture=14,
    ),
    "drs": Preset(
        what="rain by day: streaks in three distances, a thin veil behind them, camera noise",
        streaks=(_DAY_STREAKS,),
        angle=(-25, 25),
        fan=(0, 3),
        hiding=1.0,
        haze=HazeRanges(thickness=(0.0, 0.25), airlight=(0.65, 0.9)),
        noise=(0.0, 0.015),
    ),
    "drd": Preset(what="drops on the lens by day, camera noise", drops=_DROPS, noise=(0.0, 0.015)),
    "nrs": Preset(
        what="rain by night: streaks that lamps light up, halos in the wet air, much camera noise",
        streaks=(replace(_DAY_STREAKS, density=(0.06, 0.2), brightness=(0.12, 0.35)),),
        angle=(-25, 25),
        fan=(0, 3),
        haze=HazeRanges(thickness=(0.1, 0.4), airlight=(0.02, 0.08)),
        night=_NIGHT,
        noise=(0.01, 0.03),
    ),
    "nrd": Preset(what="drops on the lens by night, much camera noise", drops=_DROPS, night=_NIGHT, noise=(0.01, 0.03)),
}


def find_preset(name: str) -> Preset:
    """Return a preset by its name.

    Args:
        name: One of ``PRESETS``.

    Raises:
        ValueError: If there is none of that name.
    """
    if name not in PRESETS:
        near = difflib.get_close_matches(str(name), PRESETS, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ValueError(f"rain synthesis: `preset` must be one of {', '.join(PRESETS)}, got {name!r}.{hint}")
    return PRESETS[name]
