"""Channel attentions compared in Table 2 of the MSGNN paper: channel transformation, ECA, squeeze and excitation."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from msgnn_plugin.ops.precision import at_least_float32

EPSILON = 1e-5


class ChannelAttention(nn.Module):
    """Scale each channel of a map by a gate that depends on the whole map.

    Subclasses have ``gate``, (B, C, H, W) -> (B, C, 1, 1): on its own it lets a convolution take the scaling over.
    """

    gate: Callable[[Tensor], Tensor]

    def forward(self, x: Tensor) -> Tensor:
        """Scale a map. Shape: (B, C, H, W) -> same."""
        return x * self.gate(x).to(x.dtype)


class GatedChannelTransformation(ChannelAttention):
    """Gate each channel by its l2 energy relative to the other channels.

    Paper: Yang et al., "Gated Channel Transformation for Visual Recognition" (CVPR 2020). The gate starts at 1.

    Args:
        num_feat: Number of channels C.
    """

    def __init__(self, num_feat: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1, num_feat, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, num_feat, 1, 1))
        self.beta = nn.Parameter(torch.zeros(1, num_feat, 1, 1))

    def gate(self, x: Tensor) -> Tensor:
        """Return the factor of each channel. Shape: (B, C, H, W) -> (B, C, 1, 1), at least float32."""
        return self.gate_of(_sum_of_squares(x))

    def gate_of(self, squares: Tensor) -> Tensor:
        """Return the gate of a map whose channels have these sums of squares. Shape: (B, C, 1, 1) -> same."""
        return gct_gate(squares, self.alpha, self.gamma, self.beta)


def gct_gate(squares: Tensor, alpha: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """Return the gate of a map whose channels have these sums of squares. Shape: (B, C, 1, 1) -> same."""
    energy = alpha * (squares + EPSILON).sqrt()
    norm = gamma * (energy.square().mean(dim=1, keepdim=True) + EPSILON).rsqrt()
    return 1 + torch.tanh(energy * norm + beta)


def _sum_of_squares(x: Tensor) -> Tensor:
    """Sum the squares of each channel in float32, whose range it needs. Shape: (B, C, H, W) -> (B, C, 1, 1)."""
    x = at_least_float32(x)
    if torch.compiler.is_compiling():
        return x.square().sum(dim=(2, 3), keepdim=True)
    return _SumOfSquares.apply(x)


class _SumOfSquares(torch.autograd.Function):
    """Autograd's own gradient of a square passes three times over the map, this one once."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.square().sum(dim=(2, 3), keepdim=True)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return x * (2 * grad)


class EfficientChannelAttention(ChannelAttention):
    """Gate each channel by a 1-D convolution over the channel means.

    Paper: Wang et al., "ECA-Net: Efficient Channel Attention for Deep Convolutional Neural Networks" (CVPR 2020), with
    its kernel size for gamma = 2 and b = 1.

    Args:
        num_feat: Number of channels C.
    """

    def __init__(self, num_feat: int) -> None:
        super().__init__()
        size = int((math.log2(num_feat) + 1) / 2)
        size += 1 - size % 2
        self.conv = nn.Conv1d(1, 1, size, padding=size // 2, bias=False)

    def gate(self, x: Tensor) -> Tensor:
        """Return the factor of each channel. Shape: (B, C, H, W) -> (B, C, 1, 1)."""
        mean = x.mean(dim=(2, 3))
        return torch.sigmoid(self.conv(mean[:, None])).transpose(1, 2)[..., None]


class SqueezeExcitation(ChannelAttention):
    """Gate each channel by a two-layer network on the channel means.

    Paper: Hu et al., "Squeeze-and-Excitation Networks" (CVPR 2018), reduction 16.

    Args:
        num_feat: Number of channels C.
    """

    def __init__(self, num_feat: int) -> None:
        super().__init__()
        hidden = max(num_feat // 16, 1)
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(num_feat, hidden, 1),
            nn.ReLU(),
            nn.Conv2d(hidden, num_feat, 1),
            nn.Sigmoid(),
        )


CHANNEL_ATTENTIONS: dict[str | None, type[nn.Module]] = {
    None: nn.Identity,
    "gct": GatedChannelTransformation,
    "eca": EfficientChannelAttention,
    "se": SqueezeExcitation,
}


def build_channel_attention(kind: str | None, num_feat: int) -> nn.Module:
    """Build the attention called ``kind`` ("gct", "eca", "se" or None for none) for ``num_feat`` channels.

    Raises:
        ValueError: If ``kind`` is unknown.
    """
    if kind not in CHANNEL_ATTENTIONS:
        raise ValueError(f"MSGNNArch: `channel_attention` must be one of {list(CHANNEL_ATTENTIONS)}, got {kind!r}.")
    return CHANNEL_ATTENTIONS[kind](num_feat)
