"""The 1x1 merges of a dense group on the fused op, none of which reads more maps than it must (ours)."""

from collections.abc import Sequence

from torch import Tensor

from msgnn_plugin.layers.map_stack import NEGATIVE_SLOPE
from msgnn_plugin.ops.dense_merge import dense_merge

# Merges that share one reading of the maps before them: more readings cost time, more sums kept cost memory.
SHARING = 2


class FusedMerges:
    """Merges of a growing list of maps, one after the other, without gradient.

    Args:
        parameters: Weight and bias of each merge's 1x1 convolution; each takes one map more than the one before.
        negative_slope: Slope of the activation below 0.
    """

    def __init__(self, parameters: Sequence[tuple[Tensor, Tensor]], negative_slope: float = NEGATIVE_SLOPE) -> None:
        self.parameters = list(parameters)
        self.negative_slope = negative_slope
        self.shares: list[Tensor] = []
        self.num_shared = 0

    def merge(self, maps: list[Tensor], offset: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the next merge of all maps so far, activated, and the energy of it plus ``offset``.

        Shape: maps and offset (B, C, H, W) -> (B, C, H, W), (B, C).
        """
        weight, bias = self.parameters.pop(0)
        channels = weight.shape[0]
        if self.shares:
            sums, start, later = self.shares.pop(0), self.num_shared, []
        else:
            sums, start = None, 0
            later = [other[:, : len(maps) * channels] for other, _ in self.parameters[: SHARING - 1]]
        merged, energy, shares = dense_merge(
            maps[start:],
            weight[:, start * channels :],
            bias,
            self.negative_slope,
            offset,
            sums=sums,
            later=later,
        )
        if sums is None:
            self.shares, self.num_shared = shares, len(maps)
        return merged, energy
