"""BasicSR's sampler restarts the epoch on resume and ends it with a part of a batch that its loader then drops.

The dropped part makes epochs shorter than BasicSR counts, so training ends early; and its indices repeat within an
enlarged epoch, so a data set that draws by index would repeat its crops.
"""

import importlib
from collections.abc import Iterator
from typing import Any

from torch.utils.data import Dataset, Sampler

from msgnn_plugin.adapters.basicsr.compat.inspection import source_contains
from msgnn_plugin.data.sampling import SampleNumberSampler

MENDS = "epochs that end early or start again on resume"


def needed() -> bool:
    """Whether the published sampler knows nothing of batches."""
    return not source_contains(importlib.import_module("basicsr.data.data_sampler").EnlargedSampler, "batch")


def apply() -> None:
    """Replace the name that the training pipeline calls."""
    importlib.import_module("basicsr.train").EnlargedSampler = build_sampler


class PlainIndices(Sampler[int]):
    """The same order without the sample numbers, for data sets that take an index alone.

    Args:
        numbered: Sampler of (index, sample number).
    """

    def __init__(self, numbered: SampleNumberSampler) -> None:
        self.numbered = numbered

    def __iter__(self) -> Iterator[int]:
        return (index for index, _ in self.numbered)

    def __len__(self) -> int:
        return len(self.numbered)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next."""
        self.numbered.set_epoch(epoch)


def build_sampler(dataset: Dataset, num_replicas: int, rank: int, ratio: int = 1) -> Sampler:
    """Take the place of `EnlargedSampler(dataset, num_replicas, rank, ratio)`.

    Args:
        dataset: A data set with its options in ``opt``: ``batch_size_per_gpu``, and ``seed`` and ``start_iteration``,
            which option parsing and resuming write there.
        num_replicas: Number of processes.
        rank: This process.
        ratio: How many times an epoch goes through the data set.

    Returns:
        A sampler of (index, sample number) where the data set has ``numbered_samples``, else of indices.
    """
    opt: dict[str, Any] = dataset.opt
    numbered = SampleNumberSampler(
        len(dataset),
        batch_size=opt["batch_size_per_gpu"],
        world_size=num_replicas,
        rank=rank,
        enlarge=ratio,
        seed=opt.get("seed", 0),
        start_iteration=opt.get("start_iteration", 0),
    )
    return numbered if getattr(dataset, "numbered_samples", False) else PlainIndices(numbered)
