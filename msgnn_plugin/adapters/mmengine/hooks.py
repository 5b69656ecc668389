"""Exact resuming inside mmengine's own loop by iteration."""

from collections.abc import Iterator
from typing import Any

import torch
from mmengine.dist import get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner
from torch.utils.data import DataLoader

from msgnn_plugin.adapters.mmengine.sampler import SampleNumberSampler


class ExactResumeHook(Hook):
    """Make a resumed run go on bit for bit, at once.

    mmengine reads all that was trained on again to find its place; here the sampler starts at the right sample. And
    what a network draws (dropout of third parties) is made to depend on (seed, iteration, rank) alone.

    Raises:
        ValueError: When training starts, if the config's loop, sampler or seeding rules it out.
    """

    def before_train(self, runner: Runner) -> None:
        """Put the sampler where the earlier run stopped."""
        loop = runner.train_loop
        for key, thing, wanted in (
            ("train_cfg.type", loop, IterBasedTrainLoop),
            ("train_dataloader.sampler.type", loop.dataloader.sampler, SampleNumberSampler),
        ):
            if not isinstance(thing, wanted):
                raise ValueError(f"ExactResumeHook: `{key}` must be {wanted.__name__}, got {type(thing).__name__}.")
        if runner.cfg.get("randomness", {}).get("diff_rank_seed", False):
            raise ValueError(
                "ExactResumeHook: `randomness.diff_rank_seed` must be False, got True; processes draw differently "
                "without it."
            )
        if runner.iter == 0:
            return
        sampler: SampleNumberSampler = loop.dataloader.sampler
        # A config without a seed has drawn one; the checkpoint holds the first run's.
        sampler.seed = runner.seed
        sampler.start = runner.iter * loop.dataloader.batch_size * get_world_size()
        loop.dataloader_iterator = _Resumed(loop.dataloader, runner.iter)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Seed what the iteration draws."""
        torch.manual_seed(((runner.seed * 1_000_003 + batch_idx) * 1009 + get_rank()) % 2**63)


class _Resumed:
    """Batches of a loader that starts at the right place, for a loop that first asks for those already trained on.

    Args:
        dataloader: The loader.
        trained: How many batches the loop will skip.
    """

    def __init__(self, dataloader: DataLoader, trained: int) -> None:
        self.batches: Iterator[Any] = iter(dataloader)
        self.trained = trained

    def __next__(self) -> Any:
        """Return None for a batch to be skipped, else the next one."""
        if self.trained:
            self.trained -= 1
            return None
        return next(self.batches)
