"""`patch_knn` against a float64 brute force."""

import numpy as np
import pytest
import torch

from msgnn_plugin.ops import centred_window_origin, patch_knn
from tests.ops import naive


def random_map(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def check(query, database, patch_size, stride, k, window=None, origin=None):
    index, distance = patch_knn(
        query, database, patch_size=patch_size, stride=stride, num_neighbors=k, window_size=window, window_origin=origin
    )
    for b in range(query.shape[0]):
        places = None if origin is None else origin.tolist()
        expected = naive.knn(
            query[b].double().numpy(), database[b].double().numpy(), patch_size, stride, k, window, places
        )
        np.testing.assert_array_equal(index[b].numpy(), expected)
    assert (distance[..., 1:] >= distance[..., :-1]).all()
    return index, distance


@pytest.mark.parametrize(("patch_size", "stride"), [(3, 3), (3, 1), (1, 1), (5, 2), (2, 3), (7, 3)])
@pytest.mark.parametrize("window", [None, 1, 3, 30])
def test_matches_brute_force(patch_size, stride, window):
    k = 1 if window == 1 else 4
    check(random_map(2, 3, 20, 17), random_map(2, 3, 13, 23, seed=1), patch_size, stride, k, window)


def test_matches_brute_force_across_query_tiles():
    check(random_map(1, 2, 40, 55), random_map(1, 2, 37, 41, seed=1), 2, 1, 3, window=9)


def test_given_window_origins():
    query, database = random_map(1, 2, 18, 21), random_map(1, 2, 24, 27, seed=1)
    origin = torch.randint(0, 4, (42, 2), generator=torch.Generator().manual_seed(3))
    check(query, database, 3, 3, 2, window=4, origin=origin)


@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("scale", [1.0, 1e18, 1e-18])
def test_ties_go_to_the_smaller_index(window, scale):
    constant = torch.full((1, 2, 18, 18), 0.3) * scale
    check(constant, constant, 3, 3, 5, window)
    # Few distinct values: many equal patches beside different ones.
    levels = torch.randint(0, 2, (1, 1, 24, 24), generator=torch.Generator().manual_seed(1)).float() * scale
    check(levels, levels, 2, 2, 6, window)


def test_distances_that_float32_cannot_tell_apart():
    database = 1000 + random_map(1, 4, 12, 12) * 1e-3
    query = 1000 + random_map(1, 4, 12, 12, seed=1) * 1e-3
    check(query, database, 3, 3, 5)


def test_nan_and_infinity_have_a_defined_order():
    query, database = random_map(1, 1, 12, 12), random_map(1, 1, 12, 12, seed=1)
    query[..., 4, 4], database[..., 7, 2] = torch.nan, torch.nan
    check(query, database, 3, 3, 16)
    check(query, database, 3, 3, 9, window=3)


def test_a_patch_is_its_own_nearest_neighbour_at_distance_zero():
    image = random_map(1, 8, 33, 40)
    index, distance = patch_knn(image, image, patch_size=3, stride=3, num_neighbors=5, window_size=7)
    assert torch.equal(index[0, :, 0], torch.arange(index.shape[1]))
    assert (distance[..., 0] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_dtypes(dtype):
    _, distance = check(random_map(1, 3, 15, 15, dtype=dtype), random_map(1, 3, 15, 15, seed=1, dtype=dtype), 3, 3, 3)
    assert distance.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


def test_strided_and_channels_last_input_changes_nothing():
    query, database = random_map(1, 4, 30, 30), random_map(1, 4, 30, 30, seed=1)
    plain = patch_knn(query, database, patch_size=3, stride=3, num_neighbors=4)
    last = patch_knn(
        query.to(memory_format=torch.channels_last),
        database.mT.contiguous().mT,
        patch_size=3,
        stride=3,
        num_neighbors=4,
    )
    assert all(torch.equal(a, b) for a, b in zip(plain, last))


def test_centred_windows_contain_each_querys_own_place_at_every_scale():
    query_grid = (27, 41)
    for grid in [(27, 41), (14, 21), (7, 11), (50, 9)]:
        side = min(6, *grid)
        origin = centred_window_origin(query_grid, grid, 6)
        own = torch.cartesian_prod(*[((torch.arange(m) + 0.5) * n / m).floor() for m, n in zip(query_grid, grid)])
        assert ((own >= origin) & (own < origin + side)).all()
        assert (origin >= 0).all()
        assert (origin + side <= torch.tensor(grid)).all()


def test_opcheck():
    origin = centred_window_origin((4, 4), (4, 4), 2)
    for window, places in ((None, None), (2, None), (2, origin)):
        arguments = (random_map(1, 2, 12, 12), random_map(1, 2, 12, 12, seed=1), 3, 3, 2, window, places)
        torch.library.opcheck(torch.ops.msgnn_plugin.patch_knn.default, arguments)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"query": torch.rand(3, 9, 9)}, ValueError, r"`query` must have shape \(B, C, H, W\).*got \(3, 9, 9\)"),
        ({"query": torch.zeros(1, 3, 9, 9, dtype=torch.uint8)}, TypeError, "`query` must be a floating-point"),
        ({"database": torch.rand(1, 4, 9, 9)}, ValueError, r"batch and channels of `query`, \(1, 3\), got \(1, 4\)"),
        ({"database": torch.rand(1, 3, 9, 9).double()}, TypeError, "dtype and device of `query`"),
        ({"patch_size": 0}, ValueError, "`patch_size` must be at least 1, got 0"),
        ({"stride": 0}, ValueError, "`stride` must be at least 1, got 0"),
        ({"num_neighbors": 10}, ValueError, r"`num_neighbors` must be in \[1, 9\].*got 10"),
        ({"num_neighbors": 5, "window_size": 2}, ValueError, r"`num_neighbors` must be in \[1, 4\].*got 5"),
        ({"window_size": 0}, ValueError, "`window_size` must be at least 1 or None, got 0"),
        ({"window_origin": torch.zeros(9, 2, dtype=torch.int64)}, ValueError, "`window_origin` must come with"),
        (
            {"window_size": 2, "window_origin": torch.full((9, 2), 2)},
            ValueError,
            r"`window_origin` must lie in \[0, 1\] x \[0, 1\]",
        ),
        ({"window_size": 2, "window_origin": torch.zeros(9, 2)}, TypeError, "`window_origin` must be int64"),
        (
            {"window_size": 2, "window_origin": torch.zeros(4, 2, dtype=torch.int64)},
            ValueError,
            r"shape \(M, 2\) = \(9, 2\)",
        ),
    ],
)
def test_rejects(change, error, match):
    arguments = {"query": torch.rand(1, 3, 9, 9), "database": torch.rand(1, 3, 9, 9), "patch_size": 3, "stride": 3}
    with pytest.raises(error, match=match):
        patch_knn(**{**arguments, "num_neighbors": 2, **change})
