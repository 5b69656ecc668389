"""`patch_difference` against plain loops, forward and backward, on every instruction set."""

import numpy as np
import pytest
import torch

from msgnn_plugin.ops import patch_difference
from tests.ops import gathers

REDUCTIONS = ["none", "abs_sum"]


def sample(dtype=torch.float64, channels=2, patch_size=3, stride=2, k=3, sizes=((7, 9), (6, 5))):
    generator = torch.Generator().manual_seed(0)
    query, database = (torch.randn(2, channels, *size, generator=generator).to(dtype) for size in sizes)
    m, n = (np.prod(gathers.grid(size, patch_size, stride)) for size in sizes)
    return query, database, torch.randint(0, int(n), (2, int(m), k), generator=generator)


def expected(query, database, index, patch_size, stride, reduce, grad=None):
    """Values of one image in float64 and, given their gradient, the gradients of both maps."""
    asking = gathers.flat_patches(query, patch_size, stride)
    answering = gathers.flat_patches(database, patch_size, stride)
    channels, area = query.shape[0], patch_size**2
    values = np.zeros((*index.shape, asking.shape[1]))
    grad_asking, grad_answering = np.zeros_like(asking), np.zeros_like(answering)
    for m, places in enumerate(index.tolist()):
        for k, place in enumerate(places):
            values[m, k] = asking[m] - answering[place]
            if grad is not None:
                pair = grad[m, k].double().numpy()
                if reduce == "abs_sum":
                    pair = np.repeat(pair, area) * np.sign(values[m, k])
                grad_asking[m] += pair
                grad_answering[place] -= pair
    if reduce == "abs_sum":
        values = np.abs(values).reshape(*index.shape, channels, area).sum(-1)
    maps = [
        gathers.paste(patches, image.shape[1:], patch_size, stride)
        for patches, image in ((grad_asking, query), (grad_answering, database))
    ]
    return values, maps


def run(query, database, index, grad=None, **settings):
    """The op and, given the gradient of its values (else ones), both gradients."""
    leaves = [x.detach().requires_grad_() for x in (query, database)]
    output = patch_difference(*leaves, index, **settings)
    grads = torch.autograd.grad(output, leaves, torch.ones_like(output) if grad is None else grad)
    return output.detach(), *grads


def check_against_loops(sizes, channels, patch_size, stride, reduce):
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 3e-5)):
        query, database, index = sample(dtype, channels, patch_size, stride, sizes=sizes)
        width = channels * (patch_size**2 if reduce == "none" else 1)
        grad = torch.randn(*index.shape, width, generator=torch.Generator().manual_seed(1)).to(dtype)
        results = run(query, database, index, grad, patch_size=patch_size, stride=stride, reduce=reduce)
        for b in range(2):
            values, maps = expected(query[b], database[b], index[b], patch_size, stride, reduce, grad[b])
            for result, right in zip(results, (values, *maps)):
                np.testing.assert_allclose(result[b].numpy(), right, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("capability", gathers.CAPABILITIES)
@pytest.mark.parametrize("reduce", REDUCTIONS)
@pytest.mark.parametrize(("channels", "patch_size", "stride"), gathers.SETTINGS)
def test_values_and_gradients_match_loops(monkeypatch, channels, patch_size, stride, reduce, capability):
    monkeypatch.setenv("MSGNN_CPU_CAPABILITY", capability)
    check_against_loops(((7, 9), (6, 5)), channels, patch_size, stride, reduce)


@pytest.mark.parametrize("reduce", REDUCTIONS)
@pytest.mark.parametrize(("channels", "patch_size", "stride"), gathers.WIDE_SETTINGS)
def test_wide_maps_match_loops(channels, patch_size, stride, reduce):
    check_against_loops(gathers.WIDE_SIZES, channels, patch_size, stride, reduce)


@pytest.mark.parametrize("layout", ["channels_last", "cropped", "odd"])
@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_any_layout_gives_the_same_and_keeps_it(layout, reduce):
    for patch_size in (1, 3):  # without and with padding
        query, database, index = sample(torch.float32, 4, patch_size, patch_size, sizes=((7, 7), (7, 7)))
        settings = {"patch_size": patch_size, "stride": patch_size, "reduce": reduce}
        contiguous = run(query, database, index, **settings)
        query, database = gathers.laid_out(query, layout), gathers.laid_out(database, layout)
        results = run(query, database, index, **settings)
        for result, right in zip(results, contiguous):
            torch.testing.assert_close(result, right)
        for grad in results[1:]:
            layout_kept = torch.contiguous_format if layout == "odd" else torch.channels_last
            assert grad.is_contiguous(memory_format=layout_kept)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_half_precisions_are_summed_in_float32(dtype, reduce):
    query, database, index = sample(dtype, channels=4)
    settings = {"patch_size": 3, "stride": 2, "reduce": reduce}
    results = run(query, database, index, **settings)
    for result, right in zip(results, run(query.float(), database.float(), index, **settings)):
        assert result.dtype == dtype
        torch.testing.assert_close(result, right.to(dtype), rtol=0, atol=0)


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_bits_do_not_depend_on_threads(reduce):
    query, database, index = sample(torch.float32, 32, 3, 2, k=5, sizes=((60, 62), (64, 61)))
    assert gathers.same_for_all_threads(lambda: run(query, database, index, patch_size=3, stride=2, reduce=reduce))


def test_runs_in_a_data_loader_worker():
    query, database, index = sample(torch.float32, 32, 3, 2, k=5, sizes=((60, 62), (64, 61)))
    assert gathers.same_in_a_worker(lambda: run(query, database, index, patch_size=3, stride=2))


@pytest.mark.skipif(not gathers.COMPILED, reason="plain PyTorch unfolds the whole map")
@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_maps_beyond_int32(reduce):
    image = gathers.vast_map()
    index = torch.tensor([[[3, 0], [3, 1], [3, 2], [3, 3]]])
    output = patch_difference(image, image, index, patch_size=1, stride=gathers.VAST_SIDE - 1, reduce=reduce)
    right = torch.tensor([[-3.0, 0.0], [-2.0, 0.0], [-1.0, 0.0], [0.0, 0.0]])
    assert torch.equal(output[0, ..., 0], right.abs() if reduce == "abs_sum" else right)


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_nan_reaches_what_it_touches_alone(reduce):
    query, database, index = sample(channels=3, patch_size=1, stride=1)
    query[0, 1, 2, 4] = torch.nan
    output = patch_difference(query, database, index, patch_size=1, stride=1, reduce=reduce)
    wrong = torch.zeros_like(output, dtype=torch.bool)
    wrong[0, 2 * 9 + 4, :, 1] = True
    assert torch.equal(output.isnan(), wrong)


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_gradcheck(reduce):
    query, database, index = sample()
    maps = (query.requires_grad_(), database.requires_grad_())
    assert torch.autograd.gradcheck(
        lambda q, d: patch_difference(q, d, index, patch_size=3, stride=2, reduce=reduce), maps
    )


@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "cropped"])
@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_opcheck(reduce, layout):
    query, database, index = sample(torch.float32)
    query, database = (gathers.laid_out(x, layout).requires_grad_() for x in (query, database))
    torch.library.opcheck(torch.ops.msgnn_plugin.patch_difference.default, (query, database, index, 3, 2, reduce))
    grad = torch.rand(*index.shape, 2 * (9 if reduce == "none" else 1))
    arguments = (grad, query.detach(), database.detach(), index, 3, 2, reduce)
    torch.library.opcheck(torch.ops.msgnn_plugin.patch_difference_backward.default, arguments)


