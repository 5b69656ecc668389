import os

import cv2
import numpy as np
import pytest

from msgnn_plugin.data import PictureReader, describe_rain, find_pairs
from msgnn_plugin.data.rain_description import WIDTHS, orientation_histogram, width_histogram
from msgnn_plugin.data.synthesis import add_streaks

# Angle, width, density.
RAINS = ((-25, 2.0, 0.1), (-25, 2.0, 0.5), (-25, 4.5, 0.3), (15, 2.0, 0.1), (15, 2.0, 0.5), (15, 4.5, 0.3))


def line(angle, width, side=160):
    """One straight Gaussian line through the middle, drawn without the code under test or the synthesis."""
    y, x = np.mgrid[:side, :side] - side / 2
    across = x * np.cos(np.radians(angle)) - y * np.sin(np.radians(angle))
    return np.exp(-4 * np.log(2) * np.square(across / width))


def scene(number, size=(200, 240)):
    """Smooth colours, hard-edged shapes and texture, other ones for each number."""
    rng = np.random.default_rng(number)
    image = cv2.resize(rng.integers(30, 150, (5, 6, 3), dtype=np.uint8), size[::-1], interpolation=cv2.INTER_CUBIC)
    for _ in range(8):
        corner, opposite = ([int(rng.integers(side)) for side in size[::-1]] for _ in range(2))
        cv2.rectangle(
            image, corner, opposite, [int(c) for c in rng.integers(20, 200, 3)], -1 if rng.random() < 0.5 else 2
        )
    return np.clip(image + rng.normal(0, rng.uniform(1, 5), image.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("angle", [-85, -40, -5, 0, 10, 45, 90])
def test_the_orientation_of_a_line(angle):
    histogram = orientation_histogram(line(angle, 3))
    assert histogram.shape == (36,)
    assert histogram.sum() == pytest.approx(1, abs=1e-5)
    assert histogram.argmax() * 5 == angle % 180
    assert histogram.max() > 0.9


@pytest.mark.parametrize("number", range(1, len(WIDTHS)))
def test_the_width_of_a_line(number):
    histogram = width_histogram(line(20, WIDTHS[number]))
    assert histogram.shape == (len(WIDTHS),)
    assert histogram.sum() == pytest.approx(1, abs=1e-5)
    assert abs(int(histogram.argmax()) - number) <= (number < 2)


def test_bright_lines_count_at_any_scale_of_grey_and_dark_ones_do_not():
    bright = line(0, 3)
    np.testing.assert_allclose(orientation_histogram(7 * bright + 3), orientation_histogram(bright), atol=1e-4)
    # Beside a dark line lie the feet of its slopes alone.
    dark = orientation_histogram(np.maximum(bright, 0.5 * (1 - line(60, 3))))
    assert dark.argmax() == 0


def test_histograms_turn_with_the_layer():
    rain = add_streaks(np.zeros((200, 200), np.uint8), angle=20, rng=np.random.default_rng(0))[1]
    histogram = orientation_histogram(rain)
    np.testing.assert_allclose(orientation_histogram(rain[:, ::-1]), np.roll(histogram[::-1], 1), atol=0.02)
    np.testing.assert_allclose(orientation_histogram(np.rot90(rain)), np.roll(histogram, 18), atol=0.02)
    np.testing.assert_allclose(width_histogram(np.rot90(rain)), width_histogram(rain), atol=1e-3)


def nearest(descriptions):
    distance = np.square(descriptions[:, None] - descriptions[None]).sum(axis=2)
    np.fill_diagonal(distance, np.inf)
    return distance.argmin(axis=1)


def test_the_nearest_picture_has_the_same_rain_and_not_the_same_scene():
    scenes = 8
    pictures, rains = [], np.tile(np.arange(len(RAINS)), scenes)
    for number in range(scenes):
        for kind, (angle, width, density) in enumerate(RAINS):
            rng = np.random.default_rng((number, kind))
            rain = {"angle": angle, "width": width, "density": density, "length": 10 * width}
            pictures.append(add_streaks(scene(number), **rain, rng=rng)[0])
    scene_of = np.repeat(np.arange(scenes), len(RAINS))
    found = nearest(np.stack([describe_rain(picture) for picture in pictures]))
    # By chance 7 of 47 would have the same rain.
    assert np.mean(rains[found] == rains) > 0.8
    assert np.mean(scene_of[found] == scene_of) < 0.2
    thumbnails = np.stack([cv2.resize(p, (8, 8), interpolation=cv2.INTER_AREA).ravel() / 255 for p in pictures])
    assert np.mean(rains[nearest(thumbnails)] == rains) < 0.2  # So the scenes do differ, and would mislead.


def test_on_real_sets_the_nearest_picture_has_rain_of_the_same_direction(shared):
    reader, descriptions, turns = PictureReader(), [], []
    bins = np.exp(2j * np.pi * np.arange(36) / 36)
    for pair in find_pairs(shared / "data/rain100h") + find_pairs(shared / "data/rain100l"):
        rainy, clean = reader.read_pair(pair)
        descriptions.append(describe_rain(rainy))
        layer = np.maximum(rainy.astype(np.float32) - clean, 0).min(axis=2)
        turns.append(np.angle(orientation_histogram(layer) @ bins, deg=True) / 2)
    apart = np.abs((np.subtract.outer(turns, turns) + 90) % 180 - 90)
    found = apart[np.arange(len(turns)), nearest(np.stack(descriptions))].mean()
    assert found < 0.4 * apart[~np.eye(len(turns), dtype=bool)].mean()


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 3), (700, 30)])
def test_any_size_and_flat_pictures(size):
    for value in (0, 128, 255):
        description = describe_rain(np.full((*size, 3), value, np.uint8))
        assert description.shape == (44,)
        assert description.dtype == np.float32
        assert np.isfinite(description).all()
    assert np.isfinite(orientation_histogram(np.zeros(size))).all()
    assert np.isfinite(width_histogram(np.ones(size))).all()


def test_of_a_huge_picture_the_middle_is_described():
    image = np.zeros((1200, 1400, 3), np.uint8)
    image[344:856, 444:956] = scene(1, (512, 512))
    np.testing.assert_array_equal(describe_rain(image), describe_rain(image[344:856, 444:956]))


def test_views_and_strides_change_nothing():
    image = scene(2)
    np.testing.assert_array_equal(describe_rain(np.asfortranarray(image)), describe_rain(image))
    np.testing.assert_array_equal(describe_rain(image[:, :, ::-1]), describe_rain(image))


def test_wrong_input_is_told():
    for image in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(ValueError, match="describe_rain: `image` must be uint8 of shape"):
            describe_rain(image)
    for function in (orientation_histogram, width_histogram):
        with pytest.raises(ValueError, match=f"{function.__name__}: `layer` must have shape"):
            function(np.zeros((4, 4, 3)))
        with pytest.raises(ValueError, match=f"{function.__name__}: `layer` must hold finite numbers"):
            function(np.full((4, 4), np.nan))


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="threads are counted by Linux's process table")
def test_no_thread_is_started_that_a_fork_would_lose():
    before = len(os.listdir("/proc/self/task"))
    describe_rain(scene(3, (512, 512)))
    assert len(os.listdir("/proc/self/task")) == before
