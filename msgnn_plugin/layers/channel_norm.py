"""Layer norm over the channels of each pixel."""

import torch.nn.functional as F
from torch import Tensor, nn


class ChannelNorm(nn.LayerNorm):
    """Bring the channels of each pixel to mean 0 and variance 1, then scale and shift each channel.

    Args:
        num_feat: Channels.
    """

    def __init__(self, num_feat: int) -> None:
        super().__init__(num_feat)

    def forward(self, x: Tensor) -> Tensor:
        """Shape: (B, C, H, W) -> same; nothing is copied where the maps are channels-last."""
        x = x.permute(0, 2, 3, 1)
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps).permute(0, 3, 1, 2)
