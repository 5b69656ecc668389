"""`patch_difference` against plain loops, and its gradients against finite differences."""

import numpy as np
import pytest
import torch

from msgnn_plugin.ops import patch_difference
from tests.ops import naive


def sample(dtype=torch.float64, patch_size=3, stride=2, k=3, channels=2):
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(2, channels, 7, 9, generator=generator).to(dtype)
    database = torch.randn(2, channels, 6, 5, generator=generator).to(dtype)
    grid = [naive.patches(image[0].double().numpy(), patch_size, stride).shape[:2] for image in (query, database)]
    m, n = (rows * columns for rows, columns in grid)
    return query, database, torch.randint(0, n, (2, m, k), generator=generator)


@pytest.mark.parametrize(("patch_size", "stride"), [(3, 3), (3, 1), (1, 1), (2, 3)])
@pytest.mark.parametrize("reduce", ["none", "abs_sum"])
def test_matches_loops(patch_size, stride, reduce):
    query, database, index = sample(patch_size=patch_size, stride=stride)
    output = patch_difference(query, database, index, patch_size=patch_size, stride=stride, reduce=reduce)
    for b in range(2):
        asking = naive.patches(query[b].numpy(), patch_size, stride).reshape(index.shape[1], -1)
        answering = naive.patches(database[b].numpy(), patch_size, stride).reshape(-1, asking.shape[1])
        expected = asking[:, None] - answering[index[b].numpy()]
        if reduce == "abs_sum":
            expected = np.abs(expected).reshape(*expected.shape[:2], 2, -1).sum(-1)
        np.testing.assert_allclose(output[b].numpy(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("reduce", ["none", "abs_sum"])
def test_gradcheck(reduce):
    query, database, index = sample()
    maps = (query.requires_grad_(), database.requires_grad_())
    assert torch.autograd.gradcheck(
        lambda q, d: patch_difference(q, d, index, patch_size=3, stride=2, reduce=reduce), maps
    )


@pytest.mark.parametrize("reduce", ["none", "abs_sum"])
def test_opcheck(reduce):
    query, database, index = sample(torch.float32)
    arguments = (query.requires_grad_(), database.requires_grad_(), index, 3, 2, reduce)
    torch.library.opcheck(torch.ops.msgnn_plugin.patch_difference.default, arguments)


def test_compiles_without_a_break():
    query, database, index = sample(torch.float32)

    def run(q, d):
        return patch_difference(q, d, index, patch_size=3, stride=2)

    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(query, database), run(query, database))


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"reduce": "mean"}, ValueError, "`reduce` must be one of .*got 'mean'"),
        ({"index": torch.zeros(2, 20, 3, dtype=torch.int32)}, TypeError, "`index` must be int64, got torch.int32"),
        ({"index": torch.zeros(2, 7, 3, dtype=torch.int64)}, ValueError, r"\(B, M, K\) = \(2, 12, K >= 1\)"),
    ],
)
def test_rejects(change, error, match):
    query, database, index = sample()
    arguments = {"index": index, "patch_size": 3, "stride": 2, **change}
    with pytest.raises(error, match=match):
        patch_difference(query, database, **arguments)


def test_an_index_outside_the_database_is_an_error():
    query, database, index = sample()
    # 6 is the first place of the next image in the batch.
    for wrong in (6, -1):
        with pytest.raises(IndexError, match=r"patch_difference: `index` must lie in \[0, 5\]"):
            patch_difference(query, database, index.clone().fill_(wrong), patch_size=3, stride=2)
