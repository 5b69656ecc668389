"""The data set that mixes others, for one network that shall know several kinds of rain."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from msgnn_plugin.data.crops import locate_sample

# What the samples of all parts hold.
SHARED_KEYS = ("lq", "gt", "exemplar", "lq_path", "gt_path", "exemplar_path")
# A part restarts the stream of (seed, sample number). A longer entropy would not do to keep apart from it, since
# SeedSequence fills up with zeros; a spawn key does. The sampler's order has (1, epoch).
_SPAWN_KEY = (2,)


class MixedDataset(Dataset):
    """Samples of several data sets, each drawn as often as its share says; for training.

    ``dataset[index]`` and ``dataset[index, sample_number]`` draw the part, the place in it and all that the part
    draws (crop, flips, exemplar) from (seed, sample_number) alone; with an index alone the sample number is the index.
    Places are drawn with repetition, so that a pass gives shares, not every picture once. The draws of part and place
    are independent of those inside the part, also where both have one seed.

    Args:
        parts: By name, a data set whose samples hold `SHARED_KEYS` and which takes (index, sample number), and its
            share, above 0. Shares count in proportion to their sum; the order of the parts makes no difference. To be
            batched, all parts must give crops of one size.
        seed: Seed of the draws, at least 0.

    Raises:
        TypeError: If a part takes no sample numbers, or is itself mixed.
        ValueError: If there is no part, a part is empty, or a share or the seed is out of its range.
    """

    # Tells a sampler that it may hand over (index, sample number).
    numbered_samples = True

    def __init__(self, parts: Mapping[str, tuple[Dataset, float]], seed: int = 0) -> None:
        check_shares({name: share for name, (_, share) in parts.items()}, "MixedDataset")
        for name, (dataset, _) in parts.items():
            # A mixed one inside would draw the very numbers that it was itself chosen by.
            if isinstance(dataset, MixedDataset) or not getattr(dataset, "numbered_samples", False):
                rule = "a data set that takes (index, sample number) and is not mixed itself"
                raise TypeError(f"MixedDataset: part `{name}` must be {rule}, got {type(dataset).__name__}.")
            if len(dataset) == 0:
                raise ValueError(f"MixedDataset: part `{name}` must hold at least one sample, got none.")
        if seed < 0:
            raise ValueError(f"MixedDataset: `seed` must be at least 0, got {seed}.")
        # By name: a copy of the options that a run leaves has them in another order than the file.
        self.parts = {name: parts[name][0] for name in sorted(parts)}
        shares = np.array([parts[name][1] for name in self.parts], dtype=np.float64)
        # The largest first, since a sum of large ones may pass the largest number there is.
        shares /= shares.max()
        self.shares = shares / shares.sum()
        self.seed = seed

    def __len__(self) -> int:
        """Return the number of samples of all parts."""
        return sum(map(len, self.parts.values()))

    def __getitem__(self, item: int | tuple[int, int]) -> dict[str, Any]:
        """Return one sample.

        Args:
            item: Index, or (index, sample number); with a number the index decides nothing.

        Returns:
            ``lq``, ``gt`` and ``exemplar``: float32, RGB in [0, 1], shape (3, H, W); ``lq_path``, ``gt_path``,
            ``exemplar_path``: where they come from.

        Raises:
            IndexError: If the index is out of range.
            ValueError: If a picture cannot be read, sizes differ, or it is smaller than the crop.
            OSError: If a file cannot be read.
        """
        _, number = locate_sample(item, len(self), "MixedDataset")
        name, place = self.draw(number)
        sample = self.parts[name][place, number]
        return {key: sample[key] for key in SHARED_KEYS}

    def draw(self, number: int) -> tuple[str, int]:
        """Return the name of the part, and the place in it, of the sample of a number; nothing is read."""
        generator = np.random.default_rng(np.random.SeedSequence((self.seed, number), spawn_key=_SPAWN_KEY))
        name = list(self.parts)[generator.choice(len(self.parts), p=self.shares)]
        return name, int(generator.integers(len(self.parts[name])))


def check_shares(shares: Mapping[str, float], where: str) -> None:
    """See that there are parts, and that each has a share.

    Args:
        shares: Share by name of the part.
        where: The data set, to begin an error with.

    Raises:
        ValueError: If there is none, or a share is not a finite number above 0.
    """
    if not shares:
        raise ValueError(f"{where}: `parts` must hold at least one data set, got none.")
    for name, share in shares.items():
        if not 0 < share < math.inf:
            raise ValueError(
                f"{where}: the share of part `{name}` must be above 0 and finite, got {share}. "
                "Leave out a part that shall not be drawn."
            )
