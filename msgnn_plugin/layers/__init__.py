"""Building blocks that know no whole network."""

from msgnn_plugin.layers.patch_graph import GraphAggregator
from msgnn_plugin.layers.projection import ProjectionHeads, gather_pixels
from msgnn_plugin.layers.resize import gaussian_pyramid, pad_to_side, pyramid_down

__all__ = ["GraphAggregator", "ProjectionHeads", "gather_pixels", "gaussian_pyramid", "pad_to_side", "pyramid_down"]
