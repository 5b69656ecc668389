"""Residual units under dense connections: the trunk of MSGNN's sub-networks and of its feature branches."""

from collections.abc import Iterable

import torch.nn.functional as F
from torch import Tensor, nn

from msgnn_plugin.layers.channel_attention import GatedChannelTransformation, build_channel_attention
from msgnn_plugin.layers.fused_merges import FusedMerges
from msgnn_plugin.layers.map_stack import NEGATIVE_SLOPE, MapStack
from msgnn_plugin.layers.trained_group import train_group
from msgnn_plugin.ops.channel_energy import channel_energy
from msgnn_plugin.ops.dense_merge import dense_merge
from msgnn_plugin.ops.residual_unit import residual_unit
from msgnn_plugin.ops.trunk_checks import runs_fused, trains_fused


def leaky_relu() -> nn.LeakyReLU:
    """Return the activation used throughout: LeakyReLU with slope 0.2 (paper, section 4.2), in place.

    It follows convolutions, whose backward pass does not need what they gave; its own can do with the result.
    """
    return nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True)


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
        return x + self.change(x)

    def change(self, x: Tensor) -> Tensor:
        """Return what the unit adds to its input. Shape: (B, C, H, W) -> same."""
        first, activation, second = self.body
        if isinstance(self.attention, nn.Identity):
            return second(activation(first(x)))
        gate = self.attention.gate(x)
        if len(x) == 1:
            # One image's gate can scale the kernel instead of the map.
            scaled = (first.weight * gate).to(first.weight.dtype)
            x = F.conv2d(x, scaled, first.bias, padding=first.padding)
        else:
            x = first(x * gate.to(x.dtype))
        return second(activation(x))

    def infer(self, x: Tensor, offset: Tensor | None, energy: Tensor | None) -> Tensor:
        """Return the unit's output for ``x + offset``, fused, without gradient.

        Shape: (B, C, H, W) -> same. ``energy`` (B, C) holds the sums of squares of ``x + offset`` where known.
        """
        first, _, second = self.body
        gate = None
        if isinstance(self.attention, GatedChannelTransformation):
            energy = channel_energy(x, offset) if energy is None else energy
            gate = self.attention.gate_of(energy[..., None, None]).flatten(1)
        elif not isinstance(self.attention, nn.Identity):
            gate = self.attention.gate(x if offset is None else x + offset).flatten(1)
        return residual_unit(x, offset, gate, first.weight, first.bias, second.weight, second.bias, NEGATIVE_SLOPE)


def _parameters(merges: Iterable[nn.Sequential]) -> list[tuple[Tensor, Tensor]]:
    return [(conv.weight, conv.bias) for conv, _ in merges]


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
        if runs_fused(x):
            outputs, merges = [x], FusedMerges(_parameters(self.merges))
            for unit in self.units:
                outputs.append(unit.infer(x, None, None))
                x, _ = merges.merge(outputs)
            return x
        maps = MapStack(x, 1 + len(self.units))
        for unit, merge in zip(self.units, self.merges, strict=True):
            maps.append(x, unit.change(x))
            x = maps.merge(merge[0].weight, merge[0].bias)
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
        want_fusion = want_fusion and self.fusion is not None
        if runs_fused(x):
            return self._infer(x, fusion, want_fusion)
        if trains_fused(x) and isinstance(self.units[0].attention, (nn.Identity, GatedChannelTransformation)):
            return self._train(x, fusion, want_fusion)
        last = len(self.units) - 1
        maps = MapStack(x, 1 + last + want_fusion)
        for index, unit in enumerate(self.units):
            if index > 0:
                x = maps.merge(self.merges[index - 1][0].weight, self.merges[index - 1][0].bias)
            x = x if fusion is None else x + fusion
            if index < last:
                maps.append(x, unit.change(x))
        x = unit(x)
        if want_fusion:
            maps.append(x)
        return x, maps.merge(self.fusion[0].weight, self.fusion[0].bias, first=1) if want_fusion else None

    def _train(self, x: Tensor, fusion: Tensor | None, want_fusion: bool) -> tuple[Tensor, Tensor | None]:
        units = []
        for unit in self.units:
            first, _, second = unit.body
            units.append([first.weight, first.bias, second.weight, second.bias])
            if isinstance(unit.attention, GatedChannelTransformation):
                units[-1] += [unit.attention.alpha, unit.attention.gamma, unit.attention.beta]
        merges = _parameters(self.merges[: len(self.units) - 1])
        return train_group(x, fusion, units, merges, *(_parameters([self.fusion]) if want_fusion else [None]))

    def _infer(self, x: Tensor, fusion: Tensor | None, want_fusion: bool) -> tuple[Tensor, Tensor | None]:
        maps, energy = [x], None
        merges = FusedMerges(_parameters(self.merges[: len(self.units) - 1]))
        for index, unit in enumerate(self.units):
            if index > 0:
                del x  # its memory may serve the next one
                x, energy = merges.merge(maps, fusion)
            maps.append(unit.infer(x, fusion, energy))
        del x
        if not want_fusion:
            return maps[-1], None
        conv = self.fusion[0]
        return maps[-1], dense_merge(maps[1:], conv.weight, conv.bias, NEGATIVE_SLOPE)[0]
