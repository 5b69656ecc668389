"""Measures of pictures and of what networks take apart in them."""

from msgnn_plugin.metrics.intrinsic_dimension import intrinsic_dimension, layer_dimensions
from msgnn_plugin.metrics.protocols import PROTOCOLS, Protocol, Similarity, measure_similarity

__all__ = [
    "PROTOCOLS",
    "Protocol",
    "Similarity",
    "intrinsic_dimension",
    "layer_dimensions",
    "measure_similarity",
]
