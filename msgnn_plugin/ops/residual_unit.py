"""One residual unit of MSGNN's trunk in a single pass, for inference. Section 3.1 of the MSGNN paper (IJCAI 2024)."""

import torch
from torch import Tensor
from torch.nn import functional as F

from msgnn_plugin.ops.trunk_checks import check_inference, check_maps, check_parameter, fits_kernels


def residual_unit(
    x: Tensor,
    offset: Tensor | None,
    gate: Tensor | None,
    weight1: Tensor,
    bias1: Tensor,
    weight2: Tensor,
    bias2: Tensor,
    negative_slope: float,
) -> Tensor:
    r"""Two 3x3 convolutions behind a channel gate, added to their input.

    .. math:: y = \hat x + W_2 * \mathrm{leaky}(W_1 * (g \odot \hat x) + b_1) + b_2, \quad \hat x = x + o

    Args:
        x: Map of shape (B, C, H, W), floating.
        offset: Map added to ``x`` first, of the same shape, or None.
        gate: Factor of each channel in front of the first convolution, shape (B, C), or None.
        weight1: Weights of the first convolution, shape (C, C, 3, 3); zero padding.
        bias1: Its bias, shape (C,).
        weight2: Weights of the second convolution, shape (C, C, 3, 3).
        bias2: Its bias, shape (C,).
        negative_slope: Slope of the activation between them below 0.

    Returns:
        Map of the shape of ``x``, channels last.

    Raises:
        ValueError: If a shape is wrong.
        TypeError: If ``x`` is not floating, or dtypes or devices differ.
        RuntimeError: If an input requires a gradient and gradients are on.

    Note:
        On the CPU in float32, with C a multiple of 16, the compiled op runs Winograd's F(4x4, 3x3) depth-first: the
        map between the convolutions never leaves the cache. Its error is near 1e-6 of the output's maximum, and bits
        do not depend on the number of threads. NaN and infinity reach up to a tile further than by definition.
    """
    check_maps("residual_unit", [x], offset=offset)
    batch, channels = x.shape[:2]
    if gate is not None:
        check_parameter("residual_unit", "gate", gate, (batch, channels), x)
    for name, weight in (("weight1", weight1), ("weight2", weight2)):
        check_parameter("residual_unit", name, weight, (channels, channels, 3, 3), x)
    for name, bias in (("bias1", bias1), ("bias2", bias2)):
        check_parameter("residual_unit", name, bias, (channels,), x)
    check_inference("residual_unit", x, offset, gate, weight1, bias1, weight2, bias2)
    run = _residual_unit if fits_kernels(x) else _plain
    return run(x, offset, gate, weight1, bias1, weight2, bias2, negative_slope)


def _plain(
    x: Tensor,
    offset: Tensor | None,
    gate: Tensor | None,
    weight1: Tensor,
    bias1: Tensor,
    weight2: Tensor,
    bias2: Tensor,
    negative_slope: float,
) -> Tensor:
    if offset is not None:
        x = x + offset
    x = x.contiguous(memory_format=torch.channels_last)
    gated = x if gate is None else x * gate[:, :, None, None]
    middle = F.leaky_relu(F.conv2d(gated, weight1, bias1, padding=1), negative_slope)
    return (x + F.conv2d(middle, weight2, bias2, padding=1)).contiguous(memory_format=torch.channels_last)


_residual_unit = torch.library.custom_op("msgnn_plugin::residual_unit", _plain, mutates_args=())


@_residual_unit.register_fake
def _(x: Tensor, *arguments: object) -> Tensor:
    return torch.empty_like(x, memory_format=torch.channels_last)
