"""`merge_weight_gradient` against autograd in float64, merge by merge."""

import pytest
import torch
from torch.nn import functional as F

from msgnn_plugin.ops.merge_weight_gradient import merge_weight_gradient
from tests.ops.trunk import SHAPES, capabilities, needs_compiled, relative_error, threads

RUNS = [(1, 4), (0, 3), (0, 1)]


def sample(shape=(2, 32, 17, 23), dtype=torch.float32):
    generator = torch.Generator().manual_seed(sum(shape))
    maps = [torch.randn(shape, generator=generator).to(dtype) for _ in range(7)]
    return maps[:4], maps[4:], RUNS


def expected_gradients(maps, grads, runs):
    weights, biases = [], []
    for grad, (first, end) in zip(grads, runs):
        x = torch.cat(maps[first:end], dim=1).double()
        weight = torch.zeros(grad.shape[1], x.shape[1], 1, 1, dtype=torch.float64, requires_grad=True)
        bias = torch.zeros(grad.shape[1], dtype=torch.float64, requires_grad=True)
        F.conv2d(x, weight, bias).backward(grad.double())
        weights.append(weight.grad[:, :, 0, 0])
        biases.append(bias.grad)
    return weights, torch.stack(biases)


def assert_near(made, expected, tolerance):
    for a, b in zip([*made[0], made[1]], [*expected[0], expected[1]], strict=True):
        assert a.shape == b.shape
        assert relative_error(a, b) < tolerance


@pytest.mark.parametrize("capability", capabilities())
@pytest.mark.parametrize("shape", [*SHAPES, (2, 16, 9, 14), (1, 48, 5, 5), (2, 8, 5, 5)])
def test_matches_float64(monkeypatch, capability, shape):
    monkeypatch.setenv("MSGNN_CPU_CAPABILITY", capability)
    arguments = sample(shape)
    assert_near(merge_weight_gradient(*arguments), expected_gradients(*arguments), 3e-6)


def test_float64_and_strided_maps():
    arguments = sample(dtype=torch.float64)
    assert_near(merge_weight_gradient(*arguments), expected_gradients(*arguments), 1e-12)
    maps, grads, runs = sample()
    inside = [F.pad(each, (1, 2, 3, 4))[:, :, 3:-4, 1:-2] for each in maps]
    made, expected = merge_weight_gradient(inside, grads, runs), merge_weight_gradient(maps, grads, runs)
    assert all(map(torch.equal, made[0], expected[0]))


@needs_compiled
def test_threads_change_no_bit():
    outputs = []
    for count in (1, 2, 7):
        with threads(count):
            weights, biases = merge_weight_gradient(*sample((3, 32, 50, 70)))
            outputs.append([*weights, biases])
    for output in outputs[1:]:
        assert all(map(torch.equal, output, outputs[0]))


def test_opcheck():
    maps, grads, runs = sample((2, 16, 5, 6))
    first, end = zip(*runs)
    arguments = maps, grads, list(first), list(end)
    torch.library.opcheck(torch.ops.msgnn_plugin.merge_weight_gradient.default, arguments)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"maps": []}, ValueError, r"`maps` must hold at least one map, got none"),
        ({"grads": []}, ValueError, r"`runs` must hold one pair for each of at least one of `grads`, got 3 for 0"),
        ({"grads": [torch.zeros(2, 32, 17, 22)] * 3}, ValueError, r"`grads\[0\]` must have shape \(2, 32, 17, 23\)"),
        ({"runs": RUNS[:2]}, ValueError, r"got 2 for 3"),
        ({"runs": [(0, 5), *RUNS[1:]]}, ValueError, r"`runs\[0\]` must be a first map below an end, both in \[0, 4\]"),
        ({"runs": [*RUNS[:2], (2, 2)]}, ValueError, r"`runs\[2\]` must be .* got \(2, 2\)"),
    ],
)
def test_wrong_arguments(change, error, message):
    maps, grads, runs = sample()
    with pytest.raises(error, match=message):
        merge_weight_gradient(**{"maps": maps, "grads": grads, "runs": runs, **change})


def test_gradients_are_refused():
    maps, grads, runs = sample()
    with pytest.raises(RuntimeError, match=r"for inference only, but one does; call it under torch.no_grad\(\)"):
        merge_weight_gradient([maps[0].requires_grad_(), *maps[1:]], grads, runs)
