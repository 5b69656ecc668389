"""Gradients of a convolution's weights and bias, image by image. Ours."""

from collections.abc import Sequence

import torch
from torch import Tensor

from msgnn_plugin.ops.precision import at_least_float32
from msgnn_plugin.ops.trunk_checks import check_inference, check_maps, fits_kernels
from msgnn_plugin.ops.trunk_conv import KERNELS


def conv_weight_gradient(
    maps: Sequence[Tensor], grad: Tensor, kernel_size: int, offset: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    r"""Correlate what a convolution was applied to with the gradient of what it gave.

    .. math:: w_{boiyx} = \sum_{hw} g_{bohw} (x + o)_{b,i,h + y - k // 2,w + x - k // 2}

    One gradient an image, since the gradient of a gate in front of the convolution follows from it.

    Args:
        maps: n maps x of shape (B, C, H, W), floating, that were convolved as if concatenated, with zero padding.
        grad: Gradient g of what the convolution gave, shape (B, C, H, W).
        kernel_size: Side k of the kernel: 3 or 5.
        offset: Map o, added to each map first, or None.

    Returns:
        Gradient of the weights for each image, (B, C, n * C, k, k), and of the bias, (B, C).

    Raises:
        ValueError: If a shape is wrong, ``maps`` is empty, or the kernel is neither.
        TypeError: If a map is not floating, or dtypes or devices differ.
        RuntimeError: If an input requires a gradient and gradients are on.

    Note:
        The compiled op takes float32 on the CPU with C a multiple of 16, and reads Winograd's algorithm backwards: sums
        over tiles stay in the transformed domain. They are made of parts that depend on the size alone, so bits do not
        depend on the number of threads.
    """
    maps = list(maps)
    check_maps("conv_weight_gradient", maps, grad=grad, offset=offset)
    if kernel_size not in KERNELS:
        raise ValueError(f"conv_weight_gradient: `kernel_size` must be one of {KERNELS}, got {kernel_size}.")
    check_inference("conv_weight_gradient", *maps, grad, offset)
    run = _conv_weight_gradient if fits_kernels(maps[0]) else _plain
    return run(maps, grad, kernel_size, offset)


def _plain(maps: list[Tensor], grad: Tensor, kernel_size: int, offset: Tensor | None) -> tuple[Tensor, Tensor]:
    if offset is not None:
        maps = [each + offset for each in maps]
    inputs = torch.cat(maps, dim=1)
    batch, channels = grad.shape[:2]
    shape = channels, inputs.shape[1], kernel_size, kernel_size
    weights = [
        torch.nn.grad.conv2d_weight(inputs[b : b + 1], shape, grad[b : b + 1], padding=kernel_size // 2)
        for b in range(batch)
    ]
    return torch.stack(weights), at_least_float32(grad).sum(dim=(2, 3)).to(grad.dtype)


_conv_weight_gradient = torch.library.custom_op("msgnn_plugin::conv_weight_gradient", _plain, mutates_args=())


@_conv_weight_gradient.register_fake
def _(maps: list[Tensor], grad: Tensor, kernel_size: int, offset: Tensor | None) -> tuple[Tensor, Tensor]:
    batch, channels = grad.shape[:2]
    weight = grad.new_empty(batch, channels, len(maps) * channels, kernel_size, kernel_size)
    return weight, grad.new_empty(batch, channels)
