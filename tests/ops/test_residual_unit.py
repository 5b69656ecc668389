"""`residual_unit` against two plain convolutions in float64."""

import pytest
import torch
from torch.nn import functional as F

from msgnn_plugin.ops.residual_unit import residual_unit
from tests.ops.trunk import SHAPES, capabilities, needs_compiled, random_parameters, relative_error, threads

SLOPE = 0.2


def sample(shape=(1, 32, 37, 53), offset=True, gate=True, dtype=torch.float32):
    generator = torch.Generator().manual_seed(sum(shape))
    x, added = (torch.randn(shape, generator=generator).to(dtype) for _ in range(2))
    factors = torch.rand(shape[:2], generator=generator).to(dtype) + 0.5
    parameters = random_parameters(generator, shape[1], (shape[1], shape[1]), 3, dtype)
    return x, added if offset else None, factors if gate else None, *parameters, SLOPE


def expected_map(x, offset, gate, weight1, bias1, weight2, bias2, slope):
    x, weight1, bias1, weight2, bias2 = (t.double() for t in (x, weight1, bias1, weight2, bias2))
    inner = x if offset is None else x + offset.double()
    gated = inner if gate is None else inner * gate.double()[:, :, None, None]
    middle = F.conv2d(gated, weight1, bias1, padding=1)
    middle = torch.where(middle > 0, middle, slope * middle)
    return inner + F.conv2d(middle, weight2, bias2, padding=1)


@pytest.mark.parametrize("capability", capabilities())
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("offset", "gate"), [(True, True), (False, True), (True, False)])
def test_matches_float64(monkeypatch, capability, shape, offset, gate):
    monkeypatch.setenv("MSGNN_CPU_CAPABILITY", capability)
    arguments = sample(shape, offset, gate)
    assert relative_error(residual_unit(*arguments), expected_map(*arguments)) < 3e-6


@pytest.mark.parametrize("capability", capabilities())
@pytest.mark.parametrize("channels", [8, 16, 48, 64])
def test_other_channels(monkeypatch, capability, channels):
    monkeypatch.setenv("MSGNN_CPU_CAPABILITY", capability)
    arguments = sample((2, channels, 9, 14))
    assert relative_error(residual_unit(*arguments), expected_map(*arguments)) < 3e-6


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes(dtype):
    arguments = sample((1, 16, 5, 7), dtype=dtype)
    tolerance = 1e-12 if dtype == torch.float64 else 3e-2
    assert relative_error(residual_unit(*arguments), expected_map(*arguments)) < tolerance


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_layouts_come_out_channels_last(layout):
    x, *rest = sample((2, 32, 6, 11))
    output = residual_unit(x.contiguous(memory_format=layout), *rest)
    assert output.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(residual_unit(F.pad(x, (1, 2, 3, 4))[:, :, 3:-4, 1:-2], *rest), output)


@needs_compiled
@pytest.mark.parametrize("shape", [(1, 32, 61, 300), (3, 32, 20, 21)])
def test_threads_change_no_bit(shape):
    arguments = sample(shape)
    outputs = []
    for count in (1, 2, 7):
        with threads(count):
            outputs.append(residual_unit(*arguments))
    assert torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[0], outputs[2])


def test_images_of_a_batch_do_not_mix():
    x, offset, gate, *rest = sample((3, 32, 10, 9))
    output = residual_unit(x, offset, gate, *rest)
    for b in range(3):
        alone = residual_unit(x[b : b + 1], offset[b : b + 1], gate[b : b + 1], *rest)
        torch.testing.assert_close(output[b : b + 1], alone)


@pytest.mark.parametrize("capability", capabilities())
def test_nan_flows_and_stays_near(monkeypatch, capability):
    monkeypatch.setenv("MSGNN_CPU_CAPABILITY", capability)
    x, *rest = sample((1, 32, 30, 41))
    clean = residual_unit(x, *rest)
    x[0, 3, 12, 20] = float("nan")
    output = residual_unit(x, *rest)
    assert output[0, :, 10:15, 18:23].isnan().all()
    far = torch.ones(30, 41, dtype=torch.bool)
    far[2:23, 10:31] = False
    assert torch.equal(output[0, :, far], clean[0, :, far])


def test_opcheck():
    torch.library.opcheck(torch.ops.msgnn_plugin.residual_unit.default, sample((2, 16, 5, 6)))
    torch.library.opcheck(torch.ops.msgnn_plugin.residual_unit.default, sample((1, 32, 1, 1), False, False))


def test_compiles_without_a_break():
    arguments = sample((1, 32, 7, 8))
    compiled = torch.compile(residual_unit, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(*arguments), residual_unit(*arguments))


@pytest.mark.parametrize(
    ("place", "value", "error", "message"),
    [
        (0, torch.zeros(32, 4, 4), ValueError, r"`maps\[0\]` must have shape \(B, C, H, W\)"),
        (0, torch.zeros(1, 32, 4, 4, dtype=torch.int64), TypeError, r"must be a floating-point tensor"),
        (1, torch.zeros(1, 32, 4, 5), ValueError, r"`offset` must have shape \(1, 32, 37, 53\), got \(1, 32, 4, 5\)"),
        (2, torch.zeros(32), ValueError, r"`gate` must have shape \(1, 32\), got \(32,\)"),
        (3, torch.zeros(32, 32, 5, 5), ValueError, r"`weight1` must have shape \(32, 32, 3, 3\)"),
        (4, torch.zeros(31), ValueError, r"`bias1` must have shape \(32,\)"),
        (5, torch.zeros(32, 16, 3, 3), ValueError, r"`weight2` must have shape"),
        (6, torch.zeros(32, dtype=torch.float64), TypeError, r"`bias2` must have the dtype and device of the maps"),
    ],
)
def test_wrong_arguments(place, value, error, message):
    arguments = list(sample())
    arguments[place] = value
    with pytest.raises(error, match=message):
        residual_unit(*arguments)


def test_gradients_are_refused():
    x, *rest = sample((1, 32, 4, 4))
    x.requires_grad_()
    with pytest.raises(RuntimeError, match=r"for inference only, but one does; call it under torch.no_grad\(\)"):
        residual_unit(x, *rest)
    with torch.no_grad():
        residual_unit(x, *rest)
