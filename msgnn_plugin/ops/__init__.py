"""The three ops of the patch graph: plain PyTorch behind `torch.library` schemas, for compiled kernels to take over."""

from msgnn_plugin import _extension  # noqa: F401 (loading it registers the compiled kernels)
from msgnn_plugin.ops.patch_aggregate import patch_aggregate
from msgnn_plugin.ops.patch_difference import patch_difference
from msgnn_plugin.ops.patch_knn import centred_window_origin, patch_knn

__all__ = ["centred_window_origin", "patch_aggregate", "patch_difference", "patch_knn"]
