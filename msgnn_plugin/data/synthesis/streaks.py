"""Rain streaks drawn one by one: what a falling drop leaves on the sensor during the exposure."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Spread of the logarithm of length and width: drops of one shower differ in size, each size falls at its own speed.
_LENGTH_SPREAD, _WIDTH_SPREAD = 0.35, 0.2
# Beyond this many spreads nothing is drawn, so that the longest streak is known.
_MOST_SPREADS = 2.0
# Beyond this the rows a streak crosses become too few to draw it row by row.
MAX_ANGLE = 75.0
# Narrower profiles (in pixels, half of the foot) fall between the pixels; they are drawn this wide and fainter.
_MIN_RADIUS = 1.0
# Half of the foot of the profile (1 - d^2)^2 by its full width at half maximum.
_RADIUS_OF_WIDTH = 0.924


@dataclass(frozen=True)
class Streaks:
    """Streaks of one direction and one distance.

    Attributes:
        density: Streaks that cover a pixel on average, at least 0.
        length: Median length, pixels, above 0.
        width: Median full width at half maximum, pixels, above 0.
        angle: Direction of fall in degrees from the vertical, positive towards the right, at most 75 either way.
        spread: Standard deviation of the directions, degrees.
        brightness: Mean brightness of the streaks' middles, as a share of white.
        evenness: Shape of the gamma distribution that brightness is drawn from: 1 many faint and few bright ones,
            large all alike; above 0.
        taper: Share of a streak in which it rises and falls, in [0, 1]; 0 is even from end to end.
        ripple: Depth of the waves in brightness along a streak, in [0, 1], from the drop's oscillation.
        ceiling: Brightness that overlapping streaks do not pass, as a share of white.

    Raises:
        ValueError: If a setting is out of its range.
    """

    density: float
    length: float
    width: float
    angle: float = 0.0
    spread: float = 1.0
    brightness: float = 0.2
    evenness: float = 1.0
    taper: float = 1.0
    ripple: float = 0.0
    ceiling: float = 1.0

    def __post_init__(self) -> None:
        rules = (
            (("density", "spread", "brightness"), lambda value: value >= 0, "at least 0"),
            (("length", "width", "evenness", "ceiling"), lambda value: value > 0, "above 0"),
            (("taper", "ripple"), lambda value: 0 <= value <= 1, "between 0 and 1"),
            (("angle",), lambda value: abs(value) <= MAX_ANGLE, f"between -{MAX_ANGLE:g} and {MAX_ANGLE:g}"),
        )
        for names, holds, rule in rules:
            for name in names:
                if not holds(getattr(self, name)):
                    raise ValueError(f"Streaks: `{name}` must be {rule}, got {getattr(self, name)}.")


def draw_streaks(size: tuple[int, int], streaks: Streaks, rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw one layer of streaks.

    A drop falls several times its own size while the shutter is open, so it leaves a line as long as its way and about
    as wide as itself, brighter than the scene because it bends light of nearly the whole sky into the lens (Garg and
    Nayar, "Vision and Rain", IJCV 2007). A drop swings while it falls, which makes brightness along the line uneven
    (Garg and Nayar, "Photorealistic Rendering of Rain Streaks", SIGGRAPH 2006); one cosine stands for it here. Where
    streaks overlap they add up to ``ceiling``: no drop is brighter than the sky it shows. The distributions are ours.

    Streaks whose middle lies outside reach in, so a crop of a large layer looks like a layer drawn at the crop's size.

    Args:
        size: Height and width, pixels.
        streaks: What to draw.
        rng: Source of every draw.

    Returns:
        Brightness to add, shape ``size``, as a share of white, at least 0.
    """
    height, width = size
    radius = max(_RADIUS_OF_WIDTH * streaks.width * np.exp(_MOST_SPREADS * _WIDTH_SPREAD), _MIN_RADIUS)
    longest = streaks.length * np.exp(_MOST_SPREADS * _LENGTH_SPREAD)
    steepest = np.radians(min(abs(streaks.angle) + 3 * streaks.spread, MAX_ANGLE))
    margin_y, margin_x = longest / 2 + 1, longest / 2 * np.sin(steepest) + radius / np.cos(steepest) + 1
    area = (height + 2 * margin_y) * (width + 2 * margin_x)
    count = rng.poisson(streaks.density * area / (streaks.length * streaks.width))

    middle_y = rng.uniform(-margin_y, height - 1 + margin_y, count)
    middle_x = rng.uniform(-margin_x, width - 1 + margin_x, count)
    lengths = streaks.length * _spread_out(count, _LENGTH_SPREAD, rng)
    radii = _RADIUS_OF_WIDTH * streaks.width * _spread_out(count, _WIDTH_SPREAD, rng)
    bend = np.clip(streaks.spread * rng.standard_normal(count), -3 * streaks.spread, 3 * streaks.spread)
    angles = np.radians(np.clip(streaks.angle + bend, -MAX_ANGLE, MAX_ANGLE))
    peaks = rng.gamma(streaks.evenness, streaks.brightness / streaks.evenness, count)
    frequency, phase = rng.uniform(0.5, 2.5, count), rng.uniform(0, 2 * np.pi, count)
    # Those that reach far come first, so that ever fewer are left as the profile is stamped column by column.
    order = np.argsort(-radii / np.cos(angles))
    middle_y, middle_x, lengths, radii, angles, peaks, frequency, phase = (
        values[order].astype(np.float32)
        for values in (middle_y, middle_x, lengths, radii, angles, peaks, frequency, phase)
    )
    # As bright in all as the narrow profile they stand for.
    peaks *= np.minimum(radii / _MIN_RADIUS, 1)
    # Distances are measured along the row; a slanted streak is wider there.
    reach = np.maximum(radii, _MIN_RADIUS) / np.cos(angles)

    # One entry for each row that a streak crosses: whose it is, and which row.
    half_rows = np.maximum(lengths * np.cos(angles) / 2, 0.5)
    first = np.clip(np.ceil(middle_y - half_rows), 0, height).astype(np.int64)
    last = np.clip(np.floor(middle_y + half_rows), -1, height - 1).astype(np.int64)
    rows_of = np.maximum(last - first + 1, 0)
    owner = np.repeat(np.arange(count), rows_of)
    row = np.arange(owner.size) + np.repeat(first - np.cumsum(rows_of) + rows_of, rows_of)
    below = row.astype(np.float32) - middle_y[owner]
    place = below / half_rows[owner]
    light = peaks[owner]
    if streaks.taper > 0:
        light *= _along(place, streaks.taper)
    if streaks.ripple > 0:
        light *= 1 + np.float32(streaks.ripple) * np.cos(np.float32(np.pi) * frequency[owner] * place + phase[owner])
    centre = middle_x[owner] + below * np.tan(angles)[owner]
    layer = _stamp((height, width), row, centre, reach[owner], light)
    return np.minimum(layer, np.float32(streaks.ceiling), out=layer)


