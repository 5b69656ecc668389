"""The data set that makes its rain while it is read."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from msgnn_plugin.data.crops import begin_sample, draw_turn, draw_window, to_tensor
from msgnn_plugin.data.exemplars import ExemplarSampler
from msgnn_plugin.data.photographs import find_photographs, read_photograph
from msgnn_plugin.data.synthesis import MadeRain, find_preset, synthesize


class SyntheticRainDataset(Dataset):
    """Clean photographs under rain made anew for every sample, each with another rainy picture as exemplar.

    ``dataset[index]`` and ``dataset[index, sample_number]`` draw everything (crop, flips, rain, exemplar) from
    (seed, sample_number) alone, as `PairedExemplarDataset` does. Where a preset's rain is alike everywhere it is made
    on the crop only; night, haze and drops on the lens belong to the whole picture and are cut out of it.

    Args:
        root: Folder of clean photographs, at any depth.
        preset: Kind of rain, see ``msgnn_plugin.data.synthesis.PRESETS``.
        crop_size: Side of the square crop in pixels; None gives whole pictures.
        flip: Whether to mirror half of the samples left to right.
        rotate: Whether to mirror half of them top to bottom and transpose half of them.
        exemplar: "random" (any other photograph), "fixed" (always the next one) or "self" (the rainy picture itself).
            The first two are under a rain of their own from the same preset, as two pictures of one set are.
        exclude: Names of photographs to leave out.
        seed: Seed of all draws, at least 0.

    Raises:
        FileNotFoundError: If the folder is missing or holds no photograph.
        ValueError: If an argument is out of its range.
    """

    # Tells a sampler that it may hand over (index, sample number).
    numbered_samples = True

    def __init__(
        self,
        *,
        root: str | Path,
        preset: str,
        crop_size: int | None = None,
        flip: bool = False,
        rotate: bool = False,
        exemplar: str = "random",
        exclude: Sequence[str | int] = (),
        seed: int = 0,
    ) -> None:
        if crop_size is not None and crop_size < 1:
            raise ValueError(f"SyntheticRainDataset: `crop_size` must be at least 1 or None, got {crop_size}.")
        if seed < 0:
            raise ValueError(f"SyntheticRainDataset: `seed` must be at least 0, got {seed}.")
        if exemplar == "retrieved":
            rule = "random, fixed or self, as rain cannot be compared before it is made"
            raise ValueError(f"SyntheticRainDataset: `exemplar` must be {rule}, got 'retrieved'.")
        self.preset = find_preset(preset)
        self.paths = find_photographs(root, exclude)
        self.crop_size = crop_size
        self.flip = flip
        self.rotate = rotate
        self.seed = seed
        self.exemplar_sampler = ExemplarSampler(exemplar, count=len(self.paths))

    def __len__(self) -> int:
        """Return the number of photographs."""
        return len(self.paths)

    def __getitem__(self, item: int | tuple[int, int]) -> dict[str, Any]:
        """Return one sample.

        Args:
            item: Index, or (index, sample number).

        Returns:
            ``lq``, ``gt`` and ``exemplar``: float32, RGB in [0, 1], shape (3, H, W), the last with a size of its own
            when pictures are whole; ``lq_path``, ``gt_path``, ``exemplar_path``: the photographs.

        Raises:
            IndexError: If the index is out of range.
            ValueError: If a photograph cannot be read, or is smaller than the crop.
            OSError: If a file cannot be read.
        """
        index, generator = begin_sample(item, len(self), self.seed, "SyntheticRainDataset")
        made = self._make(index, generator)
        turn = draw_turn(self.flip, self.rotate, generator)
        other = self.exemplar_sampler(index, generator)
        exemplar = made if other == index else self._make(other, generator)
        return {
            "lq": to_tensor(made.rainy, turn),
            "gt": to_tensor(made.clean, turn),
            # Turned like the pair, so that rain keeps its direction between the two.
            "exemplar": to_tensor(exemplar.rainy, turn),
            "lq_path": str(self.paths[index]),
            "gt_path": str(self.paths[index]),
            "exemplar_path": str(self.paths[other]),
        }

    def _make(self, index: int, generator: np.random.Generator) -> MadeRain:
        """Make one rainy crop."""
        path = str(self.paths[index])
        photograph = read_photograph(path)
        window = draw_window(photograph.shape[:2], self.crop_size, generator, f"SyntheticRainDataset: `{path}`")
        if self.preset.additive:
            return synthesize(photograph[window], self.preset, generator)
        whole = synthesize(photograph, self.preset, generator)
        return MadeRain(whole.rainy[window], whole.clean[window], None)
