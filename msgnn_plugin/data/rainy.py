"""The data set of rainy pictures that nobody has a clean side of."""

import operator
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from msgnn_plugin.data.description_cache import describe_pictures
from msgnn_plugin.data.exemplars import ExemplarSampler
from msgnn_plugin.data.images import list_images, to_unit_range
from msgnn_plugin.data.pairs import Picture, as_stems
from msgnn_plugin.data.reading import PictureReader


class RainyExemplarDataset(Dataset):
    """Whole rainy pictures of one folder, each with an exemplar; for testing on real rain.

    Args:
        root: Folder of the pictures, of any sizes; its sub-folders are not looked into.
        exemplar: "random" (any other picture), "fixed" (``exemplar_path``, else always the next picture), "self" or
            "retrieved" (one of the others whose rain looks most alike).
        exemplar_path: Rainy picture for "fixed".
        exemplar_nearest: Among how many "retrieved" draws.
        exclude: Names of pictures to leave out.
        seed: Seed of the draws, at least 0; a picture's exemplar depends on it and the picture's index alone.

    Raises:
        FileNotFoundError: If the folder is missing or holds no picture, or ``exemplar_path`` is missing.
        ValueError: If two names differ in the suffix alone, or an argument is out of its range.
    """

    def __init__(
        self,
        *,
        root: str | Path,
        exemplar: str = "random",
        exemplar_path: str | Path | None = None,
        exemplar_nearest: int = 5,
        exclude: Sequence[str | int] = (),
        seed: int = 0,
    ) -> None:
        if seed < 0:
            raise ValueError(f"RainyExemplarDataset: `seed` must be at least 0, got {seed}.")
        if exemplar_path is not None and exemplar != "fixed":
            raise ValueError(f"RainyExemplarDataset: `exemplar` must be 'fixed' for exemplar_path, got {exemplar!r}.")
        if exemplar_path is not None and not Path(exemplar_path).is_file():
            raise FileNotFoundError(f"RainyExemplarDataset: `exemplar_path` must be a picture, got {exemplar_path}.")
        self.pictures = [Picture(str(path)) for path in _pictures(Path(root), as_stems(exclude))]
        self.reader = PictureReader()
        self.seed = seed
        self.exemplar = None if exemplar_path is None else Picture(str(exemplar_path))
        self.exemplar_sampler = self._make_sampler(exemplar, exemplar_nearest) if self.exemplar is None else None

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.pictures)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return one picture.

        Args:
            index: Which one.

        Returns:
            ``lq`` and ``exemplar``: float32, RGB in [0, 1], shape (3, H, W), each with its own size; ``lq_path`` and
            ``exemplar_path``: where they come from.

        Raises:
            IndexError: If the index is out of range.
            ValueError: If a picture cannot be read.
            OSError: If a file cannot be read.
        """
        index = operator.index(index)
        if not 0 <= index < len(self.pictures):
            raise IndexError(f"RainyExemplarDataset: index must be in [0, {len(self.pictures)}), got {index}.")
        picture = self.pictures[index]
        exemplar = self.exemplar
        if exemplar is None:
            generator = np.random.default_rng(np.random.SeedSequence((self.seed, index)))
            exemplar = self.pictures[self.exemplar_sampler(index, generator)]
        return {
            "lq": self._read(picture),
            "exemplar": self._read(exemplar),
            "lq_path": picture.path,
            "exemplar_path": exemplar.path,
        }

    def _make_sampler(self, policy: str, nearest: int) -> ExemplarSampler:
        several = policy == "retrieved" and len(self.pictures) > 1
        descriptions = describe_pictures(self.pictures) if several else None
        return ExemplarSampler(policy, count=len(self.pictures), nearest=nearest, descriptions=descriptions)

    def _read(self, picture: Picture) -> torch.Tensor:
        return torch.from_numpy(to_unit_range(self.reader.read_picture(picture)))


def _pictures(root: Path, exclude: frozenset[str]) -> list[Path]:
    """Return the pictures of a folder by their names, whose results must not overwrite each other."""
    if not root.is_dir():
        raise FileNotFoundError(f"RainyExemplarDataset: `root` must be a folder of rainy pictures, got {root}.")
    paths: dict[str, Path] = {}
    for path in list_images(root):
        if path.stem in exclude:
            continue
        if path.stem in paths:
            raise ValueError(
                f"RainyExemplarDataset: `root` must hold names that differ in more than the suffix, got "
                f"{paths[path.stem].name} and {path.name} in {root}."
            )
        paths[path.stem] = path
    if not paths:
        raise FileNotFoundError(f"RainyExemplarDataset: `root` must hold a picture to take, got {root} without one.")
    return list(paths.values())
