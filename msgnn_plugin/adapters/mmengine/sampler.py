"""The order of a training run without end, as mmengine's loops by iteration take it."""

import itertools
from collections.abc import Iterator, Sized

from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from msgnn_plugin.data.sampling import SampleNumberSampler as EpochSampler


class SampleNumberSampler(Sampler[tuple[int, int]]):
    """Yields (index, sample number) of this rank without end: one permutation of the data set after another.

    Sample numbers count on through all permutations, so that our data sets, which draw from (seed, sample number),
    repeat a picture but never a crop. Rank r takes every ``world_size``-th sample.

    Args:
        dataset: A data set of ours.
        seed: Seed of the permutations, at least 0; mmengine gives ``randomness.seed``. None draws one for all ranks.

    Raises:
        ValueError: If the data set takes no sample numbers, or the seed is out of its range.
    """

    def __init__(self, dataset: Sized, seed: int | None = None) -> None:
        if not getattr(dataset, "numbered_samples", False):
            raise ValueError(
                "SampleNumberSampler: `dataset` must be one of msgnn_plugin's, which take (index, sample number), got "
                f"{type(dataset).__name__}; use InfiniteSampler for it."
            )
        self.rank, self.world_size = get_dist_info()
        self.dataset = dataset
        self.seed = sync_random_seed() if seed is None else seed
        # Samples of all ranks that an earlier run has consumed.
        self.start = 0

    def __len__(self) -> int:
        """Return how many samples this rank takes of one permutation."""
        return -(-len(self.dataset) // self.world_size)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield this rank's samples after the first ``start`` of all ranks."""
        return itertools.islice(self._of_all_ranks(), self.rank, None, self.world_size)

    def _of_all_ranks(self) -> Iterator[tuple[int, int]]:
        numbered = EpochSampler(len(self.dataset), batch_size=1, seed=self.seed, start_iteration=self.start)
        for epoch in itertools.count(self.start // len(self.dataset)):
            numbered.set_epoch(epoch)
            yield from numbered
