"""MSGNN's 1x1 merges without the concatenation, for inference. Section 3.1 of the MSGNN paper (IJCAI 2024)."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from msgnn_plugin.ops.precision import at_least_float32
from msgnn_plugin.ops.trunk_checks import check_inference, check_maps, check_parameter, fits_kernels


def dense_merge(
    maps: Sequence[Tensor], weight: Tensor, bias: Tensor, negative_slope: float, offset: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    r"""Convolve maps, as if concatenated, by 1x1 with activation; sum the squares of the result, which a gate needs.

    .. math:: m = \mathrm{leaky}(W [x_1, \ldots, x_n] + b), \quad e_{bc} = \sum_{hw} (m_{bchw} + o_{bchw})^2

    Args:
        maps: n maps of shape (B, C, H, W), floating.
        weight: Shape (C, n * C, 1, 1).
        bias: Shape (C,).
        negative_slope: Slope of the activation below 0.
        offset: Map added before squaring, of the same shape, or None for 0; it is not in the merged map.

    Returns:
        The merged map, of the maps' shape, channels last; and its energy (B, C), float32 (float64 of float64 maps).

    Raises:
        ValueError: If a shape is wrong or ``maps`` is empty.
        TypeError: If a map is not floating, or dtypes or devices differ.
        RuntimeError: If an input requires a gradient and gradients are on.

    Note:
        The compiled op takes float32 on the CPU with C a multiple of 16. It sums squares in float64 over fixed parts
        of a map, so bits do not depend on the number of threads.
    """
    maps = list(maps)
    check_maps("dense_merge", maps, offset=offset)
    channels = maps[0].shape[1]
    check_parameter("dense_merge", "weight", weight, (channels, len(maps) * channels, 1, 1), maps[0])
    check_parameter("dense_merge", "bias", bias, (channels,), maps[0])
    check_inference("dense_merge", *maps, weight, bias, offset)
    run = _dense_merge if fits_kernels(maps[0]) else _plain
    return run(maps, weight, bias, negative_slope, offset)


def _plain(
    maps: list[Tensor], weight: Tensor, bias: Tensor, negative_slope: float, offset: Tensor | None
) -> tuple[Tensor, Tensor]:
    merged = F.leaky_relu(F.conv2d(torch.cat(maps, dim=1), weight, bias), negative_slope)
    energy = at_least_float32(merged if offset is None else merged + offset).square().sum(dim=(2, 3))
    return merged.contiguous(memory_format=torch.channels_last), energy


_dense_merge = torch.library.custom_op("msgnn_plugin::dense_merge", _plain, mutates_args=())


@_dense_merge.register_fake
def _(maps: list[Tensor], *arguments: object) -> tuple[Tensor, Tensor]:
    merged = torch.empty_like(maps[0], memory_format=torch.channels_last)
    return merged, at_least_float32(maps[0].new_empty(maps[0].shape[:2]))
