"""Image deraining networks (MSGNN) and their plugs into restoration toolboxes. Importing them needs torch alone."""

from typing import Any

__all__ = ["MSGNNArch", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import the networks at their first use, so that the command can prepare the process before torch loads."""
    if name != "MSGNNArch":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from msgnn_plugin.archs import MSGNNArch

    return MSGNNArch
