"""Presets and the pictures made with them."""

import numpy as np
import pytest

from msgnn_plugin.data.rain_description import orientation_histogram
from msgnn_plugin.data.synthesis import PRESETS, Preset, find_preset, synthesize

ADDITIVE = [name for name, preset in PRESETS.items() if preset.additive]
OTHERS = [name for name in PRESETS if name not in ADDITIVE]
PHOTOGRAPH = np.random.default_rng(0).integers(20, 230, (48, 64, 3)).astype(np.uint8)
FORMS = {
    "uint8": PHOTOGRAPH,
    "float32": PHOTOGRAPH.astype(np.float32) / 255,
    "float64": PHOTOGRAPH / 255,
    "grey": PHOTOGRAPH[..., 0],
    "grey float": PHOTOGRAPH[..., 0] / 255,
}


def make(clean, preset, seed=0):
    return synthesize(clean, preset, np.random.default_rng(seed))


def psnr(rainy, clean):
    return 10 * np.log10(255**2 / np.square(rainy.astype(float) - clean).mean())


def test_only_streaks_are_a_layer():
    assert set(OTHERS) == {"drs", "drd", "nrs", "nrd"}


@pytest.mark.parametrize("preset", ADDITIVE)
@pytest.mark.parametrize("form", FORMS)
def test_rainy_is_clean_plus_rain_to_the_last_bit(form, preset):
    clean = FORMS[form]
    made = make(clean, preset)
    wide = clean.astype(np.int64) + made.rain if clean.dtype == np.uint8 else clean + made.rain
    np.testing.assert_array_equal(made.rainy, np.clip(wide, 0, 255 if clean.dtype == np.uint8 else 1))
    assert made.rain.min() >= 0
    assert made.rain.any()
    assert made.clean is clean


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("form", FORMS)
def test_the_form_stays_and_the_seed_decides(form, preset):
    clean = FORMS[form]
    before = clean.copy()
    first, again, other = (make(clean, preset, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(clean, before)
    np.testing.assert_array_equal(first.rainy, again.rainy)
    np.testing.assert_array_equal(first.clean, again.clean)
    assert (first.rainy != other.rainy).any()
    for picture in (first.rainy, first.clean):
        assert (picture.shape, picture.dtype) == (clean.shape, clean.dtype)
    assert np.isfinite(first.rainy).all()


@pytest.mark.parametrize("preset", PRESETS)
def test_forms_agree(preset):
    eight_bits, wide = make(PHOTOGRAPH, preset), make(PHOTOGRAPH / 255, preset)
    np.testing.assert_allclose(eight_bits.rainy / 255, wide.rainy, atol=1.01 / 255)
    np.testing.assert_allclose(eight_bits.clean / 255, wide.clean, atol=1.01 / 255)
    grey = PHOTOGRAPH[..., 0] / 255
    colour = make(np.stack([grey] * 3, axis=-1), preset)
    np.testing.assert_allclose(make(grey, preset).rainy, colour.rainy.mean(axis=-1), atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (3, 5)])
@pytest.mark.parametrize("preset", PRESETS)
def test_any_size(preset, size):
    for seed in range(3):
        made = make(np.full((*size, 3), 90, np.uint8), preset, seed)
        assert made.rainy.shape == made.clean.shape == (*size, 3)


@pytest.mark.parametrize(
    ("preset", "low", "high"),
    [("rain200h", 11, 15), ("rain200l", 24, 28), ("rain1200_light", 23, 27), ("rain1200_heavy", 15, 19)],
)
def test_input_psnr_is_in_its_range(preset, low, high):
    # Brightness rises from left to right as in a photograph with shade and sky.
    clean = np.broadcast_to(np.linspace(10, 220, 160)[None, :, None], (160, 160, 3)).astype(np.uint8)
    assert low < np.mean([psnr(make(clean, preset, seed).rainy, clean) for seed in range(60)]) < high


def test_rain200h_lies_in_more_directions_than_rain200l():
    def spread(preset, seed):
        histogram = orientation_histogram(make(np.zeros((128, 128), np.float32), preset, seed).rain)
        return 1 - abs((histogram * np.exp(2j * np.pi * np.arange(36) / 36)).sum())

    crowded, single = (np.mean([spread(name, seed) for seed in range(20)]) for name in ("rain200h", "rain200l"))
    assert crowded > 1.3 * single


def test_rain1200_takes_its_three_strengths_by_turns():
    black = np.zeros((64, 64, 3), np.uint8)
    strengths = [make(black, f"rain1200_{name}").rain.mean() for name in ("light", "medium", "heavy")]
    assert strengths == sorted(strengths)
    mixed = [make(black, "rain1200", seed).rain.mean() for seed in range(12)]
    assert max(mixed) > 2 * min(mixed)
    assert PRESETS["rain1400"].per_picture == 14


def test_hiding_rain_is_fainter_on_bright_ground():
    dark, bright = (make(np.full((64, 64), value), "rain1400").rain for value in (0.0, 0.75))
    np.testing.assert_allclose(bright, dark / 4, rtol=1e-5, atol=1e-7)


def test_night_changes_the_clean_side():
    made = make(np.full((96, 96, 3), 200, np.uint8), "nrs")
    assert made.clean.mean() < 150
    assert made.rain is None
    day = make(PHOTOGRAPH, "drd")
    assert day.clean is PHOTOGRAPH


def test_streaks_by_night_are_bright_where_there_is_light():
    clean = np.full((128, 128, 3), 30, np.uint8)
    shares = []
    for seed in range(8):
        made = make(clean, "nrs", seed)
        grain = np.abs(np.diff(made.rainy.astype(float), axis=1)).mean(axis=2)
        light = made.clean[:, 1:].mean(axis=2)
        lit = light > np.median(light)
        shares.append(grain[lit].mean() / grain[~lit].mean())
    assert np.mean(shares) > 1.2


def test_a_preset_of_ones_own():
    preset = Preset(what="dry")
    made = make(PHOTOGRAPH, preset)
    np.testing.assert_array_equal(made.rainy, PHOTOGRAPH)
    assert not made.rain.any()


def test_refuses_what_it_cannot_take():
    with pytest.raises(ValueError, match=r"`preset` must be one of rain200h, .* got 'rain200'\. Did you mean rain200"):
        find_preset("rain200")
    with pytest.raises(TypeError, match="synthesize: `clean` must be uint8 or float, got uint16"):
        make(PHOTOGRAPH.astype(np.uint16), "rain200l")
    for shape in ((4, 4, 2), (0, 5, 3), (4,)):
        with pytest.raises(ValueError, match="synthesize: `clean` must have shape"):
            make(np.zeros(shape, np.uint8), "drd")
