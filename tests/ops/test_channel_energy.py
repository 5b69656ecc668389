"""`channel_energy` against sums of squares in float64."""

import pytest
import torch

from msgnn_plugin.ops.channel_energy import channel_energy
from tests.ops.trunk import SHAPES, needs_compiled, relative_error, threads


def sample(shape, dtype=torch.float32):
    generator = torch.Generator().manual_seed(sum(shape))
    return [torch.randn(shape, generator=generator).to(dtype) for _ in range(2)]


@pytest.mark.parametrize("shape", [*SHAPES, (2, 48, 33, 70), (1, 8, 5, 6)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_matches_float64(shape, dtype):
    x, offset = sample(shape, dtype)
    energy = channel_energy(x)
    assert energy.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert relative_error(energy, x.double().square().sum((2, 3))) < 1e-6
    together = (x + offset).double().square().sum((2, 3))
    assert relative_error(channel_energy(x, offset), together) < 1e-6


@needs_compiled
def test_bits_do_not_depend_on_threads_or_layout():
    x, offset = sample((2, 32, 61, 83))
    with threads(1):
        expected = channel_energy(x, offset)
    for count in (2, 7):
        with threads(count):
            assert torch.equal(channel_energy(x, offset), expected)
            assert torch.equal(channel_energy(x.contiguous(memory_format=torch.channels_last), offset), expected)


def test_not_a_number_stays_in_its_channel():
    x, _ = sample((1, 32, 9, 9))
    x[0, 3, 4, 4] = torch.nan
    assert torch.isnan(channel_energy(x)).nonzero().tolist() == [[0, 3]]


def test_opcheck():
    x, offset = sample((1, 32, 5, 7))
    torch.library.opcheck(torch.ops.msgnn_plugin.channel_energy, (x, offset))


def test_rejects_wrong_arguments():
    x, offset = sample((1, 32, 5, 7))
    with pytest.raises(ValueError, match=r"`offset` must have shape \(1, 32, 5, 7\), got \(1, 32, 5, 6\)"):
        channel_energy(x, offset[..., :6])
    with pytest.raises(TypeError, match="`offset` must have the dtype and device of the maps"):
        channel_energy(x, offset.double())
    with pytest.raises(RuntimeError, match="for inference only"):
        channel_energy(x.requires_grad_())
