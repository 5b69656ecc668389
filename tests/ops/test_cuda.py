"""The GPU's kernels against the CPU's. How to run them: CONTRIBUTING.md, "Prove the CUDA kernels"."""

import pytest
import torch

from msgnn_plugin import _extension
from msgnn_plugin.ops import patch_aggregate, patch_difference, patch_knn
from tests.ops import gathers, test_patch_aggregate, test_patch_difference
from tests.ops.test_patch_knn import KINDS, hard_map, random_map

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"),
    pytest.mark.skipif(
        torch.cuda.is_available() and not _extension.cuda_status().startswith("loaded"),
        reason=f"CUDA kernels: {_extension.cuda_status()}",
    ),
]
LAYOUTS = ["contiguous", "channels_last", "cropped", "odd"]


def on_gpu(values):
    return [value.cuda() if isinstance(value, torch.Tensor) else value for value in values]


def check_search(query, database, **settings):
    expected = patch_knn(query, database, **settings)
    if settings.get("window_origin") is not None:
        settings["window_origin"] = settings["window_origin"].cuda()
    index, distance = patch_knn(query.cuda(), database.cuda(), **settings)
    assert torch.equal(index.cpu(), expected[0])
    assert distance.dtype == expected[1].dtype
    torch.testing.assert_close(distance.cpu(), expected[1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_no_neighbour_differs_on_hard_maps(kind, dtype):
    generator = torch.Generator().manual_seed(KINDS.index(kind))
    for seed, (patch_size, stride) in enumerate([(1, 1), (2, 1), (3, 2), (3, 3), (5, 2), (9, 4)]):
        query = hard_map(kind, generator, (2, 7, 34, 41), seed).to(dtype)
        database = query if seed % 2 else hard_map(kind, generator, (2, 7, 29, 52), seed).to(dtype)
        check_search(query, database, patch_size=patch_size, stride=stride, num_neighbors=1 + seed)


@pytest.mark.parametrize("window", [3, 8, 30])
def test_windows(window):
    query, database = random_map(2, 5, 40, 47), random_map(2, 5, 44, 39, seed=1)
    settings = {"patch_size": 3, "stride": 2, "num_neighbors": 5, "window_size": window}
    check_search(query, database, **settings)
    origin = torch.randint(0, 3, (20 * 23, 2), generator=torch.Generator().manual_seed(2))
    if window < 20:
        check_search(query, database, window_origin=origin.clamp(max=19 - window), **settings)


def test_many_neighbours_long_patches_and_many_tiles():
    image = random_map(1, 32, 160, 161)
    check_search(image, image, patch_size=3, stride=1, num_neighbors=64, window_size=30)
    check_search(image, image, patch_size=9, stride=3, num_neighbors=32)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_searched_maps(layout):
    image = gathers.laid_out(random_map(2, 6, 30, 33), layout)
    expected = patch_knn(image, image, patch_size=3, stride=3, num_neighbors=4)
    moved = gathers.laid_out(image.cuda(), layout)
    assert torch.equal(patch_knn(moved, moved, patch_size=3, stride=3, num_neighbors=4)[0].cpu(), expected[0])


def check_gather(run, arguments, grad, tolerance, **settings):
    expected = run(*arguments, grad, **settings)
    results = run(*on_gpu(arguments), grad.cuda(), **settings)
    for result, right in zip(results, expected, strict=True):
        assert result.dtype == right.dtype
        torch.testing.assert_close(result.cpu(), right, rtol=tolerance, atol=tolerance)
    return results


@pytest.mark.parametrize("reduce", test_patch_difference.REDUCTIONS)
@pytest.mark.parametrize(("channels", "patch_size", "stride"), gathers.SETTINGS)
def test_differences(channels, patch_size, stride, reduce):
    settings = {"patch_size": patch_size, "stride": stride, "reduce": reduce}
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 3e-5), (torch.bfloat16, 2e-2)):
        arguments = test_patch_difference.sample(dtype, channels, patch_size, stride, sizes=((37, 29), (26, 35)))
        grad = torch.randn_like(patch_difference(*arguments, **settings))
        check_gather(test_patch_difference.run, arguments, grad, tolerance, **settings)


