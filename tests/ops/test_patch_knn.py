"""`patch_knn` against a float64 brute force."""

import itertools

import numpy as np
import pytest
import torch

from msgnn_plugin import _extension
from msgnn_plugin.ops import centred_window_origin, patch_knn
from tests.ops import naive

CAPABILITIES = ("portable", "avx2", "avx512", "avx512_vnni")


@pytest.fixture(params=CAPABILITIES)
def capability(request, monkeypatch):
    """Every instruction set in turn; one that the processor lacks gives way to the best it has."""
    monkeypatch.setenv("MSGNN_CPU_CAPABILITY", request.param)


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
def test_matches_brute_force(capability, patch_size, stride, window):
    k = 1 if window == 1 else 4
    check(random_map(2, 3, 20, 17), random_map(2, 3, 13, 23, seed=1), patch_size, stride, k, window)


def test_matches_brute_force_across_query_tiles(capability):
    check(random_map(1, 2, 40, 55), random_map(1, 2, 37, 41, seed=1), 2, 1, 3, window=9)


def test_given_window_origins(capability):
    query, database = random_map(1, 2, 18, 21), random_map(1, 2, 24, 27, seed=1)
    origin = torch.randint(0, 4, (42, 2), generator=torch.Generator().manual_seed(3))
    check(query, database, 3, 3, 2, window=4, origin=origin)


@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("scale", [1.0, 1e18, 1e-18])
def test_ties_go_to_the_smaller_index(capability, window, scale):
    constant = torch.full((1, 2, 18, 18), 0.3) * scale
    check(constant, constant, 3, 3, 5, window)
    # Few distinct values: many equal patches beside different ones.
    levels = torch.randint(0, 2, (1, 1, 24, 24), generator=torch.Generator().manual_seed(1)).float() * scale
    check(levels, levels, 2, 2, 6, window)


def test_distances_that_float32_cannot_tell_apart(capability):
    database = 1000 + random_map(1, 4, 12, 12) * 1e-3
    query = 1000 + random_map(1, 4, 12, 12, seed=1) * 1e-3
    check(query, database, 3, 3, 5)


def test_nan_and_infinity_have_a_defined_order(capability):
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
def test_other_dtypes(capability, dtype):
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


