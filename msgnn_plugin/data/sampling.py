"""The order of a training run: every sample has a number, and the number decides everything that is drawn for it."""

import math
from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler


class SampleNumberSampler(Sampler[tuple[int, int]]):
    """Yields (index, sample number) for one rank; all ranks together walk through full global batches.

    An epoch is ``ceil(count * enlarge / (batch_size * world_size))`` global batches: the pictures in a permutation
    drawn from (seed, epoch), then, where the epoch is enlarged or its last batch not full, in further permutations.
    The sample number counts on through all epochs, so a data set that draws from (seed, sample number) repeats a
    picture but never a crop. Rank r takes every ``world_size``-th sample: one process with a batch of 8 and two
    with 4 each see the same global batches.

    Args:
        count: Pictures in the data set.
        batch_size: Samples a rank takes at a time.
        world_size: Number of ranks.
        rank: This rank, in [0, world_size).
        enlarge: Length of an epoch in passes through the data set, above 0.
        seed: Seed of the permutations, at least 0.
        start_iteration: Global batches an earlier run has consumed; they are skipped, in whichever epochs they lie.

    Raises:
        ValueError: If a number is out of its range.
    """

    def __init__(
        self,
        count: int,
        *,
        batch_size: int,
        world_size: int = 1,
        rank: int = 0,
        enlarge: float = 1,
        seed: int = 0,
        start_iteration: int = 0,
    ) -> None:
        for name, value, least in (
            ("count", count, 1),
            ("batch_size", batch_size, 1),
            ("world_size", world_size, 1),
            ("rank", rank, 0),
            ("seed", seed, 0),
            ("start_iteration", start_iteration, 0),
        ):
            if value < least:
                raise ValueError(f"SampleNumberSampler: `{name}` must be at least {least}, got {value}.")
        if rank >= world_size:
            raise ValueError(f"SampleNumberSampler: `rank` must be below world_size = {world_size}, got {rank}.")
        if enlarge <= 0:
            raise ValueError(f"SampleNumberSampler: `enlarge` must be above 0, got {enlarge}.")
        self.count = count
        self.world_size = world_size
        self.rank = rank
        self.seed = seed
        self.start_iteration = start_iteration
        self.global_batch = batch_size * world_size
        self.batches_per_epoch = math.ceil(count * enlarge / self.global_batch)
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, from 0, that the next iteration goes through."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Return how many samples this rank takes in the current epoch, skipped ones not counted."""
        return (self.batches_per_epoch - self._skipped_batches()) * self.global_batch // self.world_size

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield (index, sample number) of this rank's samples in the current epoch."""
        samples = self.batches_per_epoch * self.global_batch
        # Its own branch of the seed, so that the order shares no random numbers with any sample's draws.
        generator = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(1, self.epoch)))
        passes = math.ceil(samples / self.count)
        order = np.concatenate([generator.permutation(self.count) for _ in range(passes)])[:samples]
        for position in range(self._skipped_batches() * self.global_batch + self.rank, samples, self.world_size):
            yield int(order[position]), self.epoch * samples + position

    def _skipped_batches(self) -> int:
        """Return how many global batches of the current epoch an earlier run has consumed."""
        return min(max(self.start_iteration - self.epoch * self.batches_per_epoch, 0), self.batches_per_epoch)
