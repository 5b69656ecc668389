"""Energies of a map's channels without a copy of the map, for inference (ours)."""

import torch
from torch import Tensor

from msgnn_plugin.ops.precision import at_least_float32
from msgnn_plugin.ops.trunk_checks import check_inference, check_maps, fits_kernels


def channel_energy(x: Tensor, offset: Tensor | None = None) -> Tensor:
    r"""Sum the squares of each channel, which a gate needs.

    .. math:: e_{bc} = \sum_{hw} (x_{bchw} + o_{bchw})^2

    Args:
        x: Map of shape (B, C, H, W), floating.
        offset: Map added before squaring, of the same shape, or None for 0.

    Returns:
        Shape (B, C), float32 (float64 of float64 maps).

    Raises:
        ValueError: If a shape is wrong.
        TypeError: If ``x`` is not floating, or dtypes or devices differ.
        RuntimeError: If an input requires a gradient and gradients are on.

    Note:
        The compiled op takes float32 on the CPU with C a multiple of 16. It sums in float64 over fixed parts of a map,
        so bits do not depend on the number of threads.
    """
    check_maps("channel_energy", [x], offset=offset)
    check_inference("channel_energy", x, offset)
    return (_channel_energy if fits_kernels(x) else _plain)(x, offset)


def _plain(x: Tensor, offset: Tensor | None) -> Tensor:
    return at_least_float32(x if offset is None else x + offset).square().sum(dim=(2, 3))


_channel_energy = torch.library.custom_op("msgnn_plugin::channel_energy", _plain, mutates_args=())


@_channel_energy.register_fake
def _(x: Tensor, offset: Tensor | None) -> Tensor:
    return at_least_float32(x.new_empty(x.shape[:2]))
