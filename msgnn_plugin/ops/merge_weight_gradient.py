"""Gradients of the weights and biases of all 1x1 merges of a dense group at once. Ours."""

from collections.abc import Sequence

import torch
from torch import Tensor

from msgnn_plugin.ops.precision import at_least_float32
from msgnn_plugin.ops.trunk_checks import check_inference, check_maps, fits_kernels


def merge_weight_gradient(
    maps: Sequence[Tensor], grads: Sequence[Tensor], runs: Sequence[tuple[int, int]]
) -> tuple[list[Tensor], Tensor]:
    r"""Multiply gradients of merges with the maps that each of them merged, summed over pixels.

    .. math:: w^{(n)}_{o,(m,i)} = \sum_{bhw} g^{(n)}_{bohw} x^{(m)}_{bihw}

    Merges read mostly the same maps: together they read them once.

    Args:
        maps: Maps x of shape (B, C, H, W), floating.
        grads: Gradient g of what each merge gave, in front of its activation; of the maps' shape.
        runs: Of each merge, the number of its first map and one after its last.

    Returns:
        For each merge the gradient of its weights, (C, (number of its maps) * C), and those of the biases, (merges, C).

    Raises:
        ValueError: If a shape is wrong, ``maps`` or ``grads`` is empty, or a run is empty or not inside the maps.
        TypeError: If a map is not floating, or dtypes or devices differ.
        RuntimeError: If an input requires a gradient and gradients are on.

    Note:
        The compiled op takes float32 on the CPU with C a multiple of 16. It sums over parts that depend on the number
        of pixels alone, so bits do not depend on the number of threads.
    """
    maps, grads = list(maps), list(grads)
    check_maps("merge_weight_gradient", maps, **{f"grads[{number}]": each for number, each in enumerate(grads)})
    if len(grads) < 1 or len(runs) != len(grads):
        raise ValueError(
            f"merge_weight_gradient: `runs` must hold one pair for each of at least one of `grads`, got {len(runs)} "
            f"for {len(grads)}."
        )
    for number, (first, end) in enumerate(runs):
        if not 0 <= first < end <= len(maps):
            raise ValueError(
                f"merge_weight_gradient: `runs[{number}]` must be a first map below an end, both in [0, {len(maps)}], "
                f"got {(first, end)}."
            )
    check_inference("merge_weight_gradient", *maps, *grads)
    run = _merge_weight_gradient if fits_kernels(maps[0]) else _plain
    return run(maps, grads, [first for first, _ in runs], [end for _, end in runs])


def _plain(maps: list[Tensor], grads: list[Tensor], first: list[int], end: list[int]) -> tuple[list[Tensor], Tensor]:
    rows = torch.cat(maps, dim=1).transpose(0, 1).flatten(1)
    channels = maps[0].shape[1]
    weights = [
        grad.transpose(0, 1).flatten(1) @ rows[start * channels : stop * channels].t()
        for grad, start, stop in zip(grads, first, end, strict=True)
    ]
    return weights, torch.stack([at_least_float32(grad).sum(dim=(0, 2, 3)).to(grad.dtype) for grad in grads])


_merge_weight_gradient = torch.library.custom_op("msgnn_plugin::merge_weight_gradient", _plain, mutates_args=())


@_merge_weight_gradient.register_fake
def _(maps: list[Tensor], grads: list[Tensor], first: list[int], end: list[int]) -> tuple[list[Tensor], Tensor]:
    channels = maps[0].shape[1]
    weights = [maps[0].new_empty(channels, (stop - start) * channels) for start, stop in zip(first, end, strict=True)]
    return weights, maps[0].new_empty(len(grads), channels)
