"""Haze, drops on the lens, night and camera: each against what it is meant to do."""

import numpy as np
import pytest

from msgnn_plugin.data.synthesis.camera import add_sensor_noise, blur
from msgnn_plugin.data.synthesis.drops import LensDrops, add_drops
from msgnn_plugin.data.synthesis.haze import Haze, add_haze, smooth_noise, transmission
from msgnn_plugin.data.synthesis.night import Night, darken, light_night

RAMP_Y, RAMP_X = np.mgrid[:120, :160].astype(np.float32) / 160
SCENE = np.stack([RAMP_Y, RAMP_X, np.full_like(RAMP_X, 0.5)], axis=-1)


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("view", [0.4, 0.8])
def test_a_drop_shows_the_scene_upside_down(view):
    settings = LensDrops(cover=0.03, radius=(0.12, 0.12), view=view, defocus=0, rim=0, unevenness=0)
    seen = 0
    for seed in range(20):
        behind = add_drops(SCENE, settings, rng(seed))
        drop = np.abs(behind - SCENE).max(axis=-1) > 0.02
        # The whole drop, without its half-covered edge and without what is mirrored in at the picture's borders.
        inside = drop & (behind[..., 0] > 0.1) & (behind[..., 0] < 0.6) & (behind[..., 1] > 0.15) & (RAMP_X < 0.8)
        if inside.sum() < 200:
            continue
        for channel, ramp in ((0, RAMP_Y), (1, RAMP_X)):
            differences = np.diff(behind[..., channel], axis=channel)
            expected = -view * np.diff(ramp, axis=channel)
            assert np.median(differences[inside[tuple(slice(size) for size in differences.shape)]]) == pytest.approx(
                np.median(expected), rel=0.02
            )
        np.testing.assert_array_equal(behind[~drop & (np.abs(behind - SCENE).max(axis=-1) == 0)][:, 2], 0.5)
        seen += 1
    assert seen >= 3


def test_wide_view_mirrors_what_lies_beyond_the_picture():
    behind = add_drops(SCENE, LensDrops(cover=0.3, view=30), rng())
    assert np.isfinite(behind).all()
    assert behind.min() >= -1e-5
    assert behind.max() <= 1 + 1e-5


@pytest.mark.parametrize("cover", [0.02, 0.1])
def test_drops_cover_what_they_should(cover):
    dark, white = np.zeros((200, 300, 1), np.float32), LensDrops(cover=cover, view=2, defocus=0, rim=1, unevenness=0)
    shares = []
    for seed in range(30):
        marked = add_drops(dark + np.linspace(0, 1, 300, dtype=np.float32)[:, None], white, rng(seed))
        shares.append((np.abs(marked[..., 0] - np.linspace(0, 1, 300)) > 1e-4).mean())
    # Overlaps take a little away, half-covered edges add a little.
    assert np.mean(shares) == pytest.approx(cover, rel=0.25)


def test_defocus_softens_the_rims():
    sharp, soft = (
        add_drops(np.full((100, 100, 1), 0.8, np.float32), LensDrops(cover=0.2, defocus=d, rim=1), rng(1))
        for d in (0, 0.03)
    )
    steepest = [np.abs(np.diff(picture[..., 0], axis=0)).max() for picture in (sharp, soft)]
    assert steepest[1] < steepest[0] / 2


def test_haze_is_koschmieders_law():
    share = transmission((30, 40), Haze(thickness=0.9, unevenness=0), rng())
    np.testing.assert_allclose(share[0], np.exp(-0.9), rtol=1e-6)
    np.testing.assert_allclose(share[-1], np.exp(-0.3), rtol=1e-6)
    scene = rng().random((30, 40, 3)).astype(np.float32)
    expected = np.array(
        [[s * t + (1 - t) * 0.7 for s, t in zip(*row, strict=True)] for row in zip(scene, share, strict=True)]
    )
    np.testing.assert_allclose(add_haze(scene, share, 0.7), expected, atol=1e-6)
    np.testing.assert_array_equal(add_haze(scene, transmission((30, 40), Haze(0), rng()), 0.7), scene)


def test_swells_are_smooth_and_bounded():
    swell = smooth_noise((200, 300), 3, rng())
    assert np.abs(swell).max() <= 1
    assert swell.std() > 0.05
    assert np.abs(np.diff(swell, axis=1)).max() < 0.05


def test_lamps_light_what_is_near_them():
    night = light_night((90, 120), Night(ambient=0.1, lamps=1, power=1, reach=0.2), rng(2))
    lamp = np.unravel_index(night.lamps.sum(axis=-1).argmax(), (90, 120))
    assert night.light[lamp].max() > 4 * night.light[(lamp[0] + 60) % 90, (lamp[1] + 60) % 120].max()
    brightest = np.unravel_index(night.glow.sum(axis=-1).argmax(), (90, 120))
    assert np.abs(np.subtract(lamp, brightest)).max() <= 2
    assert darken(np.ones((90, 120, 3), np.float32), night).max() <= 1


def test_without_lamps_night_is_a_gain():
    night = light_night((5, 7), Night(ambient=0.2, lamps=0), rng())
    np.testing.assert_allclose(darken(np.full((5, 7, 3), 0.5, np.float32), night)[0, 0], [0.08, 0.09, 0.11], atol=1e-6)
    assert not night.glow.any()


def test_noise_grows_with_the_light():
    dark, white = (
        (add_sensor_noise(np.full((200, 200, 3), v, np.float32), 0.05, rng(), shot=0.75) - v).std() for v in (0, 1)
    )
    assert white == pytest.approx(0.05, rel=0.02)
    assert dark == pytest.approx(0.025, rel=0.02)


def test_blur_keeps_light_and_shape():
    point = np.zeros((41, 41, 1), np.float32)
    point[20, 20] = 1
    blurred = blur(point, 3)
    assert blurred.shape == point.shape
    assert blurred.sum() == pytest.approx(1, rel=1e-4)
    y = np.arange(41) - 20
    assert np.sqrt((blurred[..., 0].sum(axis=1) * y**2).sum()) == pytest.approx(3, rel=0.03)
    assert blur(point, 0) is point


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Haze(-1), "`thickness` must be at least 0, got -1"),
        (lambda: Haze(1, airlight=2), "`airlight` must be between 0 and 1, got 2"),
        (lambda: LensDrops(cover=1), "`cover` must be at least 0 and below 1, got 1"),
        (lambda: LensDrops(0.1, radius=(0.2, 0.1)), r"`radius` must be two rising numbers above 0, got \(0.2, 0.1\)"),
        (lambda: LensDrops(0.1, view=0), "`view` must be above 0, got 0"),
        (lambda: LensDrops(0.1, defocus=-1), "`defocus` must be at least 0, got -1"),
        (lambda: LensDrops(0.1, rim=2), "`rim` must be between 0 and 1, got 2"),
        (lambda: Night(ambient=2), "`ambient` must be between 0 and 1, got 2"),
        (lambda: Night(lamps=-1), "`lamps` must be at least 0, got -1"),
        (lambda: Night(reach=0), "`reach` must be above 0, got 0"),
    ],
)
def test_wrong_settings_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()
