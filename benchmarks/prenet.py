"""PReNet, a well-known small deraining network, written from its paper as a peer to measure beside.

Ren et al., "Progressive Image Deraining Networks: A Better and Simpler Baseline" (CVPR 2019): six passes of one set of
weights, a convolutional LSTM between them, five residual blocks in each, 168,963 parameters.
"""

import torch
from torch import Tensor, nn

NUM_FEAT, NUM_STAGES, NUM_BLOCKS = 32, 6, 5


def conv(in_channels: int, out_channels: int) -> nn.Conv2d:
    """Return the 3x3 convolution that it is built of."""
    return nn.Conv2d(in_channels, out_channels, 3, padding=1)


class PReNet(nn.Module):
    """The network with its paper's settings."""

    def __init__(self) -> None:
        super().__init__()
        self.first = conv(6, NUM_FEAT)
        # Input, forget, cell and output gate in one convolution.
        self.gates = conv(2 * NUM_FEAT, 4 * NUM_FEAT)
        self.blocks = nn.ModuleList(
            nn.Sequential(conv(NUM_FEAT, NUM_FEAT), nn.ReLU(True), conv(NUM_FEAT, NUM_FEAT), nn.ReLU(True))
            for _ in range(NUM_BLOCKS)
        )
        self.last = conv(NUM_FEAT, 3)

    def forward(self, rainy: Tensor) -> Tensor:
        """Return the derained image. Shape: (B, 3, H, W), RGB with range [0, 1] -> same."""
        rainy = rainy.contiguous(memory_format=torch.channels_last)
        derained = rainy
        hidden = cell = None
        for _ in range(NUM_STAGES):
            x = self.first(torch.cat((rainy, derained), dim=1)).relu_()
            hidden = torch.zeros_like(x) if hidden is None else hidden
            enter, forget, new, leave = self.gates(torch.cat((x, hidden), dim=1)).chunk(4, dim=1)
            new = enter.sigmoid() * new.tanh()
            cell = new if cell is None else forget.sigmoid() * cell + new
            hidden = leave.sigmoid() * cell.tanh()
            x = hidden
            for block in self.blocks:
                x = (block(x) + x).relu_()
            derained = self.last(x) + rainy
        return derained
