"""Drops on the lens or the pane before it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from msgnn_plugin.data.synthesis.camera import blur

# Waves of a drop's outline, by their number around it.
_OUTLINE_WAVES = (2, 3, 4)
# How far an outline may reach beyond its radius, both for the waves and for the longer way down.
_MOST_REACH = 1.6
# Smaller drops, in pixels, are too small to show anything.
_MIN_RADIUS = 1.0
# Beyond this share of the radius the rim darkens: light that enters so flat is thrown off the lens.
_RIM_FROM = 0.75


@dataclass(frozen=True)
class LensDrops:
    """Drops on the lens.

    Attributes:
        cover: Share of the picture that they cover about, in [0, 1).
        radius: Smallest and largest radius, as a share of the picture's shorter side, above 0.
        view: How many times its own width a drop shows of the scene, upside down; above 0.
        defocus: Blur of the drops, standard deviation as a share of the shorter side, at least 0.
        rim: How much darker the rim is, in [0, 1].
        unevenness: Depth of the waves of the outlines, in [0, 1]; 0 makes discs.

    Raises:
        ValueError: If a setting is out of its range.
    """

    cover: float
    radius: tuple[float, float] = (0.01, 0.06)
    view: float = 5.0
    defocus: float = 0.004
    rim: float = 0.4
    unevenness: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.cover < 1:
            raise ValueError(f"LensDrops: `cover` must be at least 0 and below 1, got {self.cover}.")
        if not 0 < self.radius[0] <= self.radius[1]:
            raise ValueError(f"LensDrops: `radius` must be two rising numbers above 0, got {self.radius}.")
        if self.view <= 0:
            raise ValueError(f"LensDrops: `view` must be above 0, got {self.view}.")
        if self.defocus < 0:
            raise ValueError(f"LensDrops: `defocus` must be at least 0, got {self.defocus}.")
        for name in ("rim", "unevenness"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"LensDrops: `{name}` must be between 0 and 1, got {getattr(self, name)}.")


def add_drops(scene: NDArray[np.float32], drops: LensDrops, rng: np.random.Generator) -> NDArray[np.float32]:
    """Put drops before a scene.

    A drop on glass is a lens of very short focus: it shows a wide part of the scene, squeezed into the drop and upside
    down, and is itself far out of focus (You et al., "Adherent Raindrop Modeling, Detection and Removal in Video",
    TPAMI 2016). Here a pixel p of a drop at c shows the place c - view (p - c), with what lies beyond the picture
    mirrored in; the outline is a circle with a few waves, longer below for the drop's weight. These forms are ours.

    Args:
        scene: Picture, (H, W, C), as a share of white.
        drops: Their settings.
        rng: Source of every draw.

    Returns:
        The picture behind drops, same shape.
    """
    size = scene.shape[:2]
    cover, source_y, source_x, shade = _lens(size, drops, rng)
    if not cover.any():
        return scene
    behind = cover > 0
    refracted = np.zeros_like(scene)
    refracted[behind] = _look_up(scene, source_y[behind], source_x[behind]) * shade[behind][:, None]
    sigma = drops.defocus * min(size)
    # Blurred together with its cover, a drop takes no light from beyond its outline.
    cover = cover[..., None]
    light = blur(refracted * cover, sigma)
    return scene * (1 - blur(cover, sigma)) + light


def _lens(
    size: tuple[int, int], drops: LensDrops, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return where drops are (0 or 1 with soft steps), the place that each pixel shows (y, x), and its shade."""
    height, width = size
    radii = _draw_radii(size, drops, rng)
    source_y, source_x = np.mgrid[:height, :width].astype(np.float32)
    cover, shade = np.zeros(size, np.float32), np.ones(size, np.float32)
    for radius in radii:
        middle = rng.uniform(-0.5, height - 0.5), rng.uniform(-0.5, width - 0.5)
        waves = [(k, rng.uniform(0, 1) / k**2, rng.uniform(0, 2 * np.pi)) for k in _OUTLINE_WAVES]
        reach = radius * _MOST_REACH + 1
        top, left = (max(int(np.floor(m - reach)), 0) for m in middle)
        bottom, right = int(np.ceil(middle[0] + reach)) + 1, int(np.ceil(middle[1] + reach)) + 1
        window = slice(top, min(bottom, height)), slice(left, min(right, width))
        y, x = np.mgrid[window].astype(np.float32)
        y, x = y - np.float32(middle[0]), x - np.float32(middle[1])
        # Longer below than above.
        stretched = np.where(y > 0, y / (1 + 0.3 * drops.unevenness), y)
        angle = np.arctan2(stretched, x)
        outline = sum(depth * np.cos(k * angle + phase) for k, depth, phase in waves)
        distance = np.hypot(stretched, x) / np.float32(radius) / (1 + np.float32(0.3 * drops.unevenness) * outline)
        inside = np.clip((1 - distance) * np.float32(radius) + 0.5, 0, 1)
        here = inside > cover[window]
        cover[window] = np.maximum(cover[window], inside)
        source_y[window][here] = (middle[0] - drops.view * y)[here]
        source_x[window][here] = (middle[1] - drops.view * x)[here]
        edge = np.clip((distance - _RIM_FROM) / (1 - _RIM_FROM), 0, 1)
        shade[window][here] = (1 - np.float32(drops.rim) * edge * edge)[here]
    return cover, source_y, source_x, shade


def _look_up(scene: NDArray[np.float32], y: NDArray[np.float32], x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the scene at places (N,), shape (N, C), bilinear; what lies outside is mirrored in."""
    (top, below, down), (left, right, across) = (
        _neighbours(place, side) for place, side in zip((y, x), scene.shape[:2], strict=True)
    )
    upper = scene[top, left] * (1 - across) + scene[top, right] * across
    lower = scene[below, left] * (1 - across) + scene[below, right] * across
    return upper * (1 - down) + lower * down


def _neighbours(place: NDArray[np.float32], side: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray]:
    """Return the pixels before and after each place along one axis, and how far it is between them."""
    before = np.floor(place)
    ring = np.concatenate([np.arange(side), np.arange(side)[::-1]])  # a picture and its mirror image
    index = before.astype(np.intp)
    return ring[index % (2 * side)], ring[(index + 1) % (2 * side)], (place - before)[:, None]


def _draw_radii(size: tuple[int, int], drops: LensDrops, rng: np.random.Generator) -> list[float]:
    """Draw drops, every ratio of radii equally likely, until they cover enough; overlaps are left out of account."""
    wanted, radii = drops.cover * size[0] * size[1], []
    low, high = np.log(np.maximum(np.multiply(drops.radius, min(size)), _MIN_RADIUS))
    while wanted > 0:
        radius = float(np.exp(rng.uniform(low, high)))
        wanted -= np.pi * radius**2
        # The last one comes as often as it is needed, so that the mean cover is right.
        if wanted >= 0 or rng.uniform() < 1 + wanted / (np.pi * radius**2):
            radii.append(radius)
    return radii
