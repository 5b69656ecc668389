"""NIQE as BasicSR computes it, against a computation of our own from the paper (Mittal et al., 2013); its limits."""

import importlib
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.optimize import brentq
from scipy.special import gamma
from skimage import data

from msgnn_plugin.adapters.basicsr import register
from msgnn_plugin.adapters.basicsr.compat import niqe as mend
from msgnn_plugin.adapters.basicsr.measuring import MetricTable

BLOCK = 96
METRIC = {"type": "calculate_niqe", "crop_border": 0, "convert_to": "y", "better": "lower"}
PSNR = {"type": "calculate_psnr", "crop_border": 0}


@pytest.fixture(scope="module", autouse=True)
def mended():
    register()


def niqe(picture: np.ndarray, **options) -> float:
    return importlib.import_module("basicsr.metrics").calculate_metric({"img": picture}, {**METRIC, **options})


def generalised_gaussian(values: np.ndarray) -> tuple[float, float, float]:
    """Fit an asymmetric generalised Gaussian by moments: shape, left and right scale."""
    left, right = (math.sqrt(np.mean(part**2)) for part in (values[values < 0], values[values > 0]))
    ratio = left / right
    wanted = np.mean(np.abs(values)) ** 2 / np.mean(values**2) * (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
    shape = brentq(lambda a: gamma(2 / a) ** 2 / (gamma(1 / a) * gamma(3 / a)) - wanted, 0.2, 10)
    scale = math.sqrt(gamma(1 / shape) / gamma(3 / shape))
    return shape, left * scale, right * scale


def features(block: np.ndarray) -> list[float]:
    shape, left, right = generalised_gaussian(block.ravel())
    found = [shape, (left + right) / 2]
    for down, across in ((0, 1), (1, 0), (1, 1), (1, -1)):
        neighbour = np.roll(np.roll(block, down, axis=0), across, axis=1)
        shape, left, right = generalised_gaussian((block * neighbour).ravel())
        found += [shape, (right - left) * gamma(2 / shape) / gamma(1 / shape), left, right]
    return found


def halved(image: np.ndarray) -> np.ndarray:
    """Halve by the bicubic kernel (a = -1/2) stretched twofold, as MATLAB's imresize does, borders mirrored."""
    distance = np.abs(np.arange(-3.5, 4)) / 2
    near, far = 1.5 * distance**3 - 2.5 * distance**2 + 1, -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    taps = np.where(distance <= 1, near, far)
    taps /= taps.sum()
    for axis in (0, 1):
        padded = np.pad(image, [(3, 3) if axis == other else (0, 0) for other in (0, 1)], mode="symmetric")
        windows = np.lib.stride_tricks.sliding_window_view(padded, 8, axis=axis)
        image = (windows[::2] if axis == 0 else windows[:, ::2]) @ taps
    return image


def independent_niqe(bgr: np.ndarray) -> float:
    blue, green, red = (bgr[..., channel] / 255 for channel in range(3))
    luma = np.round(16 + 65.481 * red + 128.553 * green + 24.966 * blue)
    rows, columns = (side // BLOCK for side in luma.shape)
    image, found = luma[: rows * BLOCK, : columns * BLOCK], []
    for scale in (1, 2):
        blur = {"sigma": 7 / 6, "radius": 3, "mode": "nearest"}
        mean = gaussian_filter(image, **blur)
        normal = (image - mean) / (np.sqrt(np.abs(gaussian_filter(image**2, **blur) - mean**2)) + 1)
        side = BLOCK // scale
        blocks = normal.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(-1, side, side)
        found.append([features(block) for block in blocks])
        image = halved(image)
    found = np.concatenate(found, axis=1)
    package = Path(importlib.import_module("basicsr.metrics.niqe").__file__).parent
    pristine = np.load(package / "niqe_pris_params.npz")
    offset = pristine["mu_pris_param"].ravel() - found.mean(axis=0)
    spread = np.linalg.pinv((pristine["cov_pris_param"] + np.cov(found, rowvar=False)) / 2)
    return math.sqrt(offset @ spread @ offset)


@pytest.mark.parametrize("name", ["astronaut", "coffee", "chelsea"])
def test_value_is_that_of_an_independent_computation(name, monkeypatch):
    picture = np.ascontiguousarray(getattr(data, name)()[..., ::-1])
    wanted = independent_niqe(picture)
    # BasicSR computes in single precision, which tells where areas are flat, as the astronaut's background.
    assert niqe(picture) == pytest.approx(wanted, rel=1.5e-2)
    module = importlib.import_module("basicsr.metrics.niqe")
    single = module.niqe
    monkeypatch.setattr(module, "niqe", lambda image, *params: single(image.astype(np.float64), *params))
    # What is left is BasicSR's search for the shape on a grid.
    assert niqe(picture) == pytest.approx(wanted, rel=4e-3)


def test_noise_and_blur_are_worse_than_the_photograph():
    picture = np.ascontiguousarray(data.coffee()[..., ::-1])
    noise = np.random.default_rng(0).normal(0, 25, picture.shape)
    noisy = np.clip(picture + noise, 0, 255).astype(np.uint8)
    blurred = gaussian_filter(picture, (3, 3, 0))
    assert niqe(picture) < min(niqe(noisy), niqe(blurred))


def test_grey_pictures_have_a_value():
    grey = data.camera()
    assert niqe(np.dstack([grey] * 3), convert_to="gray") == pytest.approx(niqe(grey, input_order="HW"), rel=1e-3)


def test_too_small_or_too_flat_pictures_have_none():
    noise = np.random.default_rng(0).integers(0, 256, (BLOCK, 2 * BLOCK, 3), dtype=np.uint8)
    assert math.isfinite(niqe(noise))
    for picture in (noise[:50, :50], noise[:, :-1], noise[:-1], np.full((300, 300, 3), 128, np.uint8)):
        assert math.isnan(niqe(picture))


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (200, 1), (95, 400)])
def test_a_side_too_short_for_a_block_has_none(size):
    assert math.isnan(niqe(np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)))


