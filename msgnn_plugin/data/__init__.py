"""Rain data: pairs on disk, samples with an exemplar, and what makes and stores them.

Names are imported at their first use, so that atomic writing or `--help` wait for neither OpenCV nor LMDB.
"""

import importlib
from typing import Any

_HOMES = {
    "ExemplarSampler": "exemplars",
    "LmdbStore": "lmdb_store",
    "MixedDataset": "mixed",
    "Pair": "pairs",
    "PairedExemplarDataset": "paired",
    "Picture": "pairs",
    "PictureReader": "reading",
    "SampleNumberSampler": "sampling",
    "SyntheticRainDataset": "synthetic",
    "SyntheticTypedDataset": "typed_pairs",
    "TypedPairDataset": "typed_pairs",
    "UnpairedRainDataset": "unpaired",
    "atomic_path": "atomic",
    "describe_rain": "rain_description",
    "find_pairs": "layouts",
    "write_bytes_atomic": "atomic",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Import a public name from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