def _spread_out(count: int, spread: float, rng: np.random.Generator) -> NDArray[np.float64]:
    return np.exp(spread * np.clip(rng.standard_normal(count), -_MOST_SPREADS, _MOST_SPREADS))


def _along(place: NDArray[np.float32], taper: float) -> NDArray[np.float32]:
    """Brightness along a streak, ``place`` in [-1, 1]: even in the middle, falling smoothly over the tapered ends."""
    inner = np.clip((1 - np.abs(place)) / np.float32(taper), 0, 1)
    return inner * inner * (3 - 2 * inner)


def _stamp(
    size: tuple[int, int],
    row: NDArray[np.int64],
    centre: NDArray[np.float32],
    reach: NDArray[np.float32],
    light: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Add the profile (1 - d^2)^2 at every (row, centre); ``reach`` must fall."""
    height, width = size
    columns = np.ceil(2 * reach)
    taps = int(columns[0]) if columns.size else 0
    first = np.ceil(centre - reach)
    distance = (first - centre) / reach
    step = 1 / reach
    # Column by column in memory, for streaks run down: what one of them adds to lies close together. What lies outside
    # the picture goes into columns that are cut off.
    index = (np.clip(first, -taps, width).astype(np.int64) + taps) * height + row
    layer = np.zeros((width + 2 * taps) * height, np.float32)
    for column in range(taps):
        left = np.count_nonzero(columns > column)
        place = distance[:left]
        profile = np.maximum(1 - place * place, 0)
        profile *= profile
        profile *= light[:left]
        np.add.at(layer, index[:left], profile)
        place += step[:left]
        index += height
    return layer.reshape(-1, height)[taps : taps + width].T.copy()