def test_the_mend_rests_where_the_fault_is_gone(monkeypatch):
    module = importlib.import_module("basicsr.metrics.niqe")
    assert not mend.needed()
    published = module.niqe.__closure__[0].cell_contents
    monkeypatch.setattr(module, "niqe", published)
    assert mend.needed()


class TestTable:
    picture = np.random.default_rng(3).integers(0, 256, (BLOCK, 2 * BLOCK, 3), dtype=np.uint8)

    def test_without_a_clean_picture_only_what_needs_none_is_measured(self, tmp_path):
        table = MetricTable({"psnr": PSNR, "niqe": METRIC}, measure_input=True)
        table.add("a", self.picture, self.picture)
        assert list(table.means()) == ["niqe", "input_niqe"]
        assert "psnr" not in table.summary()
        table.write(tmp_path / "t.csv")
        assert (tmp_path / "t.csv").read_text().splitlines()[0] == "image,niqe,input_niqe"

    def test_with_one_both_are(self):
        table = MetricTable({"psnr": PSNR, "niqe": METRIC}, measure_input=False)
        table.add("a", self.picture, self.picture, self.picture // 2)
        assert list(table.means()) == ["psnr", "niqe"]

    def test_a_picture_without_a_value_does_not_spoil_the_mean(self, tmp_path):
        table = MetricTable({"niqe": METRIC}, measure_input=False)
        table.add("a", self.picture, self.picture)
        table.add("small", self.picture[:20], self.picture[:20])
        assert table.means() == {"niqe": pytest.approx(niqe(self.picture))}
        assert "(of 1 images, the others have none)" in table.summary()
        table.write(tmp_path / "t.csv")
        assert (tmp_path / "t.csv").read_text().splitlines()[2] == "small,nan"

    def test_no_values_at_all(self):
        table = MetricTable({"niqe": METRIC}, measure_input=False)
        table.add("small", self.picture[:20], self.picture[:20])
        assert math.isnan(table.means()["niqe"])
        assert MetricTable({"psnr": PSNR}, measure_input=True).means() == {}
