"""`dense_merge` against a plain convolution of the concatenation in float64."""

import pytest
import torch
from torch.nn import functional as F

from msgnn_plugin.ops.dense_merge import dense_merge
from tests.ops.trunk import SHAPES, capabilities, needs_compiled, random_parameters, relative_error, threads

SLOPE = 0.2


def sample(shape=(1, 32, 37, 53), num_maps=3, offset=True, dtype=torch.float32):
    generator = torch.Generator().manual_seed(sum(shape) + num_maps)
    *maps, added = (torch.randn(shape, generator=generator).to(dtype) for _ in range(num_maps + 1))
    parameters = random_parameters(generator, shape[1], (num_maps * shape[1],), 1, dtype)
    return maps, *parameters, SLOPE, added if offset else None


def expected_results(maps, weight, bias, slope, offset):
    merged = F.conv2d(torch.cat(maps, dim=1).double(), weight.double(), bias.double())
    merged = torch.where(merged > 0, merged, slope * merged)
    return merged, (merged if offset is None else merged + offset.double()).square().sum(dim=(2, 3))


@pytest.mark.parametrize("capability", capabilities())
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("num_maps", "offset"), [(1, True), (2, False), (12, True)])
def test_matches_float64(monkeypatch, capability, shape, num_maps, offset):
    monkeypatch.setenv("MSGNN_CPU_CAPABILITY", capability)
    arguments = sample(shape, num_maps, offset)
    for output, expected in zip(dense_merge(*arguments)[:2], expected_results(*arguments)):
        assert relative_error(output, expected) < 1e-6


@pytest.mark.parametrize("capability", capabilities())
@pytest.mark.parametrize("channels", [8, 16, 48, 64])
def test_other_channels(monkeypatch, capability, channels):
    monkeypatch.setenv("MSGNN_CPU_CAPABILITY", capability)
    arguments = sample((2, channels, 9, 14))
    for output, expected in zip(dense_merge(*arguments)[:2], expected_results(*arguments)):
        assert relative_error(output, expected) < 1e-6


@pytest.mark.parametrize("capability", capabilities())
@pytest.mark.parametrize("shape", [(1, 32, 1, 1), (2, 32, 11, 13), (1, 48, 2, 90)])
def test_later_merges_take_up_the_sums(monkeypatch, capability, shape):
    monkeypatch.setenv("MSGNN_CPU_CAPABILITY", capability)
    channels = shape[1]
    maps, weight, *rest = sample(shape, 5)
    first = sample(shape, 2)[1]
    second = torch.randn_like(weight)
    ends = weight[:, : 2 * channels], second[:, : 2 * channels]
    merged, _, shares = dense_merge(maps[:2], first, *rest, later=ends)
    assert relative_error(merged, expected_results(maps[:2], first, *rest)[0]) < 1e-6
    for whole, share in zip((weight, second), shares, strict=True):
        output, energy, _ = dense_merge(maps[2:], whole[:, 2 * channels :], *rest, sums=share)
        expected, expected_energy = expected_results(maps, whole, *rest)
        assert relative_error(output, expected) < 1e-6
        assert relative_error(energy, expected_energy) < 1e-6


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes(dtype):
    arguments = sample((1, 16, 5, 7), dtype=dtype)
    merged, energy, _ = dense_merge(*arguments)
    assert merged.dtype == dtype
    assert energy.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    for output, expected in zip((merged, energy), expected_results(*arguments)):
        assert relative_error(output, expected) < (1e-12 if dtype == torch.float64 else 3e-2)


def test_energy_of_a_large_map_keeps_its_digits():
    # Summed in float32 one after the other, these 160,000 squares would lose the third digit.
    shape = (1, 16, 400, 400)
    weight, bias = torch.zeros(16, 16, 1, 1), torch.full((16,), 0.1)
    _, energy, _ = dense_merge([torch.zeros(shape)], weight, bias, SLOPE)
    assert relative_error(energy, torch.full((1, 16), 160_000 * float(bias[0]) ** 2, dtype=torch.float64)) < 1e-7


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_layouts_come_out_channels_last(layout):
    maps, *rest = sample((2, 32, 6, 11))
    merged, energy, _ = dense_merge([one.contiguous(memory_format=layout) for one in maps], *rest)
    assert merged.is_contiguous(memory_format=torch.channels_last)
    again = dense_merge([F.pad(one, (1, 2, 3, 4))[:, :, 3:-4, 1:-2] for one in maps], *rest)
    torch.testing.assert_close(again[:2], (merged, energy))


