"""A convolution of MSGNN's trunk with what surrounds it in training, forward or backward. Ours."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from msgnn_plugin.ops.trunk_checks import check_inference, check_maps, check_parameter, fits_kernels

KERNELS = (3, 5)


def trunk_conv(
    maps: Sequence[Tensor],
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    offset: Tensor | None = None,
    gate: Tensor | None = None,
    negative_slope: float = 0.2,
    activate: bool = False,
    scale: Tensor | None = None,
    added: Sequence[Tensor] = (),
    scaled: Sequence[Tensor] = (),
    factor: Tensor | None = None,
    total: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    r"""Convolve maps, as if concatenated, and pass the result on in the same go over memory.

    .. math::
        v &= s \odot a(W * (g \odot (x + o)) + b) + \sum_n p_n + f \odot \sum_n q_n \\
        t &\leftarrow t + v, \quad y = a'(m) \odot v

    with the activation a = LeakyReLU where asked for. Forward it is a convolution with bias, activation and residual;
    backward, with the weights' input and output swapped and both axes flipped, it gives a map's gradient.

    Args:
        maps: n maps x of shape (B, C, H, W), floating.
        weight: Shape (C, n * C, k, k), k 3 or 5; zero padding.
        bias: b, shape (C,), or None for 0.
        offset: Map o, added to each map first, or None.
        gate: g, a factor of each input channel, shape (B, C), or None.
        negative_slope: Slope of the activation below 0.
        activate: Whether a is LeakyReLU.
        scale: s, a factor of each output channel, shape (B, C), or None.
        added: Maps p.
        scaled: Maps q; none unless ``factor`` is there.
        factor: f, shape (B, C), or None.
        total: Map t, to which v is added in place, or None. Channels last.
        mask: Map m, a result of LeakyReLU, whose derivative multiplies v; or None.

    Returns:
        Map y of shape (B, C, H, W), channels last.

    Raises:
        ValueError: If a shape is wrong, ``maps`` is empty, or ``scaled`` comes without ``factor``.
        TypeError: If a map is not floating, or dtypes or devices differ.
        RuntimeError: If an input requires a gradient and gradients are on.

    Note:
        The compiled op takes float32 on the CPU with C a multiple of 16, by Winograd's algorithm as `residual_unit`.
    """
    maps, added, scaled = list(maps), list(added), list(scaled)
    others = {f"added[{number}]": each for number, each in enumerate(added)}
    others.update((f"scaled[{number}]", each) for number, each in enumerate(scaled))
    check_maps("trunk_conv", maps, offset=offset, total=total, mask=mask, **others)
    batch, channels = maps[0].shape[:2]
    kernel = weight.shape[-1] if weight.dim() == 4 else 0
    if kernel not in KERNELS:
        raise ValueError(
            f"trunk_conv: `weight` must have shape (C, n * C, k, k) with k one of {KERNELS}, got {tuple(weight.shape)}."
        )
    check_parameter("trunk_conv", "weight", weight, (channels, len(maps) * channels, kernel, kernel), maps[0])
    if bias is not None:
        check_parameter("trunk_conv", "bias", bias, (channels,), maps[0])
    for name, value in (("gate", gate), ("scale", scale), ("factor", factor)):
        if value is not None:
            check_parameter("trunk_conv", name, value, (batch, channels), maps[0])
    if scaled and factor is None:
        raise ValueError("trunk_conv: `factor` must be given with `scaled`, got None.")
    if total is not None and not total.is_contiguous(memory_format=torch.channels_last):
        raise ValueError(f"trunk_conv: `total` must be channels last, got strides {total.stride()}.")
    check_inference("trunk_conv", *maps, weight, bias, offset, gate, scale, *added, *scaled, factor, total, mask)
    run = _trunk_conv if fits_kernels(maps[0]) else _plain
    return run(maps, weight, bias, offset, gate, negative_slope, activate, scale, added, scaled, factor, total, mask)


def _plain(
    maps: list[Tensor],
    weight: Tensor,
    bias: Tensor | None,
    offset: Tensor | None,
    gate: Tensor | None,
    negative_slope: float,
    activate: bool,
    scale: Tensor | None,
    added: list[Tensor],
    scaled: list[Tensor],
    factor: Tensor | None,
    total: Tensor | None,
    mask: Tensor | None,
) -> Tensor:
    if offset is not None:
        maps = [each + offset for each in maps]
    if gate is not None:
        maps = [each * gate[:, :, None, None] for each in maps]
    inputs = torch.cat(maps, dim=1).contiguous(memory_format=torch.channels_last)
    value = F.conv2d(inputs, weight, bias, padding=weight.shape[-1] // 2)
    if activate:
        value = F.leaky_relu(value, negative_slope)
    if scale is not None:
        value = value * scale[:, :, None, None]
    for each in added:
        value = value + each
    for each in scaled:
        value = value + factor[:, :, None, None] * each
    if total is not None:
        total.add_(value)
    if mask is not None:
        value = torch.where(mask > 0, value, value * negative_slope)
    return value.contiguous(memory_format=torch.channels_last)


_trunk_conv = torch.library.custom_op("msgnn_plugin::trunk_conv", _plain, mutates_args=("total",))


@_trunk_conv.register_fake
def _(maps: list[Tensor], *arguments: object) -> Tensor:
    return torch.empty_like(maps[0], memory_format=torch.channels_last)