def hard_map(kind, generator, shape, seed):
    """Maps that mislead a search in low precision."""
    noise = torch.randn(shape, generator=generator)
    if kind == "constant":
        return torch.full(shape, 0.3)
    if kind == "few levels":
        return torch.randint(0, 3, shape, generator=generator).float()
    if kind == "repeated":
        return noise[..., :4, :4].repeat(1, 1, shape[2] // 4 + 1, shape[3] // 4 + 1)[..., : shape[2], : shape[3]]
    if kind == "offset":
        return 1000 + noise * 1e-3
    if kind == "huge":
        return noise * 1e30
    if kind == "tiny":
        return noise * 1e-30
    if kind == "mixed sizes":
        return noise * torch.pow(10.0, torch.randint(-3, 4, shape, generator=generator).float())
    if kind == "outlier":
        noise[0, 0, seed % shape[2], seed % shape[3]] = 1e12
        return noise
    if kind == "smooth":
        rows, columns = torch.meshgrid(torch.arange(shape[2]), torch.arange(shape[3]), indexing="ij")
        return (rows * 1e-4 + columns * 1e-5 + 0.5).expand(shape) + noise * 1e-7
    if kind == "not finite":
        noise[torch.rand(shape, generator=generator) < 0.02] = (torch.nan, torch.inf, -torch.inf)[seed % 3]
    return noise


KINDS = (
    "random", "constant", "few levels", "repeated", "offset", "huge", "tiny", "mixed sizes", "outlier", "smooth",
    "not finite",
)  # fmt: skip


def brute_force(query, database, patch_size, stride, k):
    asking = naive.patches(query[0].double().numpy(), patch_size, stride)
    answering = naive.patches(database[0].double().numpy(), patch_size, stride)
    asking, answering = asking.reshape(-1, asking.shape[-1]), answering.reshape(-1, answering.shape[-1])
    with np.errstate(all="ignore"):
        distance = np.square(asking[:, None] - answering[None]).sum(-1)
    distance[np.isnan(distance)] = np.inf
    return np.argsort(distance, axis=1, kind="stable")[:, :k]


@pytest.mark.parametrize("kind", KINDS)
def test_no_neighbour_differs_from_float64_on_hard_maps(capability, kind):
    """With 4 instruction sets and 11 kinds, 1,056 cases."""
    generator = torch.Generator().manual_seed(KINDS.index(kind))
    sizes = itertools.cycle([(17, 20), (9, 31), (24, 24), (12, 5)])
    for seed, (patch_size, stride, channels) in enumerate(itertools.product((1, 2, 3, 5), (1, 2, 3), (1, 7))):
        query = hard_map(kind, generator, (1, channels, *next(sizes)), seed)
        database = query if seed % 2 else hard_map(kind, generator, (1, channels, *next(sizes)), seed)
        k = 1 + seed % 4
        index, _ = patch_knn(query, database, patch_size=patch_size, stride=stride, num_neighbors=k)
        np.testing.assert_array_equal(index[0].numpy(), brute_force(query, database, patch_size, stride, k))


def test_many_neighbours_and_long_patches(capability):
    query, database = random_map(1, 3, 40, 31), random_map(1, 3, 33, 45, seed=1)
    index, _ = patch_knn(query, database, patch_size=9, stride=2, num_neighbors=32)
    np.testing.assert_array_equal(index[0].numpy(), brute_force(query, database, 9, 2, 32))
    wide = random_map(1, 700, 20, 20)
    index, _ = patch_knn(wide, wide, patch_size=9, stride=4, num_neighbors=9)
    np.testing.assert_array_equal(index[0].numpy(), brute_force(wide, wide, 9, 4, 9))


def test_threads_do_not_change_a_bit(capability):
    image = random_map(2, 8, 90, 81)
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2, 7):
            torch.set_num_threads(count)
            results.append(patch_knn(image, image, patch_size=3, stride=2, num_neighbors=5, window_size=15))
    finally:
        torch.set_num_threads(threads)
    for index, distance in results[1:]:
        assert torch.equal(index, results[0][0])
        assert torch.equal(distance, results[0][1])


def test_layouts_of_memory_do_not_matter(capability):
    image = random_map(2, 6, 30, 33)
    wanted = patch_knn(image, image, patch_size=3, stride=3, num_neighbors=4)
    wide = random_map(2, 8, 40, 43)
    wide[:, 1:7, 5:35, 4:37] = image
    channels_last = wide.contiguous(memory_format=torch.channels_last)
    for same in (wide[:, 1:7, 5:35, 4:37], channels_last[:, 1:7, 5:35, 4:37], image.mT.contiguous().mT):
        index, distance = patch_knn(same, same, patch_size=3, stride=3, num_neighbors=4)
        assert torch.equal(index, wanted[0])
        assert torch.equal(distance, wanted[1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, 3, 17, None, None), r"`num_neighbors` must be in \[1, 16\]"),
        ((3, 3, 5, 2, None), r"`num_neighbors` must be in \[1, 4\]"),
        ((0, 3, 1, None, None), "`patch_size` must be at least 1"),
        ((3, 3, 1, 0, None), "`window_size` must be at least 1"),
        ((3, 3, 1, 2, torch.full((16, 2), 3)), r"`window_origin` must lie in \[0, 2\] x \[0, 2\]"),
        ((3, 3, 1, 2, torch.full((16, 2), -1)), "to stay in the grid"),
        ((3, 3, 1, 2, torch.zeros(4, 2, dtype=torch.int64)), "`window_origin` must have shape"),
    ],
)
@pytest.mark.skipif(not _extension.LOADED, reason="compiled ops are not loaded")
def test_the_compiled_op_itself_refuses_what_would_leave_the_maps(arguments, message):
    """A compiled program calls it without the Python side's checks of values."""
    image = random_map(1, 2, 12, 12)
    with pytest.raises(ValueError, match=message):
        torch.ops.msgnn_plugin.patch_knn.default(image, image, *arguments)