@pytest.mark.parametrize(("channels", "patch_size", "stride"), gathers.SETTINGS)
def test_aggregates(channels, patch_size, stride):
    settings = {"patch_size": patch_size, "stride": stride, "output_size": (37, 29)}
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-4), (torch.bfloat16, 2e-2)):
        arguments = test_patch_aggregate.sample(
            dtype, channels, patch_size, stride, size=(37, 29), database_size=(26, 35)
        )
        grad = torch.randn_like(patch_aggregate(*arguments, **settings))
        check_gather(test_patch_aggregate.run, arguments, grad, tolerance, **settings)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_gathered_maps(layout):
    kept = torch.channels_last if layout in ("channels_last", "cropped") else torch.contiguous_format
    query, database, index = test_patch_difference.sample(torch.float32, 4, 3, 2)
    laid = [gathers.laid_out(image.cuda(), layout) for image in (query, database)]
    grad = torch.randn_like(patch_difference(query, database, index, patch_size=3, stride=2))
    expected = test_patch_difference.run(query, database, index, grad, patch_size=3, stride=2)
    results = test_patch_difference.run(*laid, index.cuda(), grad.cuda(), patch_size=3, stride=2)
    for result, right in zip(results, expected):
        torch.testing.assert_close(result.cpu(), right)
    assert all(result.is_contiguous(memory_format=kept) for result in results[1:])


def test_the_same_bits_every_time():
    settings = {"patch_size": 3, "stride": 1}
    query, database, index = on_gpu(
        test_patch_difference.sample(torch.float32, 32, 3, 1, k=5, sizes=((64, 64), (64, 64)))
    )
    weight = torch.rand(index.shape, device="cuda")
    runs = [
        (
            *test_patch_difference.run(query, database, index, reduce="abs_sum", **settings),
            *test_patch_aggregate.run(database, index, weight, output_size=(64, 64), **settings),
            *patch_knn(query, database, num_neighbors=5, window_size=9, **settings),
        )
        for _ in range(3)
    ]
    for other in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], other, strict=True))


def test_work_goes_to_the_current_stream():
    image = random_map(1, 8, 96, 96)
    expected = patch_knn(image, image, patch_size=3, stride=3, num_neighbors=3)[0]
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        moved = image.cuda()
        torch.cuda._sleep(100_000_000)  # what does not wait for it reads zeros
        late = torch.zeros_like(moved).copy_(moved)
        index = patch_knn(late, late, patch_size=3, stride=3, num_neighbors=3)[0]
    stream.synchronize()
    assert torch.equal(index.cpu(), expected)


def test_opcheck():
    maps = [random_map(1, 2, 12, 12, seed=seed).cuda() for seed in (0, 1)]
    torch.library.opcheck(torch.ops.msgnn_plugin.patch_knn.default, (*maps, 3, 3, 2, 2, None))
    arguments = on_gpu(test_patch_difference.sample(torch.float32))
    for tensor in arguments[:2]:
        tensor.requires_grad_()
    torch.library.opcheck(torch.ops.msgnn_plugin.patch_difference.default, (*arguments, 3, 2, "abs_sum"))
    database, index, weight = on_gpu(test_patch_aggregate.sample(torch.float32))
    arguments = (database.requires_grad_(), index, weight.requires_grad_(), 3, 2, 8, 7)
    torch.library.opcheck(torch.ops.msgnn_plugin.patch_aggregate.default, arguments)


def test_wrong_arguments_are_errors_not_crashes():
    database, index, weight = on_gpu(test_patch_aggregate.sample())
    for wrong in (-1, 12):
        with pytest.raises(RuntimeError, match=rf"`index` must lie in \[0, 11\].*got {wrong} to {wrong}"):
            torch.ops.msgnn_plugin.patch_aggregate(database, index.clone().fill_(wrong), weight, 3, 2, 8, 7)
    with pytest.raises(RuntimeError, match="`stride` must be at least 1, got 0"):
        torch.ops.msgnn_plugin.patch_aggregate(database, index, weight, 3, 0, 8, 7)
    with pytest.raises(RuntimeError, match=r"`num_neighbors` must be in \[1, 4\]"):
        torch.ops.msgnn_plugin.patch_knn(database, database, 3, 3, 99, 4, None)
