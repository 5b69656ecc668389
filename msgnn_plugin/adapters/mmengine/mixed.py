"""Our mixed data set as a config writes it: its parts are sections, not data sets already built."""

from collections.abc import Mapping
from typing import Any

from mmengine.registry import DATASETS

from msgnn_plugin.data.mixed import MixedDataset as MixedCore


class MixedDataset(MixedCore):
    """`msgnn_plugin.data.MixedDataset` built from a config.

    Args:
        parts: By name, the section of a data set: its ``type``, its ``share``, 1 where it is left out, and its own
            keywords, which go before those below.
        crop_size: Side of the square crops in pixels.
        flip: Whether to mirror half of the samples left to right.
        rotate: Whether to mirror half of them top to bottom and transpose half of them.
        seed: Seed of all draws, at least 0.

    Raises:
        FileNotFoundError, KeyError, TypeError, ValueError: If a part cannot be built, or as `MixedCore`.
    """

    def __init__(
        self,
        parts: Mapping[str, Mapping[str, Any]],
        *,
        crop_size: int,
        flip: bool = False,
        rotate: bool = False,
        seed: int = 0,
    ) -> None:
        shared = {"crop_size": crop_size, "flip": flip, "rotate": rotate, "seed": seed}
        built = {}
        for name, part in parts.items():
            section = {**shared, **part}
            share = section.pop("share", 1)
            built[name] = DATASETS.build(section), share
        super().__init__(built, seed)
