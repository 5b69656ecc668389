"""The ops on patches: plain PyTorch behind `torch.library` schemas, for compiled kernels to take over."""

from msgnn_plugin import _extension  # noqa: F401 (loading it registers the compiled kernels)
from msgnn_plugin.ops.patch_aggregate import patch_aggregate
from msgnn_plugin.ops.patch_difference import patch_difference
from msgnn_plugin.ops.patch_knn import centred_window_origin, patch_knn
from msgnn_plugin.ops.self_similar import draw_anchors, self_similar_patches

__all__ = [
    "centred_window_origin",
    "draw_anchors",
    "patch_aggregate",
    "patch_difference",
    "patch_knn",
    "self_similar_patches",
]
