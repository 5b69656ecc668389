"""Memory that the maps of one fused forward pass share (ours)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from msgnn_plugin import _extension


@contextmanager
def map_pool() -> Iterator[None]:
    """Let the inference-only ops use the memory of maps that are gone again, until the block ends.

    Without it the system clears every page of every map anew. Maps may outlive the block. On Linux up to 512 MiB stay
    for the next block, in pages that the system takes back where memory runs short. Does nothing without the compiled
    ops.
    """
    if not _extension.LOADED:
        yield
        return
    torch.ops.msgnn_plugin.open_map_pool()
    try:
        yield
    finally:
        torch.ops.msgnn_plugin.close_map_pool()
