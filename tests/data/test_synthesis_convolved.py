import cv2
import numpy as np
import pytest

from msgnn_plugin.data.synthesis import add_streaks

GREY = np.full((96, 128, 3), 90, np.uint8)


def rng(seed=0):
    return np.random.default_rng(seed)


def fall_direction(rain):
    """Angle of the streaks from the vertical in degrees, by the structure tensor of the whole layer."""
    # Differences between pixels are only isotropic on what is smooth at their scale.
    gradient_y, gradient_x = np.gradient(cv2.GaussianBlur(rain.astype(np.float64), (0, 0), 2))
    tensor = [
        [(gradient_x**2).sum(), (gradient_x * gradient_y).sum()],
        [(gradient_x * gradient_y).sum(), (gradient_y**2).sum()],
    ]
    x, y = np.linalg.eigh(np.array(tensor))[1][:, 0]  # The smallest eigenvalue's vector lies along the streaks.
    return (np.degrees(np.arctan2(x, y)) + 90) % 180 - 90


@pytest.mark.parametrize("clean", [GREY, GREY.astype(np.float32) / 255, GREY[..., 0], GREY[..., 0] / 255.0])
def test_same_seed_same_rain(clean):
    first, again, other = (add_streaks(clean, noise=0.02, rng=rng(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert (first[1] != other[1]).any()


@pytest.mark.parametrize("clean", [GREY, GREY.astype(np.float32) / 255, GREY[..., 0], GREY[..., 0] / 255.0])
def test_rainy_is_clean_plus_rain_clipped(clean):
    rainy, rain = add_streaks(clean, strength=2.0, density=1.0, rng=rng())
    white = 255 if clean.dtype == np.uint8 else 1.0
    wide = clean.astype(np.float64) + rain
    np.testing.assert_allclose(rainy, np.clip(wide, 0, white), atol=1e-6)
    assert (wide > white).any()
    assert rainy.shape == rain.shape == clean.shape
    assert rainy.dtype == rain.dtype == clean.dtype


@pytest.mark.parametrize("length", [2, 12, 60])
def test_rain_is_never_negative(length):
    rain = add_streaks(GREY / 255.0, length=length, rng=rng())[1]
    assert rain.min() >= 0
    assert rain.max() > 0.1


@pytest.mark.parametrize("angle", [-60, -35, -10, 0, 20, 45, 75])
def test_streaks_lie_along_the_angle(angle):
    black = np.zeros((256, 256), np.float32)
    rain = add_streaks(black, angle=angle, spread=1.0, length=30, width=2, rng=rng(1))[1]
    assert abs(fall_direction(rain) - angle) < 3


def test_density_is_the_mean_cover():
    black = np.zeros((300, 300), np.float32)
    means = [
        np.mean([add_streaks(black, density=d, strength=0.1, layers=1, rng=rng(s))[1].mean() for s in range(4)])
        for d in (0.1, 0.2, 0.4)
    ]
    # Mean brightness 0.7 of 0.1, and a Gaussian profile holds 1.064 of its width at half maximum.
    np.testing.assert_allclose(means, [0.1 * 0.07 * 1.064 * k for k in (1, 2, 4)], rtol=0.15)


def test_far_layers_are_finer():
    black = np.zeros((256, 256), np.float32)
    near, far = (add_streaks(black, layers=n, spread=0, rng=rng(2))[1] for n in (1, 4))
    spectrum = [np.abs(np.fft.rfft2(layer))[0] for layer in (near, far)]
    share = [s[40:].sum() / s[1:].sum() for s in spectrum]
    assert share[1] > share[0]


def test_no_density_is_no_rain():
    rainy, rain = add_streaks(GREY, density=0, rng=rng())
    np.testing.assert_array_equal(rainy, GREY)
    assert not rain.any()


def test_noise_is_not_in_the_rain_layer():
    quiet, loud = (add_streaks(GREY, noise=n, rng=rng(5)) for n in (0, 0.05))
    np.testing.assert_array_equal(quiet[1], loud[1])
    assert abs((loud[0].astype(float) - quiet[0]).std() / 255 - 0.05) < 0.005


@pytest.mark.parametrize("size", [(1, 1), (2, 500), (37, 53)])
def test_any_size(size):
    assert add_streaks(np.zeros(size, np.uint8), rng=rng())[0].shape == size


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"density": -1}, "`density` must be at least 0, got -1"),
        ({"length": 0}, "`length` must be positive, got 0"),
        ({"width": -2.5}, r"`width` must be positive, got -2\.5"),
        ({"layers": 0}, "`layers` must be at least 1, got 0"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        add_streaks(GREY, **settings, rng=rng())


def test_wrong_pictures_are_named():
    with pytest.raises(TypeError, match="`clean` must be uint8 or float, got uint16"):
        add_streaks(GREY.astype(np.uint16), rng=rng())
    with pytest.raises(ValueError, match=r"`clean` must have shape .* got \(4, 4, 2\)"):
        add_streaks(np.zeros((4, 4, 2), np.uint8), rng=rng())
