"""Residual units under dense connections: the trunk of MSGNN's sub-networks and of its feature branches."""

import torch
from torch import Tensor, nn

from msgnn_plugin.layers.channel_attention import build_channel_attention

NEGATIVE_SLOPE = 0.2


def leaky_relu() -> nn.LeakyReLU:
    """Return the activation used throughout: LeakyReLU with slope 0.2 (paper, section 4.2)."""
    return nn.LeakyReLU(NEGATIVE_SLOPE)


def merge_conv(num_maps: int, num_feat: int) -> nn.Sequential:
    """Return a 1x1 convolution with activation from ``num_maps`` concatenated maps to one."""
    return nn.Sequential(nn.Conv2d(num_maps * num_feat, num_feat, 1), leaky_relu())


class ResidualUnit(nn.Module):
    """Two 3x3 convolutions behind a channel attention, added to their input ("CTRes-Block" with the paper's attention).

    Args:
        num_feat: Number of channels C.
        channel_attention: "gct", "eca", "se" or None.
    """

    def __init__(self, num_feat: int, channel_attention: str | None = None) -> None:
        super().__init__()
        self.attention = build_channel_attention(channel_attention, num_feat)
        self.body = nn.Sequential(
            nn.Conv2d(num_feat, num_feat, 3, padding=1), leaky_relu(), nn.Conv2d(num_feat, num_feat, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Shape: (B, C, H, W) -> same."""
        return x + self.body(self.attention(x))


class DenseBranch(nn.Module):
    """Residual units, each fed a 1x1 merge of everything before it; returns the last merge.

    Args:
        num_feat: Number of channels C.
        num_blocks: Number of units.
    """

    def __init__(self, num_feat: int, num_blocks: int = 4) -> None:
        super().__init__()
        self.units = nn.ModuleList(ResidualUnit(num_feat) for _ in range(num_blocks))
        self.merges = nn.ModuleList(merge_conv(i + 2, num_feat) for i in range(num_blocks))

    def forward(self, x: Tensor) -> Tensor:
        """Shape: (B, C, H, W) -> same."""
        maps = [x]
        for unit, merge in zip(self.units, self.merges, strict=True):
            maps.append(unit(x))
            x = merge(torch.cat(maps, dim=1))
        return x


class SubNetwork(nn.Module):
    """One of MSGNN's N sub-networks: M densely connected residual units, and the fusion connection to the next one.

    Section 3.1 of the paper. The fusion map of one sub-network is added at the input of every unit of the next.

    Args:
        num_feat: Number of channels C.
        num_blocks: Number of units M.
        channel_attention: "gct", "eca", "se" or None.
        fusion: Whether to build the convolution of the fusion map.
        unused_merge: Whether to build a merge after the last unit, which nothing reads ("official" has it).
    """

    def __init__(
        self, num_feat: int, num_blocks: int, channel_attention: str | None, *, fusion: bool, unused_merge: bool
    ) -> None:
        super().__init__()
        self.units = nn.ModuleList(ResidualUnit(num_feat, channel_attention) for _ in range(num_blocks))
        num_merges = num_blocks if unused_merge else num_blocks - 1
        self.merges = nn.ModuleList(merge_conv(i + 2, num_feat) for i in range(num_merges))
        self.fusion = merge_conv(num_blocks, num_feat) if fusion else None

    def forward(
        self, x: Tensor, fusion: Tensor | None = None, *, want_fusion: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """Return the last unit's output and, where built and wanted, the fusion map for the next sub-network.

        Shape: (B, C, H, W) -> two of the same.
        """
        maps = [x]
        for index, unit in enumerate(self.units):
            if index > 0:
                x = self.merges[index - 1](torch.cat(maps, dim=1))
            maps.append(unit(x if fusion is None else x + fusion))
        next_fusion = self.fusion(torch.cat(maps[1:], dim=1)) if self.fusion is not None and want_fusion else None
        return maps[-1], next_fusion
