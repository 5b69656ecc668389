"""Two convolutions in a row in training, forward and backward on the trunk's compiled ops (ours)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from msgnn_plugin.layers.map_stack import NEGATIVE_SLOPE
from msgnn_plugin.ops.conv_weight_gradient import conv_weight_gradient
from msgnn_plugin.ops.trunk_conv import trunk_conv


def train_pair(
    maps: Sequence[Tensor],
    weight1: Tensor,
    bias1: Tensor,
    weight2: Tensor,
    bias2: Tensor,
    *,
    last_activation: bool,
) -> Tensor:
    """Return what `msgnn_plugin.ops.fusion` does, differentiable once.

    Args:
        maps: n maps of shape (B, C, H, W).
        weight1: Weights of the first convolution, (C, n * C, k, k), k 3 or 5.
        bias1: Its bias, (C,).
        weight2: Weights of the second convolution, (C, C, k, k).
        bias2: Its bias, (C,).
        last_activation: Whether the second convolution is activated too.

    Returns:
        Shape (B, C, H, W), channels last.
    """
    return _Pair.apply(weight1, bias1, weight2, bias2, last_activation, *maps)


def backwards(weight: Tensor) -> Tensor:
    """Return the weights of the convolution that takes gradients back. Shape: (C, C, k, k) -> same."""
    return weight.transpose(0, 1).flip(2, 3)


class _Pair(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        weight1: Tensor,
        bias1: Tensor,
        weight2: Tensor,
        bias2: Tensor,
        last_activation: bool,
        *maps: Tensor,
    ) -> Tensor:
        maps = [each.contiguous(memory_format=torch.channels_last) for each in maps]
        middle = trunk_conv(maps, weight1, bias1, negative_slope=NEGATIVE_SLOPE, activate=True)
        output = trunk_conv([middle], weight2, bias2, negative_slope=NEGATIVE_SLOPE, activate=last_activation)
        ctx.last_activation = last_activation
        ctx.save_for_backward(weight1, weight2, middle, output if last_activation else None, *maps)
        return output

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple:
        weight1, weight2, middle, output, *maps = ctx.saved_tensors
        size = weight1.shape[-1]
        if ctx.last_activation:
            grad = torch.ops.aten.leaky_relu_backward(grad, output, NEGATIVE_SLOPE, True)
        weight2_grad, bias2_grad = (each.sum(0) for each in conv_weight_gradient([middle], grad, size))
        grad = trunk_conv([grad], backwards(weight2), negative_slope=NEGATIVE_SLOPE, mask=middle)
        weight1_grad, bias1_grad = (each.sum(0) for each in conv_weight_gradient(maps, grad, size))
        map_grads: Sequence[Tensor | None] = [
            trunk_conv([grad], backwards(part)) if needed else None
            for part, needed in zip(weight1.split(len(weight1), dim=1), ctx.needs_input_grad[5:], strict=True)
        ]
        return weight1_grad, bias1_grad, weight2_grad, bias2_grad, None, *map_grads
