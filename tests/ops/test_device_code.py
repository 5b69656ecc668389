"""The GPU kernels' logic, compiled for the CPU (device_code.cpp), on the cases that test the CPU's kernels."""

import ctypes
import itertools
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from msgnn_plugin.ops import centred_window_origin, patch_aggregate, patch_difference
from tests.ops import gathers, naive
from tests.ops.test_patch_knn import KINDS, brute_force, hard_map, random_map

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def device_code(tmp_path_factory):
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    library = tmp_path_factory.mktemp("device_code") / "device_code.so"
    flags = ["-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f"-I{ROOT / 'ops/include'}"]
    subprocess.run([compiler, *flags, str(ROOT / "tests/ops/device_code.cpp"), "-o", str(library)], check=True)
    return ctypes.CDLL(str(library))


def call(function, *arguments):
    """Pass tensors and shapes by address, None as null, numbers as int64."""
    passed = []
    for argument in arguments:
        if isinstance(argument, torch.Tensor):
            assert argument.is_contiguous()
            argument = ctypes.c_void_p(argument.data_ptr())
        elif isinstance(argument, (tuple, torch.Size)):
            argument = (ctypes.c_int64 * len(argument))(*argument)
        else:
            argument = None if argument is None else ctypes.c_int64(argument)
        passed.append(argument)
    function(*passed)


def search(device_code, query, database, patch_size, stride, k, window=0, origin=None):
    query, database = query.contiguous(), database.contiguous()
    places = np.prod(gathers.grid(query.shape[2:], patch_size, stride))
    index = torch.full((query.shape[0], int(places), k), -1)
    distance = torch.full(index.shape, torch.nan, dtype=torch.float64)
    function = device_code.search_double if query.dtype == torch.float64 else device_code.search_float
    sizes = query.shape, database.shape
    call(function, query, sizes[0], database, sizes[1], patch_size, stride, k, window, origin, index, distance)
    return index, distance


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_neighbour_differs_from_float64_on_hard_maps(device_code, kind, dtype):
    generator = torch.Generator().manual_seed(KINDS.index(kind))
    sizes = itertools.cycle([(17, 20), (9, 31), (24, 24), (12, 5)])
    for seed, (patch_size, stride, channels) in enumerate(itertools.product((1, 2, 3, 5), (1, 2, 3), (1, 7))):
        query = hard_map(kind, generator, (1, channels, *next(sizes)), seed).to(dtype)
        database = query if seed % 2 else hard_map(kind, generator, (1, channels, *next(sizes)), seed).to(dtype)
        k = 1 + seed % 4
        index, _ = search(device_code, query, database, patch_size, stride, k)
        np.testing.assert_array_equal(index[0].numpy(), brute_force(query, database, patch_size, stride, k))


@pytest.mark.parametrize(("patch_size", "stride"), [(3, 3), (3, 1), (1, 1), (5, 2), (2, 3)])
def test_windows_match_brute_force(device_code, patch_size, stride):
    query, database = random_map(2, 3, 20, 17), random_map(2, 3, 13, 23, seed=1)
    query_grid, grid = (gathers.grid(image.shape[2:], patch_size, stride) for image in (query, database))
    generator = torch.Generator().manual_seed(3)
    for window in (1, 3):
        origin = torch.stack(
            [torch.randint(0, n - window + 1, (query_grid[0] * query_grid[1],), generator=generator) for n in grid], 1
        ).contiguous()
        for places in (None, centred_window_origin(query_grid, grid, window).contiguous(), origin):
            k = min(4, window**2)
            index, distance = search(device_code, query, database, patch_size, stride, k, window, places)
            for b in range(2):
                expected = naive.knn(
                    query[b].double().numpy(), database[b].double().numpy(), patch_size, stride, k, window,
                    None if places is None else places.tolist(),
                )  # fmt: skip
                np.testing.assert_array_equal(index[b].numpy(), expected)
            assert (distance.diff(dim=-1) >= 0).all()


def test_many_neighbours_and_long_patches(device_code):
    query, database = random_map(1, 3, 40, 31), random_map(1, 3, 33, 45, seed=1)
    index, _ = search(device_code, query, database, 9, 2, 40)
    np.testing.assert_array_equal(index[0].numpy(), brute_force(query, database, 9, 2, 40))


def test_distances_are_those_of_float64(device_code):
    image = random_map(1, 5, 20, 20)
    index, distance = search(device_code, image, random_map(1, 5, 16, 18, seed=1), 3, 2, 6)
    asking = naive.patches(image[0].double().numpy(), 3, 2).reshape(-1, 45)
    answering = naive.patches(random_map(1, 5, 16, 18, seed=1)[0].double().numpy(), 3, 2).reshape(-1, 45)
    expected = np.square(asking[:, None] - answering[index[0].numpy()]).sum(-1)
    np.testing.assert_allclose(distance[0].numpy(), expected, rtol=1e-14)


def gather_sample(channels, patch_size, stride, k=3, sizes=((7, 9), (6, 5))):
    generator = torch.Generator().manual_seed(0)
    query, database = (torch.randn(2, channels, *size, generator=generator, dtype=torch.float64) for size in sizes)
    m, n = (int(np.prod(gathers.grid(size, patch_size, stride))) for size in sizes)
    return query, database, torch.randint(0, n, (2, m, k), generator=generator), generator


@pytest.mark.parametrize("reduce", ["none", "abs_sum"])
@pytest.mark.parametrize(("channels", "patch_size", "stride"), gathers.SETTINGS)
def test_differences_match_the_op(device_code, channels, patch_size, stride, reduce):
    query, database, index, generator = gather_sample(channels, patch_size, stride)
    leaves = query.requires_grad_(), database.requires_grad_()
    expected = patch_difference(*leaves, index, patch_size=patch_size, stride=stride, reduce=reduce)
    grad = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
    results = [torch.full_like(x, torch.nan, requires_grad=False) for x in (expected, query, database)]
    call(
        device_code.differences, query, query.shape, database, database.shape, index, index.shape[2], patch_size,
        stride, int(reduce == "abs_sum"), grad, *results,
    )  # fmt: skip
    for result, right in zip(results, (expected, *torch.autograd.grad(expected, leaves, grad))):
        torch.testing.assert_close(result, right)


@pytest.mark.parametrize(("channels", "patch_size", "stride"), gathers.SETTINGS)
def test_aggregates_match_the_op(device_code, channels, patch_size, stride):
    query, database, index, generator = gather_sample(channels, patch_size, stride)
    weight = torch.rand(index.shape, generator=generator, dtype=torch.float64)
    leaves = database.requires_grad_(), weight.requires_grad_()
    size = tuple(query.shape[2:])
    expected = patch_aggregate(leaves[0], index, leaves[1], patch_size=patch_size, stride=stride, output_size=size)
    grad = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
    results = [torch.full_like(x, torch.nan, requires_grad=False) for x in (expected, database, weight)]
    call(
        device_code.aggregate, database, database.shape, index, weight, index.shape[2], patch_size, stride,
        query.shape, grad, *results,
    )  # fmt: skip
    for result, right in zip(results, (expected, *torch.autograd.grad(expected, leaves, grad))):
        torch.testing.assert_close(result, right)
