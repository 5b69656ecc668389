"""Convolutions over bands of rows, for maps that lie where the convolution does not run. Ours."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from msgnn_plugin.ops.norm_conv import moments_of, normalise


def row_bands(height: int, rows: int) -> Iterator[tuple[int, int]]:
    """Yield the first row of each band, and one after its last."""
    for first in range(0, height, rows):
        yield first, min(first + rows, height)


def conv_rows(conv: nn.Conv2d, image: Tensor, first: int, last: int) -> Tensor:
    """Return rows of a 3x3 convolution with zero padding, on the device of its weights.

    Args:
        conv: The convolution.
        image: Map (B, C, H, W) on any device.
        first: First row wanted.
        last: One after the last.

    Returns:
        Map (B, C', last - first, W).
    """
    part = image[:, :, max(first - 1, 0) : last + 1].to(conv.weight.device)
    return _conv_padded(conv, part, first == 0, last == image.shape[2])


def norm_conv_in_bands(
    inner: Tensor, conv: nn.Conv2d, moments: Tensor | None, x: Tensor | None, *, rows: int, eps: float
) -> Tensor:
    """Do what `ops.norm_conv` does in plain PyTorch, a band of rows at a time, where the weights are.

    Args:
        inner: Map (B, C, H, W) on any device. Written to.
        conv: The 3x3 convolution.
        moments: As `norm_conv` takes them.
        x: As `norm_conv` takes it, on any device.
        rows: Rows of a band.
        eps: Added to the variance.

    Returns:
        Mean and variance of ``inner`` as it is now, as `norm_conv` returns them.
    """
    height, device = inner.shape[2], conv.weight.device
    kept, made, parts = None, 0, []
    for first, last in row_bands(height, rows):
        end = min(last + 1, height)
        source = None if moments is None else normalise(inner[:, :, made:end].to(device), moments, eps)
        if x is None:
            source = F.relu(source)
        elif moments is None:
            source = x[:, :, made:end].to(device)
        else:
            source = source.add_(x[:, :, made:end].to(device))
            x[:, :, made:end] = source
        # Two rows are read twice, and by then are written over.
        source = source if kept is None else torch.cat([kept, source], dim=2)
        kept, made = source[:, :, -2:], end
        output = _conv_padded(conv, source, first == 0, last == height)
        inner[:, :, first:last] = output
        parts.append(moments_of(output))
    counts = [last - first for first, last in row_bands(height, rows)]
    return _join(torch.stack(parts), torch.tensor(counts, dtype=torch.float64, device=device))


def _conv_padded(conv: nn.Conv2d, rows: Tensor, above: bool, below: bool) -> Tensor:
    return F.conv2d(F.pad(rows, (0, 0, int(above), int(below))), conv.weight, conv.bias, padding=(0, 1))


def _join(parts: Tensor, counts: Tensor) -> Tensor:
    """Return the moments of everything. Shape: (n, B, 2, C), (n,) -> (B, 2, C)."""
    shares = (counts / counts.sum())[:, None, None]
    means, variances = parts.unbind(2)
    mean = (shares * means).sum(0)
    variance = (shares * (variances + (means - mean).square())).sum(0)
    return torch.stack([mean, variance], dim=1)
