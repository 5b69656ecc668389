"""`patch_aggregate` against plain loops, forward and backward, on every instruction set."""

import numpy as np
import pytest
import torch

from msgnn_plugin.ops import patch_aggregate
from tests.ops import gathers


def sample(dtype=torch.float64, channels=3, patch_size=3, stride=2, k=4, size=(8, 7), database_size=(6, 9)):
    generator = torch.Generator().manual_seed(0)
    database = torch.randn(2, channels, *database_size, generator=generator).to(dtype)
    m, n = (np.prod(gathers.grid(x, patch_size, stride)) for x in (size, database_size))
    index = torch.randint(0, int(n), (2, int(m), k), generator=generator)
    return database, index, torch.rand(*index.shape, generator=generator).to(dtype)


def expected(database, index, weight, grad, patch_size, stride):
    """Map of one image in float64, and the gradients of database and weight."""
    size = grad.shape[1:]
    answering = gathers.flat_patches(database, patch_size, stride)
    count = gathers.count(size, patch_size, stride)
    grad_patches = gathers.flat_patches(grad.double() / torch.from_numpy(count), patch_size, stride)
    patches, grad_answering = np.zeros_like(grad_patches), np.zeros_like(answering)
    grad_weight = np.zeros(index.shape)
    for m, (places, factors) in enumerate(zip(index.tolist(), weight.tolist())):
        for k, (place, factor) in enumerate(zip(places, factors)):
            patches[m] += factor * answering[place]
            grad_answering[place] += factor * grad_patches[m]
            grad_weight[m, k] = grad_patches[m] @ answering[place]
    output = gathers.paste(patches, size, patch_size, stride) / count
    return output, gathers.paste(grad_answering, database.shape[1:], patch_size, stride), grad_weight


def run(database, index, weight, grad=None, **settings):
    """The op and, given the gradient of its map (else ones), both gradients."""
    leaves = [x.detach().requires_grad_() for x in (database, weight)]
    output = patch_aggregate(leaves[0], index, leaves[1], **settings)
    grads = torch.autograd.grad(output, leaves, torch.ones_like(output) if grad is None else grad)
    return output.detach(), *grads


def check_against_loops(size, database_size, channels, patch_size, stride):
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-4)):
        database, index, weight = sample(dtype, channels, patch_size, stride, size=size, database_size=database_size)
        grad = torch.randn(2, channels, *size, generator=torch.Generator().manual_seed(1)).to(dtype)
        results = run(database, index, weight, grad, patch_size=patch_size, stride=stride, output_size=size)
        for b in range(2):
            for result, right in zip(results, expected(database[b], index[b], weight[b], grad[b], patch_size, stride)):
                np.testing.assert_allclose(result[b].numpy(), right, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("capability", gathers.CAPABILITIES)
@pytest.mark.parametrize(("channels", "patch_size", "stride"), gathers.SETTINGS)
def test_values_and_gradients_match_loops(monkeypatch, channels, patch_size, stride, capability):
    monkeypatch.setenv("MSGNN_CPU_CAPABILITY", capability)
    check_against_loops((8, 7), (6, 9), channels, patch_size, stride)


@pytest.mark.parametrize(("channels", "patch_size", "stride"), gathers.WIDE_SETTINGS)
def test_wide_maps_match_loops(channels, patch_size, stride):
    check_against_loops(*gathers.WIDE_SIZES, channels, patch_size, stride)


def test_pixels_that_no_patch_covers_are_zero_and_get_no_gradient():
    database, index, weight = sample(patch_size=2, stride=5, size=(7, 7), database_size=(7, 7))
    output, grad, _ = run(database, index, weight, patch_size=2, stride=5, output_size=(7, 7))
    assert output[..., 2:5, :].abs().max() == output[..., 2:5].abs().max() == 0
    assert grad[..., 2:5, :].abs().max() == grad[..., 2:5].abs().max() == 0


@pytest.mark.parametrize("layout", ["channels_last", "cropped", "odd"])
def test_any_layout_gives_the_same_and_keeps_it(layout):
    for patch_size, stride in ((1, 1), (3, 3), (3, 2)):
        database, index, weight = sample(torch.float32, 4, patch_size, stride, size=(8, 7), database_size=(6, 9))
        grad = torch.rand(2, 4, 8, 7)
        settings = {"patch_size": patch_size, "stride": stride, "output_size": (8, 7)}
        contiguous = run(database, index, weight, grad, **settings)
        results = run(gathers.laid_out(database, layout), index, weight, gathers.laid_out(grad, layout), **settings)
        for result, right in zip(results, contiguous):
            torch.testing.assert_close(result, right)
        for result in results[:2]:
            layout_kept = torch.contiguous_format if layout == "odd" else torch.channels_last
            assert result.is_contiguous(memory_format=layout_kept)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("stride", [2, 3])
def test_half_precisions_are_summed_in_float32(dtype, stride):
    database, index, weight = sample(dtype, stride=stride)
    settings = {"patch_size": 3, "stride": stride, "output_size": (8, 7)}
    for result, right in zip(
        run(database, index, weight, **settings), run(database.float(), index, weight.float(), **settings)
    ):
        assert result.dtype == dtype
        torch.testing.assert_close(result, right.to(dtype), rtol=0, atol=0)


def test_bits_do_not_depend_on_threads():
    database, index, weight = sample(torch.float32, 32, k=5, size=(60, 62), database_size=(64, 61))
    grad = torch.randn(2, 32, 60, 62, generator=torch.Generator().manual_seed(1))
    settings = {"patch_size": 3, "stride": 2, "output_size": (60, 62)}
    assert gathers.same_for_all_threads(lambda: run(database, index, weight, grad, **settings))


def test_runs_in_a_data_loader_worker():
    database, index, weight = sample(torch.float32, 32, k=5, size=(60, 62), database_size=(64, 61))
    settings = {"patch_size": 3, "stride": 2, "output_size": (60, 62)}
    assert gathers.same_in_a_worker(lambda: run(database, index, weight, **settings))


@pytest.mark.skipif(not gathers.COMPILED, reason="plain PyTorch unfolds the whole map")
def test_maps_beyond_int32():
    index = torch.tensor([[[3, 0], [2, 1]]])
    weight = torch.tensor([[[1.0, 10.0]]]).expand(1, 2, 2)
    settings = {"patch_size": 1, "stride": gathers.VAST_SIDE - 1, "output_size": (1, gathers.VAST_SIDE)}
    output = patch_aggregate(gathers.vast_map(), index, weight, **settings)
    assert output[0, 0, 0, [0, -1]].tolist() == [14, 23]


def test_gradients_are_the_same_bits_every_time():
    database, index, weight = sample(torch.float32)
    runs = [run(database, index, weight, patch_size=3, stride=2, output_size=(8, 7)) for _ in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(*runs))


def test_nan_reaches_what_it_touches_alone():
    database, index, weight = sample(patch_size=1, stride=1)
    database[0, 1, 3, 2] = torch.nan
    output = patch_aggregate(database, index, weight, patch_size=1, stride=1, output_size=(8, 7))
    wrong = torch.zeros_like(output, dtype=torch.bool)
    wrong[0, 1] = (index[0] == 3 * 9 + 2).any(-1).view(8, 7)
    assert wrong.any()
    assert torch.equal(output.isnan(), wrong)


@pytest.mark.parametrize("stride", [1, 3, 4])
def test_gradcheck(stride):
    database, index, weight = sample(stride=stride)
    assert torch.autograd.gradcheck(
        lambda d, w: patch_aggregate(d, index, w, patch_size=3, stride=stride, output_size=(8, 7)),
        (database.requires_grad_(), weight.requires_grad_()),
    )


@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "cropped"])
def test_opcheck(layout):
    database, index, weight = sample(torch.float32)
    database = gathers.laid_out(database, layout)
    arguments = (database.requires_grad_(), index, weight.requires_grad_(), 3, 2, 8, 7)
    torch.library.opcheck(torch.ops.msgnn_plugin.patch_aggregate.default, arguments)
    arguments = (torch.rand(2, 3, 8, 7), database.detach(), index, weight.detach(), 3, 2)
    torch.library.opcheck(torch.ops.msgnn_plugin.patch_aggregate_backward.default, arguments)


