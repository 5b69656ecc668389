"""`conv_weight_gradient` against autograd in float64, image by image."""

import pytest
import torch
from torch.nn import functional as F

from msgnn_plugin.ops.conv_weight_gradient import conv_weight_gradient
from tests.ops.trunk import SHAPES, capabilities, needs_compiled, relative_error, threads


def sample(shape=(2, 32, 17, 23), num_maps=1, dtype=torch.float32):
    generator = torch.Generator().manual_seed(sum(shape))
    *maps, grad, offset = (torch.randn(shape, generator=generator).to(dtype) for _ in range(num_maps + 2))
    return maps, grad, offset


def expected_gradients(maps, grad, kernel, offset):
    weights, biases = [], []
    for image in range(len(grad)):
        x = torch.cat([(each if offset is None else each + offset)[image : image + 1] for each in maps], dim=1)
        weight = torch.zeros(grad.shape[1], x.shape[1], kernel, kernel, dtype=torch.float64, requires_grad=True)
        bias = torch.zeros(grad.shape[1], dtype=torch.float64, requires_grad=True)
        F.conv2d(x.double(), weight, bias, padding=kernel // 2).backward(grad[image : image + 1].double())
        weights.append(weight.grad)
        biases.append(bias.grad)
    return torch.stack(weights), torch.stack(biases)


@pytest.mark.parametrize("capability", capabilities())
@pytest.mark.parametrize("shape", SHAPES)
# Of unrelated maps, the hardest: sums over thousands of pixels cancel to a hundredth of their terms.
@pytest.mark.parametrize(("kernel", "tolerance"), [(3, 5e-6), (5, 3e-5)])
def test_matches_float64(monkeypatch, capability, shape, kernel, tolerance):
    monkeypatch.setenv("MSGNN_CPU_CAPABILITY", capability)
    maps, grad, offset = sample(shape, 2)
    made, expected = (f(maps, grad, kernel, offset) for f in (conv_weight_gradient, expected_gradients))
    assert made[0].shape == expected[0].shape
    assert relative_error(made[0], expected[0]) < tolerance
    assert relative_error(made[1], expected[1]) < 1e-6


@pytest.mark.parametrize("kernel", [3, 5])
def test_maps_that_belong_together(kernel):
    """A gradient that follows its map, as in training, is as near as plain convolutions' is."""
    (x,), noise, _ = sample((2, 32, 64, 64))
    x = x.abs()
    grad = x + noise / 2
    made, expected = (f([x], grad, kernel, None)[0] for f in (conv_weight_gradient, expected_gradients))
    assert relative_error(made, expected) < 2e-6


@pytest.mark.parametrize("capability", capabilities())
@pytest.mark.parametrize("channels", [8, 16, 48])
def test_other_channels(monkeypatch, capability, channels):
    monkeypatch.setenv("MSGNN_CPU_CAPABILITY", capability)
    maps, grad, _ = sample((2, channels, 9, 14))
    assert relative_error(conv_weight_gradient(maps, grad, 3)[0], expected_gradients(maps, grad, 3, None)[0]) < 5e-6


def test_float64_and_strided_maps():
    maps, grad, offset = sample(dtype=torch.float64)
    made, expected = (f(maps, grad, 3, offset) for f in (conv_weight_gradient, expected_gradients))
    assert all(relative_error(a, b) < 1e-12 for a, b in zip(made, expected))
    maps, grad, _ = sample()
    inside = F.pad(maps[0], (1, 2, 3, 4))[:, :, 3:-4, 1:-2]
    for a, b in zip(conv_weight_gradient([inside], grad, 3), conv_weight_gradient(maps, grad, 3)):
        assert torch.equal(a, b)


@needs_compiled
@pytest.mark.parametrize(("shape", "kernel"), [((1, 32, 130, 140), 3), ((3, 32, 41, 70), 5)])
def test_threads_change_no_bit(shape, kernel):
    maps, grad, offset = sample(shape)
    outputs = []
    for count in (1, 2, 7):
        with threads(count):
            outputs.append(conv_weight_gradient(maps, grad, kernel, offset))
    for output in outputs[1:]:
        assert all(map(torch.equal, output, outputs[0]))


def test_opcheck():
    maps, grad, offset = sample((2, 16, 5, 6), 2)
    torch.library.opcheck(torch.ops.msgnn_plugin.conv_weight_gradient.default, (maps, grad, 3, offset))
    torch.library.opcheck(torch.ops.msgnn_plugin.conv_weight_gradient.default, (maps, grad, 5, None))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"maps": []}, ValueError, r"`maps` must hold at least one map, got none"),
        ({"grad": torch.zeros(2, 32, 17, 22)}, ValueError, r"`grad` must have shape \(2, 32, 17, 23\)"),
        ({"offset": torch.zeros(2, 32, 17, 23).double()}, TypeError, r"`offset` must have the dtype and device"),
        ({"kernel_size": 4}, ValueError, r"`kernel_size` must be one of \(3, 5\), got 4"),
    ],
)
def test_wrong_arguments(change, error, message):
    maps, grad, _ = sample()
    with pytest.raises(error, match=message):
        conv_weight_gradient(**{"maps": maps, "grad": grad, "kernel_size": 3, **change})


def test_gradients_are_refused():
    maps, grad, _ = sample()
    with pytest.raises(RuntimeError, match=r"for inference only, but one does; call it under torch.no_grad\(\)"):
        conv_weight_gradient(maps, grad.requires_grad_(), 3)
