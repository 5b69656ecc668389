"""Fixtures that several folders of tests share."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"


@pytest.fixture
def repository() -> Path:
    """The checkout's root."""
    return ROOT


@pytest.fixture
def shared() -> Path:
    """Reference material that does not ship; the test is skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared")
    return SHARED


@pytest.fixture
def make_pair():
    """Make a rainy and a clean picture, RGB uint8 (H, W, 3): structure at all scales, shapes, thin bright streaks."""
    import cv2
    import numpy as np

    def make(seed, size=(96, 144), rain_seed=None):
        generator = np.random.default_rng(seed)
        values = np.zeros((*size, 3), np.float32)
        for cells in (3, 6, 12, 24, 48):
            noise = generator.normal(size=(cells, cells, 3)).astype(np.float32)
            values += cv2.resize(noise, size[::-1], interpolation=cv2.INTER_CUBIC) * 60 / cells**0.5
        values = np.clip(values + 110, 0, 255)
        for _ in range(6):
            centre = tuple(int(generator.integers(side)) for side in size[::-1])
            colour = tuple(map(float, generator.integers(256, size=3)))
            cv2.circle(values, centre, int(generator.integers(4, 16)), colour, -1)
        clean = values.astype(np.uint8)
        generator = np.random.default_rng(seed if rain_seed is None else rain_seed)
        streaks = np.zeros(size, np.uint8)
        for x, y in generator.integers(0, size[::-1], (150, 2)):
            cv2.line(streaks, (int(x), int(y)), (int(x) + 2, int(y) + 9), int(generator.integers(60, 160)), 1)
        return cv2.add(clean, np.repeat(streaks[:, :, None], 3, 2)), clean

    return make
