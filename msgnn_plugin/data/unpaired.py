"""The data set of rainy and clean pictures that do not belong together."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from msgnn_plugin.data.crops import begin_sample, draw_turn, draw_window, to_tensor
from msgnn_plugin.data.pairs import Picture, bare_name, partner_names
from msgnn_plugin.data.reading import PictureReader, describe
from msgnn_plugin.data.sides import SidePicture, find_side


class UnpairedRainDataset(Dataset):
    """Crops of rainy pictures, each with a crop of some clean picture, to train without pairs (Ye et al., CVPR 2022).

    ``dataset[index]`` and ``dataset[index, sample_number]`` draw everything (crops, flips, clean picture) from
    (seed, sample_number) alone, as `PairedExemplarDataset` does. Either root may be a set of pairs, of which only
    that side is taken. **A rainy picture never gets its own partner** unless no other clean picture is there. The
    partner is the one it is paired with on disk, else any clean picture that ``find_pairs`` could pair with it by
    name. The same background under another name is not noticed: `basicsr data verify` names those, to be excluded.

    Args:
        rainy_root: Folder of rainy pictures at any depth, an LMDB, or a set of pairs (see ``find_pairs``).
        clean_root: The same for clean pictures; it may be the same folder.
        left: Which half of a one-file pair is the left one, "clean" (Rain800) or "rainy" (Rain1200).
        crop_size: Side of the square crops in pixels. A smaller picture is extended to it by reflection at its lower
            and right border, not squeezed as in the authors' code.
        flip: Whether to mirror half of the crops left to right, either side on its own.
        rotate: Whether to mirror half of them top to bottom and transpose half of them, likewise.
        exclude: Names of rainy pictures to leave out.
        exclude_clean: Names of clean pictures to leave out.
        seed: Seed of all draws, at least 0.

    Raises:
        FileNotFoundError: If a folder is missing or holds no pictures.
        ValueError: If a set of pairs or an LMDB is damaged, or an argument is out of its range.
    """

    # Tells a sampler that it may hand over (index, sample number).
    numbered_samples = True

    def __init__(
        self,
        *,
        rainy_root: str | Path,
        clean_root: str | Path,
        left: str = "clean",
        crop_size: int = 256,
        flip: bool = False,
        rotate: bool = False,
        exclude: Sequence[str | int] = (),
        exclude_clean: Sequence[str | int] = (),
        seed: int = 0,
    ) -> None:
        if crop_size < 1:
            raise ValueError(f"UnpairedRainDataset: `crop_size` must be at least 1, got {crop_size}.")
        if seed < 0:
            raise ValueError(f"UnpairedRainDataset: `seed` must be at least 0, got {seed}.")
        rainy = find_side(rainy_root, "rainy", left=left, exclude=exclude)
        clean = find_side(clean_root, "clean", left=left, exclude=exclude_clean)
        self.rainy = [entry.picture for entry in rainy]
        self.clean = [entry.picture for entry in clean]
        self.partners = _find_partners(rainy, clean)
        self.reader = PictureReader()
        self.crop_size = crop_size
        self.flip = flip
        self.rotate = rotate
        self.seed = seed

    def __len__(self) -> int:
        """Return the number of rainy pictures."""
        return len(self.rainy)

    def __getitem__(self, item: int | tuple[int, int]) -> dict[str, Any]:
        """Return one sample.

        Args:
            item: Index of a rainy picture, or (index, sample number).

        Returns:
            ``lq`` (rainy) and ``clean``, which show different places: float32, RGB in [0, 1], shape
            (3, crop_size, crop_size); ``lq_path``, ``clean_path``: where they come from.

        Raises:
            IndexError: If the index is out of range.
            ValueError: If a picture cannot be read.
            OSError: If a file cannot be read.
        """
        index, generator = begin_sample(item, len(self), self.seed, "UnpairedRainDataset")
        rainy = self.rainy[index]
        clean = self.clean[self._draw_clean(index, generator)]
        return {
            "lq": self._crop(rainy, generator),
            "clean": self._crop(clean, generator),
            "lq_path": describe(rainy),
            "clean_path": describe(clean),
        }

    def _draw_clean(self, index: int, generator: np.random.Generator) -> int:
        """Draw a clean picture among all but the partners of a rainy one."""
        partners = self.partners[index]
        if len(partners) == len(self.clean):
            partners = []
        drawn = int(generator.integers(len(self.clean) - len(partners)))
        for partner in partners:
            drawn += drawn >= partner
        return drawn

    def _crop(self, picture: Picture, generator: np.random.Generator) -> torch.Tensor:
        image = self.reader.read_picture(picture)
        lacking = [max(0, self.crop_size - side) for side in image.shape[:2]]
        if any(lacking):
            # NumPy reflects as often as it takes, and repeats a side of one pixel.
            image = np.pad(image, [(0, lacking[0]), (0, lacking[1]), (0, 0)], mode="reflect")
        window = draw_window(image.shape[:2], self.crop_size, generator, f"UnpairedRainDataset: `{describe(picture)}`")
        return to_tensor(image[window], draw_turn(self.flip, self.rotate, generator))


def _find_partners(rainy: Sequence[SidePicture], clean: Sequence[SidePicture]) -> list[list[int]]:
    """Return the ascending places of each rainy picture's partners among the clean ones."""
    at: dict[tuple, int] = {}
    of_stem: dict[str, set[int]] = {}
    of_bare: dict[str, set[int]] = {}
    for place, entry in enumerate(clean):
        stem = _stem(entry.picture)
        at[_identity(entry.picture)] = place
        of_stem.setdefault(stem, set()).add(place)
        of_bare.setdefault(bare_name(stem), set()).add(place)
    partners = []
    for entry in rainy:
        known = None if entry.partner is None else at.get(_identity(entry.partner))
        if known is None:
            stem = _stem(entry.picture)
            names = partner_names(stem)
            partners.append(sorted(of_stem.get(stem, set()).union(*(of_bare.get(name, set()) for name in names))))
        else:
            partners.append([known])
    return partners


def _identity(picture: Picture) -> tuple[str, str | None, str | None]:
    """Return what two entries for one picture have in common, whatever links their paths go through."""
    return os.path.realpath(picture.path), picture.half, picture.key


def _stem(picture: Picture) -> str:
    return Path(describe(picture)).stem
