"""The feed-forward net of a transformer block on maps: two branches, of which one gates the other."""

import torch.nn.functional as F
from torch import Tensor, nn


class GatedFeedForward(nn.Module):
    """Widen, look at the neighbours, let one half gate the other, and narrow again.

    Paper: Zamir et al., "Restormer" (CVPR 2022), section 3.2.

    Args:
        num_feat: Channels.
        hidden: Channels of each of the two branches.
    """

    def __init__(self, num_feat: int, hidden: int) -> None:
        super().__init__()
        self.expand = nn.Conv2d(num_feat, 2 * hidden, 1, bias=False)
        self.depthwise = nn.Conv2d(2 * hidden, 2 * hidden, 3, padding=1, groups=2 * hidden, bias=False)
        self.project = nn.Conv2d(hidden, num_feat, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Shape: (B, C, H, W) -> same."""
        return self.project(gated_hidden(x, self.expand.weight, self.depthwise.weight))


def gated_hidden(x: Tensor, expand: Tensor, depthwise: Tensor) -> Tensor:
    """Return the gated branch before it is narrowed.

    Args:
        x: Maps of shape (B, C, H, W).
        expand: Weights of shape (2 * hidden, C, 1, 1), those of the gating branch first.
        depthwise: Weights of shape (2 * hidden, 1, 3, 3).

    Returns:
        Shape (B, hidden, H, W).
    """
    wide = F.conv2d(F.conv2d(x, expand), depthwise, padding=1, groups=len(depthwise))
    gate, value = wide.chunk(2, 1)
    return F.gelu(gate) * value
