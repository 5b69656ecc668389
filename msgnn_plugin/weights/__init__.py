"""Trained weights that come with the package, and the way from a name to a file."""

from msgnn_plugin.weights.index import NAME, Index, ShippedWeights, default_path, index_file, read_index, weights_path

__all__ = ["NAME", "Index", "ShippedWeights", "default_path", "index_file", "read_index", "weights_path"]
