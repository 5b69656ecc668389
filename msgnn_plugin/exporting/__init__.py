"""Networks as programs for other runtimes: ONNX and `torch.export`, checked after writing."""

from msgnn_plugin.exporting.files import export_network

__all__ = ["export_network"]
