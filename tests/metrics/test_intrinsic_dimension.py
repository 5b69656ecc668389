"""The intrinsic dimension on manifolds whose dimension is known, and beside scikit-dimension where it is installed."""

import sys

import numpy as np
import pytest
import torch

from msgnn_plugin.metrics import intrinsic_dimension, layer_dimensions

pytest.importorskip("scipy")


def flat(dimension, count=1500, ambient=20):
    """Uniform points of a cube, turned into a larger space."""
    generator = np.random.default_rng(dimension)
    turn = np.linalg.qr(generator.normal(size=(ambient, ambient)))[0][:dimension]
    return generator.random((count, dimension)) @ turn


def sphere(count=1500):
    points = np.random.default_rng(0).normal(size=(count, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def spiral(count=1500):
    along = np.random.default_rng(0).uniform(3, 12, count)
    return np.stack([along * np.cos(along), along * np.sin(along)], 1)


@pytest.mark.parametrize(
    ("points", "dimension"),
    [(flat(1), 1), (flat(2), 2), (flat(5), 5), (flat(8), 8), (sphere(), 2), (spiral(), 1)],
    ids=["line", "square", "5-cube", "8-cube", "sphere", "spiral"],
)
def test_known_manifolds(points, dimension):
    found = intrinsic_dimension(points)
    # The edges of a cube make it read low, the more so the more edges there are.
    assert 0.8 * dimension < found < 1.1 * dimension
    assert intrinsic_dimension(points * 1e-6 + 3) == pytest.approx(found, rel=1e-3)


def test_orders_dimensions():
    found = [intrinsic_dimension(flat(dimension)) for dimension in (1, 3, 6, 12, 20)]
    assert found == sorted(found)


@pytest.mark.parametrize("points", [flat(3, 400), flat(9, 400), sphere(400)])
def test_agrees_with_scikit_dimension(points):
    skdim = pytest.importorskip("skdim")
    assert intrinsic_dimension(points) == pytest.approx(skdim.id.MLE().fit(points).dimension_, rel=1e-9)


def test_matches_a_loop():
    points = flat(4, 60)
    terms = []
    for i in range(60):
        near = sorted(np.sqrt(np.square(points[i] - points[j]).sum()) for j in range(60) if j != i)[:5]
        terms += [np.log(near[4] / distance) for distance in near[:4]]
    assert intrinsic_dimension(points, num_neighbors=5) == pytest.approx(1 / np.mean(terms), rel=1e-9)


def test_equal_points_count_once():
    points = flat(3, 300)
    assert intrinsic_dimension(np.concatenate([points, points, points])) == pytest.approx(intrinsic_dimension(points))


@pytest.mark.parametrize("count", [1, 2, 300])
def test_what_does_not_vary_has_no_dimension(count):
    assert intrinsic_dimension(np.full((count, 4), 0.3)) == 0
    assert intrinsic_dimension(np.arange(count)[:, None] % 2 * np.ones(4)) == 0


def test_never_more_than_there_are_values():
    assert intrinsic_dimension(np.eye(3)) == 3  # all as far from one another
    assert intrinsic_dimension(np.eye(30)) == 30
    assert 0 < intrinsic_dimension(np.array([[0.0], [1e-300], [5.0]])) <= 1


@pytest.mark.parametrize(
    ("points", "settings", "match"),
    [
        (np.zeros(4), {}, r"shape \(N, D\) with no empty axis, got \(4,\)"),
        (np.zeros((0, 4)), {}, "no empty axis"),
        (np.array([[0.0, np.nan], [np.inf, 1.0]]), {}, "must be finite, got 2 values"),
        (np.zeros((4, 2)), {"num_neighbors": 1}, "`num_neighbors` must be at least 2, got 1"),
    ],
)
def test_rejects(points, settings, match):
    with pytest.raises(ValueError, match=match):
        intrinsic_dimension(points, **settings)


def test_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.spatial", None)
    with pytest.raises(ImportError, match="scipy must be installed"):
        intrinsic_dimension(np.zeros((4, 2)))


def layers(seed=0):
    """A smooth background of few directions, (2, 3, 64, 72), and noise."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(2, 3, 4, 5, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (64, 72), mode="bicubic")
    return smooth, torch.randn(2, 3, 64, 72, generator=generator)


def test_layers_are_told_apart_by_seed_alone():
    smooth, noise = layers()
    found = layer_dimensions(smooth, noise, num_patches=500, seed=3)
    assert found[0] < 6 < 15 < found[1]
    assert layer_dimensions(smooth, noise, num_patches=500, seed=3) == found
    assert layer_dimensions(smooth, noise, num_patches=500, seed=4) != found
    assert layer_dimensions(noise, smooth, num_patches=500, seed=3) == found[::-1]


def test_half_precision_and_gradients_do_no_harm():
    smooth, noise = layers()
    found = layer_dimensions(smooth.bfloat16().requires_grad_(), noise.half(), num_patches=200)
    assert all(np.isfinite(found))


def test_flat_layers_have_no_dimension():
    _, noise = layers()
    assert layer_dimensions(torch.full_like(noise, 0.4), noise, num_patches=300)[0] == 0
    assert layer_dimensions(noise, torch.zeros_like(noise), num_patches=300)[1] == 0


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"rain": torch.zeros(2, 3, 16, 17)}, r"one shape .*got \(2, 3, 16, 16\) and \(2, 3, 16, 17\)"),
        ({"rain": torch.full((2, 3, 16, 16), torch.nan)}, "must be finite"),
        ({"patch_size": 17}, "at least 17x17, the size of a patch, got 16x16"),
        ({"patch_size": 0}, "`patch_size` must be at least 1, got 0"),
        ({"num_patches": 0}, "`num_patches` must be at least 1, got 0"),
    ],
)
def test_layers_reject(change, match):
    arguments = {"background": torch.rand(2, 3, 16, 16), "rain": torch.rand(2, 3, 16, 16)}
    with pytest.raises(ValueError, match=match):
        layer_dimensions(**{**arguments, **change})
