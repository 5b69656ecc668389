"""Measures of pictures and of what networks take apart in them."""

from msgnn_plugin.metrics.intrinsic_dimension import intrinsic_dimension, layer_dimensions

__all__ = ["intrinsic_dimension", "layer_dimensions"]
