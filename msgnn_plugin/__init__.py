"""Image deraining networks (MSGNN) and their plugs into restoration toolboxes. Importing this needs torch alone."""

from msgnn_plugin.archs import MSGNNArch

__all__ = ["MSGNNArch", "__version__"]
__version__ = "0.1.0"