class Aggregate(torch.nn.Module):
    def forward(self, database, index, weight):
        return patch_aggregate(database, index, weight, patch_size=3, stride=2, output_size=(8, 7))


def test_compiles_without_a_break():
    database, index, weight = sample(torch.float32)
    compiled = torch.compile(Aggregate(), fullgraph=True, backend="aot_eager")
    leaves = [x.clone().requires_grad_() for x in (database, weight)]
    output = compiled(leaves[0], index, leaves[1])
    results = (output.detach(), *torch.autograd.grad(output.sum(), leaves))
    for result, right in zip(results, run(database, index, weight, patch_size=3, stride=2, output_size=(8, 7))):
        torch.testing.assert_close(result, right)


def test_exports():
    arguments = sample(torch.float32)
    exported = torch.export.export(Aggregate(), arguments).module()
    torch.testing.assert_close(exported(*arguments), Aggregate()(*arguments))


def test_rejects_wrong_arguments():
    database, index, weight = sample()
    sizes = {"patch_size": 3, "stride": 2, "output_size": (8, 7)}
    for wrong in (-1, 12):
        with pytest.raises(
            IndexError, match=rf"patch_aggregate: `index` must lie in \[0, 11\].*got {wrong} to {wrong}"
        ):
            patch_aggregate(database, index.clone().fill_(wrong), weight, **sizes)
    with pytest.raises(ValueError, match="`weight` must have the shape of `index`"):
        patch_aggregate(database, index, weight[..., :2], **sizes)
    with pytest.raises(TypeError, match="`weight` must have the dtype and device of `database`"):
        patch_aggregate(database, index, weight.float(), **sizes)
    with pytest.raises(ValueError, match=r"`index` must have shape \(B, M, K\)"):
        patch_aggregate(database, index, weight, **{**sizes, "output_size": (30, 30)})


@pytest.mark.skipif(not gathers.COMPILED, reason="guards of the compiled kernels")
@pytest.mark.parametrize(
    ("place", "value", "error", "match"),
    [
        (1, torch.zeros(2, 12, 4, dtype=torch.int32), TypeError, "`index` must be int64"),
        (1, torch.zeros(2, 13, 4, dtype=torch.int64), ValueError, "`weight` must have shape"),
        (2, torch.zeros(2, 12, 4), TypeError, "`weight` must have the dtype of `database`"),
        (3, 0, ValueError, "`patch_size` must be at least 1"),
        (4, 0, ValueError, "`stride` must be at least 1"),
        (5, 30, ValueError, r"`index` must have shape \(B, M, K\)"),
    ],
)
def test_the_kernels_guard_their_memory(place, value, error, match):
    arguments = [*sample(), 3, 2, 8, 7]
    arguments[place] = value
    with pytest.raises(error, match=match):
        torch.ops.msgnn_plugin.patch_aggregate(*arguments)