@needs_compiled
@pytest.mark.parametrize("shape", [(1, 32, 61, 300), (3, 32, 20, 21)])
def test_threads_change_no_bit(shape):
    arguments = sample(shape)
    outputs = []
    for count in (1, 2, 7):
        with threads(count):
            outputs.append(dense_merge(*arguments))
    for merged, energy, _ in outputs[1:]:
        assert torch.equal(merged, outputs[0][0])
        assert torch.equal(energy, outputs[0][1])


@pytest.mark.parametrize("capability", capabilities())
def test_nan_flows(monkeypatch, capability):
    monkeypatch.setenv("MSGNN_CPU_CAPABILITY", capability)
    maps, *rest = sample((2, 32, 6, 7))
    maps[1][1, 5, 2, 3] = float("nan")
    merged, energy, _ = dense_merge(maps, *rest)
    expected = torch.zeros(2, 6, 7, dtype=torch.bool)
    expected[1, 2, 3] = True
    assert torch.equal(merged.isnan().all(dim=1), expected)
    assert torch.equal(merged.isnan().any(dim=1), expected)
    assert energy[1].isnan().all()
    assert not energy[0].isnan().any()


def test_opcheck():
    arguments = sample((2, 16, 5, 6))
    later = [arguments[1] * 2, arguments[1] * 3]
    op = torch.ops.msgnn_plugin.dense_merge.default
    torch.library.opcheck(op, (*arguments, torch.zeros(2, 16, 5, 6), later))
    torch.library.opcheck(op, (*sample((1, 32, 1, 1), 1, False), None, []))


def test_compiles_without_a_break():
    arguments = sample((1, 32, 7, 8))
    compiled = torch.compile(dense_merge, fullgraph=True, backend="aot_eager")
    for a, b in zip(compiled(*arguments)[:2], dense_merge(*arguments)[:2]):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("place", "value", "error", "message"),
    [
        (0, [], ValueError, r"`maps` must hold at least one map, got none"),
        (0, [torch.zeros(1, 32, 4, 4), torch.zeros(1, 32, 4, 5)], ValueError, r"`maps\[1\]` must have shape"),
        (0, [torch.zeros(1, 32, 4, 4)], ValueError, r"`offset` must have shape \(1, 32, 4, 4\)"),
        (1, torch.zeros(32, 64, 1, 1), ValueError, r"`weight` must have shape \(32, 96, 1, 1\), got \(32, 64, 1, 1\)"),
        (2, torch.zeros(1), ValueError, r"`bias` must have shape \(32,\)"),
        (4, torch.zeros(1, 32, 37, 53).bfloat16(), TypeError, r"`offset` must have the dtype and device of the maps"),
    ],
)
def test_wrong_arguments(place, value, error, message):
    arguments = list(sample())
    arguments[place] = value
    with pytest.raises(error, match=message):
        dense_merge(*arguments)


def test_wrong_later_merges():
    arguments = sample()
    with pytest.raises(ValueError, match=r"`later\[1\]` must have shape \(32, 96, 1, 1\), got \(32, 64, 1, 1\)"):
        dense_merge(*arguments, later=[arguments[1], arguments[1][:, :64]])
    with pytest.raises(ValueError, match=r"`sums` must have shape \(1, 32, 37, 53\), got \(1, 32, 37, 52\)"):
        dense_merge(*arguments, sums=arguments[0][0][..., 1:])


def test_gradients_are_refused():
    maps, weight, *rest = sample((1, 32, 4, 4))
    with pytest.raises(RuntimeError, match=r"for inference only, but one does; call it under torch.no_grad\(\)"):
        dense_merge(maps, torch.nn.Parameter(weight), *rest)
