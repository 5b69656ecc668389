"""What the tests of the trunk's ops share."""

import contextlib

import pytest
import torch

from msgnn_plugin import _extension

COMPILED = _extension.status().startswith("loaded")
# oneDNN's bits may depend on the number of threads, ours must not.
needs_compiled = pytest.mark.skipif(not COMPILED, reason="plain PyTorch promises no bits")

# 2x500 is wider than a strip; 37x53 and 1x1 fill no whole tiles.
SHAPES = [(1, 32, 1, 1), (1, 32, 2, 500), (1, 32, 37, 53), (3, 32, 64, 64)]


def capabilities():
    """Every instruction set; one that the processor lacks falls back to its best. Without the library, one run."""
    return ["portable", "avx2", "avx512"] if COMPILED else ["portable"]


def random_parameters(generator, channels, inputs, kernel, dtype=torch.float32):
    """Weight and bias of a convolution for each number of input channels, scaled to keep the size of values."""
    parameters = []
    for number in inputs:
        weight = torch.randn(channels, number, kernel, kernel, generator=generator)
        parameters.append((weight / (number * kernel * kernel) ** 0.5).to(dtype))
        parameters.append((torch.randn(channels, generator=generator) / 10).to(dtype))
    return parameters


def relative_error(output, expected):
    """Largest error over largest value."""
    return ((output.double() - expected).abs().max() / expected.abs().max()).item()


@contextlib.contextmanager
def threads(count):
    """Run with this many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
