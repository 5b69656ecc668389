"""Streaks drawn one by one, against a plain loop, the structure tensor and what their settings promise."""

import cv2
import numpy as np
import pytest

from msgnn_plugin.data.synthesis import Streaks, draw_streaks
from msgnn_plugin.data.synthesis.streaks import _stamp


def rng(seed=0):
    return np.random.default_rng(seed)


def fall_direction(rain):
    """Angle of the streaks from the vertical in degrees, by the structure tensor of the whole layer."""
    gradient_y, gradient_x = np.gradient(cv2.GaussianBlur(rain.astype(np.float64), (0, 0), 2))
    mixed = (gradient_x * gradient_y).sum()
    x, y = np.linalg.eigh(np.array([[(gradient_x**2).sum(), mixed], [mixed, (gradient_y**2).sum()]]))[1][:, 0]
    return (np.degrees(np.arctan2(x, y)) + 90) % 180 - 90


def test_stamp_equals_a_plain_loop():
    generator, size = rng(), (9, 14)
    row, centre = generator.integers(9, size=60), generator.uniform(-6, 20, 60).astype(np.float32)
    reach = np.sort(generator.uniform(1, 4, 60))[::-1].astype(np.float32)
    light = generator.uniform(0, 1, 60).astype(np.float32)
    expected = np.zeros(size)
    for y, middle, radius, value in zip(row, centre, reach, light, strict=True):
        for x in range(size[1]):
            expected[y, x] += value * max(1 - ((x - middle) / radius) ** 2, 0) ** 2
    np.testing.assert_allclose(_stamp(size, row, centre, reach, light), expected, atol=1e-5)


@pytest.mark.parametrize("angle", [-60, -35, -10, 0, 20, 45, 60])
def test_streaks_lie_along_the_angle(angle):
    rain = draw_streaks((256, 256), Streaks(density=0.4, length=40, width=2, angle=angle), rng(1))
    assert abs(fall_direction(rain) - angle) < 3


@pytest.mark.parametrize(("length", "width", "angle"), [(20, 1.5, 0), (40, 2.5, 0), (40, 2.5, 50)])
def test_mean_brightness_is_density_times_brightness(length, width, angle):
    settings = Streaks(density=0.3, length=length, width=width, angle=angle, brightness=0.1, evenness=50, taper=0)
    mean = np.mean([draw_streaks((200, 200), settings, rng(seed)).mean() for seed in range(12)])
    # A profile (1 - d^2)^2 holds 0.986 of its width at half maximum; logarithmic spreads lift both means a little.
    assert mean == pytest.approx(0.3 * 0.1 * 0.986 * np.exp((0.35**2 + 0.2**2) / 2), rel=0.1)


def test_a_crop_is_like_a_layer_of_its_size():
    settings = Streaks(density=0.3, length=40, width=2, angle=30, evenness=4)
    large = draw_streaks((600, 600), settings, rng())
    small = np.mean([draw_streaks((32, 32), settings, rng(seed)).mean() for seed in range(200)])
    assert small == pytest.approx(large.mean(), rel=0.08)
    edges = np.mean([draw_streaks((32, 32), settings, rng(seed)) for seed in range(400)], axis=0)
    assert edges[0].mean() == pytest.approx(edges.mean(), rel=0.1)
    assert edges[:, -1].mean() == pytest.approx(edges.mean(), rel=0.15)


def test_overlaps_stop_at_the_ceiling():
    assert draw_streaks((64, 64), Streaks(density=5, length=20, width=3, ceiling=0.3), rng()).max() == np.float32(0.3)


def test_a_tapered_streak_fades_and_ripples():
    settings = {"density": 0.02, "length": 60, "width": 3, "evenness": 1000, "brightness": 0.5}
    even, tapered, rippled = (
        draw_streaks((400, 400), Streaks(**settings, taper=taper, ripple=ripple), rng())
        for taper, ripple in ((0, 0), (1, 0), (0, 1))
    )
    assert tapered.mean() == pytest.approx(even.mean() / 2, rel=0.05)
    assert rippled.max() > 1.5 * even.max() * 0.9


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (2, 3)])
def test_any_size(size):
    rain = draw_streaks(size, Streaks(density=1, length=30, width=2, angle=-40, spread=5), rng())
    assert rain.shape == size
    assert rain.dtype == np.float32
    assert rain.min() >= 0


def test_no_density_is_no_rain():
    assert not draw_streaks((20, 30), Streaks(density=0, length=30, width=2), rng()).any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"density": -1}, "`density` must be at least 0, got -1"),
        ({"length": 0}, "`length` must be above 0, got 0"),
        ({"evenness": 0}, "`evenness` must be above 0, got 0"),
        ({"taper": 1.5}, r"`taper` must be between 0 and 1, got 1\.5"),
        ({"angle": 80}, "`angle` must be between -75 and 75, got 80"),
        ({"width": float("nan")}, "`width` must be above 0, got nan"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        Streaks(**{"density": 0.1, "length": 10, "width": 2, **settings})
