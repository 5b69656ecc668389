"""The 1x1 merges of a dense group at inference, none of which reads more maps than it must (ours)."""

from collections.abc import Sequence

from torch import Tensor, nn

from msgnn_plugin.layers.map_stack import NEGATIVE_SLOPE
from msgnn_plugin.ops.dense_merge import dense_merge

# Merges that share one reading of the maps before them: more readings cost time, more sums kept cost memory.
SHARING = 2


class FusedMerges:
    """Merges of a growing list of maps, one after the other, without gradient.

    Args:
        convolutions: The 1x1 convolution of each merge; each takes one map more than the one before.
    """

    def __init__(self, convolutions: Sequence[nn.Conv2d]) -> None:
        self.convolutions = list(convolutions)
        self.shares: list[Tensor] = []
        self.num_shared = 0

    def merge(self, maps: list[Tensor], offset: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the next merge of all maps so far, activated, and the energy of it plus ``offset``.

        Shape: maps and offset (B, C, H, W) -> (B, C, H, W), (B, C).
        """
        conv = self.convolutions.pop(0)
        channels = conv.weight.shape[0]
        if self.shares:
            sums, start, later = self.shares.pop(0), self.num_shared, []
        else:
            sums, start = None, 0
            later = [other.weight[:, : len(maps) * channels] for other in self.convolutions[: SHARING - 1]]
        weight = conv.weight[:, start * channels :]
        merged, energy, shares = dense_merge(
            maps[start:], weight, conv.bias, NEGATIVE_SLOPE, offset, sums=sums, later=later
        )
        if sums is None:
            self.shares, self.num_shared = shares, len(maps)
        return merged, energy
