"""PReNet, a well-known small deraining network, written from its paper as a peer to measure beside.

Ren et al., "Progressive Image Deraining Networks: A Better and Simpler Baseline" (CVPR 2019): six passes of one set of
weights, a convolutional LSTM between them, five residual blocks in each, 168,963 parameters.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from msgnn_plugin.archs import load_weights

NUM_FEAT, NUM_STAGES, NUM_BLOCKS = 32, 6, 5
# What the released weights call each part; the gates, in the order in which ours stand in one, are four there.
RELEASED = {"first": "conv0.0", "last": "conv.0"} | {
    f"blocks.{block}.{layer}": f"res_conv{block + 1}.{layer}" for block in range(NUM_BLOCKS) for layer in (0, 2)
}
RELEASED_GATES = ("conv_i.0", "conv_f.0", "conv_g.0", "conv_o.0")


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


def load_prenet(path: str | Path) -> PReNet:
    """Return the network with weights that its authors released.

    Args:
        path: Their file, a plain state dict such as `net_latest.pth`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds anything else.
    """
    released = load_weights(path)
    kinds = ("weight", "bias")
    network = PReNet()
    try:
        if len(released) != len(kinds) * len((*RELEASED, *RELEASED_GATES)):
            raise KeyError(f"{len(released)} entries")
        ours = {f"{part}.{kind}": released[f"{name}.{kind}"] for part, name in RELEASED.items() for kind in kinds}
        for kind in kinds:
            ours[f"gates.{kind}"] = torch.cat([released[f"{gate}.{kind}"] for gate in RELEASED_GATES])
        network.load_state_dict(ours)
    except (KeyError, RuntimeError, TypeError) as error:
        raise ValueError(
            f"load_prenet: {str(path)!r} must hold PReNet's state dict as its authors released it, got another: "
            f"{str(error).splitlines()[-1].strip()}."
        ) from error
    return network.eval().requires_grad_(False)