class Difference(torch.nn.Module):
    def forward(self, query, database, index):
        return patch_difference(query, database, index, patch_size=3, stride=2)


def test_compiles_without_a_break():
    query, database, index = sample(torch.float32)
    compiled = torch.compile(Difference(), fullgraph=True, backend="aot_eager")
    leaves = [x.clone().requires_grad_() for x in (query, database)]
    output = compiled(*leaves, index)
    results = (output.detach(), *torch.autograd.grad(output.sum(), leaves))
    for result, right in zip(results, run(query, database, index, patch_size=3, stride=2)):
        torch.testing.assert_close(result, right)


def test_exports():
    arguments = sample(torch.float32)
    exported = torch.export.export(Difference(), arguments).module()
    torch.testing.assert_close(exported(*arguments), Difference()(*arguments))


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"reduce": "mean"}, ValueError, "`reduce` must be one of .*got 'mean'"),
        ({"stride": 0}, ValueError, "`stride` must be at least 1, got 0"),
        ({"index": torch.zeros(2, 20, 3, dtype=torch.int32)}, TypeError, "`index` must be int64, got torch.int32"),
        ({"index": torch.zeros(2, 7, 3, dtype=torch.int64)}, ValueError, r"\(B, M, K\) = \(2, 12, K >= 1\)"),
        ({"database": torch.zeros(2, 2, 6, 5)}, TypeError, "`database` must have the dtype and device of `query`"),
        ({"database": torch.zeros(2, 3, 6, 5).double()}, ValueError, "`database` must have the batch and channels"),
    ],
)
def test_rejects(change, error, match):
    query, database, index = sample()
    arguments = {"query": query, "database": database, "index": index, "patch_size": 3, "stride": 2, **change}
    with pytest.raises(error, match=match):
        patch_difference(**arguments)


def test_an_index_outside_the_database_is_an_error():
    query, database, index = sample()
    # 6 is the first place of the next image in the batch.
    for wrong in (6, -1):
        with pytest.raises(
            IndexError, match=rf"patch_difference: `index` must lie in \[0, 5\].*got {wrong} to {wrong}"
        ):
            patch_difference(query, database, index.clone().fill_(wrong), patch_size=3, stride=2)


@pytest.mark.skipif(not gathers.COMPILED, reason="guards of the compiled kernels")
@pytest.mark.parametrize(
    ("place", "value", "error", "match"),
    [
        (1, torch.zeros(2, 2, 6, 5), TypeError, "`database` must have the dtype of `query`"),
        (1, torch.zeros(2, 3, 6, 5).double(), ValueError, "`database` must have shape"),
        (2, torch.zeros(2, 12, 3, dtype=torch.int32), TypeError, "`index` must be int64"),
        (2, torch.zeros(2, 13, 3, dtype=torch.int64), ValueError, r"`index` must have shape \(B, M, K\) = \(2, 12"),
        (3, 0, ValueError, "`patch_size` must be at least 1"),
        (4, 0, ValueError, "`stride` must be at least 1"),
        (5, "mean", ValueError, "`reduce` must be"),
    ],
)
def test_the_kernels_guard_their_memory(place, value, error, match):
    arguments = [*sample(), 3, 2, "none"]
    arguments[place] = value
    with pytest.raises(error, match=match):
        torch.ops.msgnn_plugin.patch_difference(*arguments)
