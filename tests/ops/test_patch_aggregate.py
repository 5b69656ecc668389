"""`patch_aggregate` against plain loops, and its gradients against finite differences."""

import numpy as np
import pytest
import torch

from msgnn_plugin.ops import patch_aggregate
from tests.ops import naive


def sample(dtype=torch.float64, patch_size=3, stride=2, size=(8, 7)):
    generator = torch.Generator().manual_seed(0)
    database = torch.randn(2, 3, 6, 9, generator=generator).to(dtype)
    m = np.prod(naive.patches(np.zeros((1, *size)), patch_size, stride).shape[:2])
    n = np.prod(naive.patches(database[0].double().numpy(), patch_size, stride).shape[:2])
    index = torch.randint(0, int(n), (2, int(m), 4), generator=generator)
    return database, index, torch.rand(*index.shape, generator=generator).to(dtype)


def expected_map(database, index, weight, patch_size, stride, size):
    """Paste weighted patches one at a time on a padded canvas, then divide by the count."""
    answering = naive.patches(database, patch_size, stride)
    answering = answering.reshape(-1, answering.shape[-1])
    grid = naive.patches(np.zeros((1, *size)), patch_size, stride).shape[:2]
    total = [(n - 1) * stride + patch_size - side for n, side in zip(grid, size)]
    canvas = np.zeros((database.shape[0], size[0] + total[0], size[1] + total[1]))
    count = np.zeros(canvas.shape[1:])
    for m, (places, factors) in enumerate(zip(index, weight)):
        y, x = (m // grid[1]) * stride, (m % grid[1]) * stride
        patch = sum(f * answering[place] for place, f in zip(places, factors))
        canvas[:, y : y + patch_size, x : x + patch_size] += patch.reshape(-1, patch_size, patch_size)
        count[y : y + patch_size, x : x + patch_size] += 1
    mean = canvas / np.maximum(count, 1)
    top, left = total[0] // 2, total[1] // 2
    return mean[:, top : top + size[0], left : left + size[1]]


@pytest.mark.parametrize(("patch_size", "stride"), [(3, 3), (3, 1), (1, 1), (2, 3), (5, 2)])
def test_matches_loops(patch_size, stride):
    size = (8, 7)
    database, index, weight = sample(patch_size=patch_size, stride=stride, size=size)
    output = patch_aggregate(database, index, weight, patch_size=patch_size, stride=stride, output_size=size)
    for b in range(2):
        expected = expected_map(database[b].numpy(), index[b].numpy(), weight[b].numpy(), patch_size, stride, size)
        np.testing.assert_allclose(output[b].numpy(), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("stride", [1, 3, 4])
def test_gradcheck(stride):
    database, index, weight = sample(stride=stride)
    assert torch.autograd.gradcheck(
        lambda d, w: patch_aggregate(d, index, w, patch_size=3, stride=stride, output_size=(8, 7)),
        (database.requires_grad_(), weight.requires_grad_()),
    )


def test_opcheck():
    database, index, weight = sample(torch.float32)
    arguments = (database.requires_grad_(), index, weight.requires_grad_(), 3, 2, 8, 7)
    torch.library.opcheck(torch.ops.msgnn_plugin.patch_aggregate.default, arguments)


def test_gradients_are_the_same_bits_every_time():
    database, index, weight = sample(torch.float32)
    runs = []
    for _ in range(2):
        leaves = (database.clone().requires_grad_(), weight.clone().requires_grad_())
        output = patch_aggregate(leaves[0], index, leaves[1], patch_size=3, stride=2, output_size=(8, 7))
        runs.append(torch.autograd.grad(output.square().sum(), leaves))
    assert all(torch.equal(a, b) for a, b in zip(*runs))


def test_compiles_without_a_break():
    database, index, weight = sample(torch.float32)

    def run(d, w):
        return patch_aggregate(d, index, w, patch_size=3, stride=2, output_size=(8, 7))

    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(database, weight), run(database, weight))


def test_rejects_wrong_arguments():
    database, index, weight = sample()
    with pytest.raises(IndexError, match="patch_aggregate: `index` must lie in"):
        patch_aggregate(database, index - 10, weight, patch_size=3, stride=2, output_size=(8, 7))
    sizes = {"patch_size": 3, "stride": 2, "output_size": (8, 7)}
    with pytest.raises(ValueError, match="`weight` must have the shape of `index`"):
        patch_aggregate(database, index, weight[..., :2], **sizes)
    with pytest.raises(TypeError, match="`weight` must have the dtype and device of `database`"):
        patch_aggregate(database, index, weight.float(), **sizes)
    with pytest.raises(ValueError, match=r"`index` must have shape \(B, M, K\)"):
        patch_aggregate(database, index, weight, **{**sizes, "output_size": (30, 30)})
