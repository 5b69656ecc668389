"""Kinds of rain by the names of the data sets they resemble: ranges that each picture draws its settings from."""

import difflib
from dataclasses import dataclass

import numpy as np

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
            drawn.append(
                Streaks(
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
            )
        return drawn


@dataclass(frozen=True)
class Preset:
    """A kind of rain; every picture draws its own from the ranges.

    Attributes:
        what: One line for lists.
        streaks: Kinds of streak layers.
        angle: Range of the wind's direction, degrees from the vertical.
        fan: Range of the layers' spread about it, degrees.
        hiding: How far streaks hide what is behind them, in [0, 1], see `add_rain`.
        noise: Range of the camera's noise, as a share of white.
        per_picture: Rainy pictures of a clean one in the data set of that name.
    """

    what: str
    streaks: tuple[StreakRanges, ...] = ()
    angle: Range = (0.0, 0.0)
    fan: Range = (0.0, 0.0)
    hiding: float = 0.0
    noise: Range = (0.0, 0.0)
    per_picture: int = 1

    @property
    def stationary(self) -> bool:
        """Whether rain is alike everywhere, so that rain made on a crop is as good as a crop of a rainy picture."""
        return True


# Fitted to the real pairs at hand: see docs/synthesis.md for the statistics side by side.
_RAIN200L = Preset(
    what="one kind of sparse streaks in one direction (Rain200L, Rain100L)",
    streaks=(
        StreakRanges(
            density=(0.14, 0.5),
            length=(32, 85),
            width=(1.5, 2.6),
            spread=(0.5, 2.0),
            brightness=(0.055, 0.21),
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
    angle=(-12, 12),
    fan=(0, 16),
)
PRESETS = {
    "rain200h": _RAIN200H,
    "rain200l": _RAIN200L,
    # Rain100 is Rain200 before its backgrounds were sorted out: the same two processes.
    "rain100h": _RAIN200H,
    "rain100l": _RAIN200L,
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
