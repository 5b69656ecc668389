"""MSGNN's 1x1 merges without the concatenation, for inference. Section 3.1 of the MSGNN paper (IJCAI 2024)."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from msgnn_plugin.ops.precision import at_least_float32
from msgnn_plugin.ops.trunk_checks import check_inference, check_maps, check_parameter, fits_kernels


def dense_merge(
    maps: Sequence[Tensor],
    weight: Tensor,
    bias: Tensor,
    negative_slope: float,
    offset: Tensor | None = None,
    *,
    sums: Tensor | None = None,
    later: Sequence[Tensor] = (),
) -> tuple[Tensor, Tensor, list[Tensor]]:
    r"""Convolve maps, as if concatenated, by 1x1 with activation; sum the squares of the result, which a gate needs.

    .. math:: m = \mathrm{leaky}(W [x_1, \ldots, x_n] + b + s), \quad e_{bc} = \sum_{hw} (m_{bchw} + o_{bchw})^2

    Reading the maps takes longer than the arithmetic. Merges that come later read the same maps again and a few more,
    so what these maps give them can be summed now: ``later`` asks for it, and ``sums`` hands it to the later call.

    Args:
        maps: n maps of shape (B, C, H, W), floating.
        weight: Shape (C, n * C, 1, 1).
        bias: Shape (C,).
        negative_slope: Slope of the activation below 0.
        offset: Map added before squaring, of the same shape, or None for 0; it is not in the merged map.
        sums: What earlier calls have summed of this merge's other maps, of the same shape, or None for 0.
        later: Weights of later merges for these maps, each of shape (C, n * C, 1, 1).

    Returns:
        The merged map, of the maps' shape, channels last; its energy (B, C), float32 (float64 of float64 maps); and
        for each of ``later`` the maps' convolution by it, without bias and activation, channels last.

    Raises:
        ValueError: If a shape is wrong or ``maps`` is empty.
        TypeError: If a map is not floating, or dtypes or devices differ.
        RuntimeError: If an input requires a gradient and gradients are on.

    Note:
        The compiled op takes float32 on the CPU with C a multiple of 16. It sums squares in float64 over fixed parts
        of a map, so bits do not depend on the number of threads.
    """
    maps, later = list(maps), list(later)
    check_maps("dense_merge", maps, offset=offset, sums=sums)
    channels = maps[0].shape[1]
    shape = (channels, len(maps) * channels, 1, 1)
    check_parameter("dense_merge", "weight", weight, shape, maps[0])
    for number, other in enumerate(later):
        check_parameter("dense_merge", f"later[{number}]", other, shape, maps[0])
    check_parameter("dense_merge", "bias", bias, (channels,), maps[0])
    check_inference("dense_merge", *maps, weight, bias, offset, sums, *later)
    run = _dense_merge if fits_kernels(maps[0]) else _plain
    return run(maps, weight, bias, negative_slope, offset, sums, later)


def _plain(
    maps: list[Tensor],
    weight: Tensor,
    bias: Tensor,
    negative_slope: float,
    offset: Tensor | None,
    sums: Tensor | None,
    later: list[Tensor],
) -> tuple[Tensor, Tensor, list[Tensor]]:
    inputs = torch.cat(maps, dim=1)
    merged = F.conv2d(inputs, weight, bias)
    merged = F.leaky_relu(merged if sums is None else merged + sums, negative_slope)
    energy = at_least_float32(merged if offset is None else merged + offset).square().sum(dim=(2, 3))
    shares = [F.conv2d(inputs, other).contiguous(memory_format=torch.channels_last) for other in later]
    return merged.contiguous(memory_format=torch.channels_last), energy, shares


_dense_merge = torch.library.custom_op("msgnn_plugin::dense_merge", _plain, mutates_args=())


@_dense_merge.register_fake
def _(maps: list[Tensor], *arguments: object) -> tuple[Tensor, Tensor, list[Tensor]]:
    later = arguments[-1]
    merged, *shares = (torch.empty_like(maps[0], memory_format=torch.channels_last) for _ in range(1 + len(later)))
    return merged, at_least_float32(maps[0].new_empty(maps[0].shape[:2])), shares
