"""Changes of size inside the networks: the binomial pyramid and padding up to a smallest side."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)


def _reflect(position: Tensor, size: int) -> Tensor:
    """Fold positions into [0, size), mirrored about the border pixels' centres (OpenCV's reflect-101)."""
    period = position.new_full((), 2 * (size - 1)).clamp_min(1)
    position = position.remainder(period)
    return torch.minimum(position, period - position)


def pyramid_down(image: Tensor) -> Tensor:
    """Blur with the 5-tap binomial kernel and keep every second pixel, as OpenCV's ``pyrDown``.

    Args:
        image: Shape (B, C, H, W), any H and W from 1 up.

    Returns:
        Shape (B, C, (H + 1) // 2, (W + 1) // 2); differentiable.
    """
    channels = image.shape[1]
    taps = image.new_tensor(BINOMIAL)
    for dim in (2, 3):
        size = image.shape[dim]
        position = torch.arange(-2, size + 2, device=image.device)
        padded = image.index_select(dim, _reflect(position, size))
        kernel = taps.view(1, 1, -1, 1) if dim == 2 else taps.view(1, 1, 1, -1)
        stride = (2, 1) if dim == 2 else (1, 2)
        image = F.conv2d(padded, kernel.expand(channels, 1, -1, -1), stride=stride, groups=channels)
    return image


def gaussian_pyramid(image: Tensor, scales: Sequence[int]) -> list[Tensor]:
    """Return the image at each scale (1, 2, 4, ... = full, half, quarter, ...), in the order of ``scales``.

    Args:
        image: Shape (B, C, H, W).
        scales: Powers of two.

    Returns:
        One tensor a scale; the same float values as repeated ``cv2.pyrDown`` up to rounding.
    """
    levels = {1: image}
    scale = 1
    while scale < max(scales, default=1):
        levels[2 * scale] = pyramid_down(levels[scale])
        scale *= 2
    return [levels[scale] for scale in scales]


def pad_to_side(image: Tensor, side: int) -> Tensor:
    """Extend below and to the right until both sides reach ``side`` pixels: by reflection, then by replication.

    Args:
        image: Shape (B, C, H, W).
        side: Smallest allowed side in pixels.

    Returns:
        Shape (B, C, max(H, side), max(W, side)); the image itself where nothing is missing.
    """
    for dim in (2, 3):
        image = _extend(image, dim, torch.sym_max(image.shape[dim], side))
    return image


def pad_to_multiple(image: Tensor, factor: int) -> Tensor:
    """Extend below and to the right until both sides are multiples: by reflection, then by replication.

    Args:
        image: Shape (B, C, H, W).
        factor: What both sides shall be multiples of, in pixels.

    Returns:
        Shape (B, C, ceil(H / factor) * factor, ceil(W / factor) * factor); the image itself where nothing is missing.
    """
    for dim in (2, 3):
        image = _extend(image, dim, (image.shape[dim] + factor - 1) // factor * factor)
    return image


def _extend(image: Tensor, dim: int, side: int) -> Tensor:
    """Extend one dimension to ``side`` pixels, no fewer than it has."""
    size = image.shape[dim]
    # An exported program serves images that lack something and those that do not.
    if not torch.compiler.is_exporting() and size >= side:
        return image
    position = torch.arange(side, device=image.device)
    mirrored = (2 * (size - 1) - position).clamp_min(0)
    return image.index_select(dim, torch.where(position < size, position, mirrored))
