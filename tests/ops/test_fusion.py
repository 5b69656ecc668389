"""`fusion` against two plain convolutions of the concatenation in float64."""

import pytest
import torch
from torch.nn import functional as F

from msgnn_plugin.ops.fusion import fusion
from tests.ops.trunk import SHAPES, capabilities, needs_compiled, random_parameters, relative_error, threads

SLOPE = 0.2


def sample(shape=(1, 32, 37, 53), num_maps=5, kernel=5, dtype=torch.float32):
    generator = torch.Generator().manual_seed(sum(shape) + num_maps)
    maps = [torch.randn(shape, generator=generator).to(dtype) for _ in range(num_maps)]
    channels = shape[1]
    return maps, *random_parameters(generator, channels, (num_maps * channels, channels), kernel, dtype), SLOPE


def expected_map(maps, weight1, bias1, weight2, bias2, slope, last_activation=True):
    output, padding = torch.cat(maps, dim=1).double(), weight1.shape[-1] // 2
    for weight, bias, active in ((weight1, bias1, True), (weight2, bias2, last_activation)):
        output = F.conv2d(output, weight.double(), bias.double(), padding=padding)
        if active:
            output = torch.where(output > 0, output, slope * output)
    return output


@pytest.mark.parametrize("capability", capabilities())
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("num_maps", "kernel", "last_activation"), [(5, 5, True), (2, 5, False), (1, 3, True)])
def test_matches_float64(monkeypatch, capability, shape, num_maps, kernel, last_activation):
    monkeypatch.setenv("MSGNN_CPU_CAPABILITY", capability)
    arguments = sample(shape, num_maps, kernel)
    error = relative_error(fusion(*arguments, last_activation), expected_map(*arguments, last_activation))
    assert error < (2e-6 if kernel == 3 else 1e-5)


@pytest.mark.parametrize("capability", capabilities())
@pytest.mark.parametrize("channels", [8, 16, 48])
def test_other_channels(monkeypatch, capability, channels):
    monkeypatch.setenv("MSGNN_CPU_CAPABILITY", capability)
    arguments = sample((2, channels, 9, 14), 2)
    assert relative_error(fusion(*arguments), expected_map(*arguments)) < 1e-5


def test_other_dtypes():
    arguments = sample((1, 16, 5, 7), dtype=torch.float64)
    assert relative_error(fusion(*arguments), expected_map(*arguments)) < 1e-12


def test_layouts_come_out_channels_last():
    maps, *rest = sample((2, 32, 6, 11))
    output = fusion(maps, *rest)
    assert output.is_contiguous(memory_format=torch.channels_last)
    again = fusion([one.contiguous(memory_format=torch.channels_last) for one in maps], *rest)
    torch.testing.assert_close(again, output)


@needs_compiled
@pytest.mark.parametrize("shape", [(1, 32, 41, 300), (3, 32, 20, 21)])
def test_threads_change_no_bit(shape):
    arguments = sample(shape, 2)
    outputs = []
    for count in (1, 2, 7):
        with threads(count):
            outputs.append(fusion(*arguments))
    assert torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[0], outputs[2])


@pytest.mark.parametrize("capability", capabilities())
def test_nan_flows_and_stays_near(monkeypatch, capability):
    monkeypatch.setenv("MSGNN_CPU_CAPABILITY", capability)
    maps, *rest = sample((1, 32, 40, 51), 2)
    clean = fusion(maps, *rest)
    maps[1][0, 3, 18, 25] = float("nan")
    output = fusion(maps, *rest)
    assert output[0, :, 14:23, 21:30].isnan().all()
    far = torch.ones(40, 51, dtype=torch.bool)
    far[4:33, 11:40] = False
    assert torch.equal(output[0, :, far], clean[0, :, far])


def test_opcheck():
    torch.library.opcheck(torch.ops.msgnn_plugin.fusion.default, (*sample((2, 16, 5, 6), 2), False))
    torch.library.opcheck(torch.ops.msgnn_plugin.fusion.default, (*sample((1, 32, 1, 1), 1, 3), True))


def test_compiles_without_a_break():
    arguments = sample((1, 32, 7, 8), 2)
    compiled = torch.compile(fusion, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(*arguments), fusion(*arguments))


@pytest.mark.parametrize(
    ("place", "value", "error", "message"),
    [
        (0, [], ValueError, r"`maps` must hold at least one map, got none"),
        (0, [torch.zeros(1, 32, 4, 4)] * 4, ValueError, r"`weight1` must have shape \(32, 128, 5, 5\)"),
        (1, torch.zeros(32, 160, 7, 7), ValueError, r"with k one of \(3, 5\), got \(32, 160, 7, 7\)"),
        (1, torch.zeros(32), ValueError, r"with k one of \(3, 5\), got \(32,\)"),
        (3, torch.zeros(32, 32, 3, 3), ValueError, r"`weight2` must have shape \(32, 32, 5, 5\), got \(32, 32, 3, 3\)"),
        (4, torch.zeros(32).double(), TypeError, r"`bias2` must have the dtype and device of the maps"),
    ],
)
def test_wrong_arguments(place, value, error, message):
    arguments = list(sample())
    arguments[place] = value
    with pytest.raises(error, match=message):
        fusion(*arguments)


def test_gradients_are_refused():
    maps, weight1, *rest = sample((1, 32, 4, 4), 2)
    with pytest.raises(RuntimeError, match=r"for inference only, but one does; call it under torch.no_grad\(\)"):
        fusion(maps, torch.nn.Parameter(weight1), *rest)
