"""The data set of rainy and clean pictures with an exemplar beside them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from msgnn_plugin.data.crops import begin_sample, draw_turn, draw_window, to_tensor
from msgnn_plugin.data.description_cache import describe_pictures
from msgnn_plugin.data.exemplars import ExemplarSampler
from msgnn_plugin.data.layouts import find_pairs
from msgnn_plugin.data.pairs import Picture
from msgnn_plugin.data.reading import PictureReader, describe


class PairedExemplarDataset(Dataset):
    """Rainy and clean pictures, each with another rainy picture as exemplar (Wang et al., IJCAI 2024).

    ``dataset[index]`` and ``dataset[index, sample_number]`` draw everything (crop, flips, exemplar, its crop) from
    (seed, sample_number) alone, so that workers, ranks and resumed runs see the same samples; with an index alone
    the sample number is the index.

    Args:
        root: Folder of the set in any published layout, or as `basicsr data prepare` writes it, or the manifest that
            `basicsr distill` writes (see ``find_pairs``).
        rainy_root: Folder or LMDB of the rainy pictures, together with ``clean_root`` instead of ``root``.
        clean_root: Folder or LMDB of the clean pictures.
        left: Which half of a one-file pair is the left one, "clean" (Rain800) or "rainy" (Rain1200).
        crop_size: Side of the square crop in pixels; None gives whole pictures.
        flip: Whether to mirror half of the samples left to right.
        rotate: Whether to mirror half of them top to bottom and transpose half of them.
        exemplar: "random" (any other picture), "fixed" (``exemplar_path``, else always the next picture), "self" or
            "retrieved" (one of the others whose rain looks most alike; see ``describe_pictures`` for what it keeps).
        exemplar_path: Rainy picture for "fixed".
        exemplar_nearest: Among how many "retrieved" draws.
        exclude: Names of pictures to leave out.
        seed: Seed of all draws, at least 0.

    Raises:
        FileNotFoundError: If a folder is missing or empty, or ``exemplar_path`` is.
        ValueError: If a picture lacks its partner, an LMDB is damaged, or an argument is out of its range.
    """

    # Tells a sampler that it may hand over (index, sample number).
    numbered_samples = True

    def __init__(
        self,
        *,
        root: str | Path | None = None,
        rainy_root: str | Path | None = None,
        clean_root: str | Path | None = None,
        left: str = "clean",
        crop_size: int | None = None,
        flip: bool = False,
        rotate: bool = False,
        exemplar: str = "random",
        exemplar_path: str | Path | None = None,
        exemplar_nearest: int = 5,
        exclude: Sequence[str | int] = (),
        seed: int = 0,
    ) -> None:
        if crop_size is not None and crop_size < 1:
            raise ValueError(f"PairedExemplarDataset: `crop_size` must be at least 1 or None, got {crop_size}.")
        if seed < 0:
            raise ValueError(f"PairedExemplarDataset: `seed` must be at least 0, got {seed}.")
        if exemplar_path is not None and exemplar != "fixed":
            raise ValueError(f"PairedExemplarDataset: `exemplar` must be 'fixed' for exemplar_path, got {exemplar!r}.")
        if exemplar_path is not None and not Path(exemplar_path).is_file():
            raise FileNotFoundError(f"PairedExemplarDataset: `exemplar_path` must be a picture, got {exemplar_path}.")
        self.pairs = find_pairs(root, rainy_root=rainy_root, clean_root=clean_root, left=left, exclude=exclude)
        self.reader = PictureReader()
        self.crop_size = crop_size
        self.flip = flip
        self.rotate = rotate
        self.seed = seed
        self.exemplar = Picture(str(exemplar_path)) if exemplar_path is not None else None
        self.exemplar_sampler = self._make_sampler(exemplar, exemplar_nearest) if self.exemplar is None else None

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.pairs)

    def __getitem__(self, item: int | tuple[int, int]) -> dict[str, Any]:
        """Return one sample.

        Args:
            item: Index, or (index, sample number).

        Returns:
            ``lq``, ``gt`` and ``exemplar``: float32, RGB in [0, 1], shape (3, H, W), the last with a size of its own
            when pictures are whole; ``lq_path``, ``gt_path``, ``exemplar_path``: where they come from.

        Raises:
            IndexError: If the index is out of range.
            ValueError: If a picture cannot be read, sizes differ, or it is smaller than the crop.
            OSError: If a file cannot be read.
        """
        index, generator = begin_sample(item, len(self), self.seed, "PairedExemplarDataset")

        pair = self.pairs[index]
        # An LMDB of raw rows gives views of the mapped file, so that only what the windows cut out is read.
        whole_rainy, whole_clean = self.reader.read_pair(pair)
        window = self._draw_window(whole_rainy, pair.rainy, generator)
        turn = draw_turn(self.flip, self.rotate, generator)
        chosen, whole_exemplar = self._exemplar_of(index, whole_rainy, generator)
        exemplar_window = self._draw_window(whole_exemplar, chosen, generator)
        return {
            "lq": to_tensor(whole_rainy[window], turn),
            "gt": to_tensor(whole_clean[window], turn),
            # Turned like the pair, so that rain keeps its direction between the two.
            "exemplar": to_tensor(whole_exemplar[exemplar_window], turn),
            "lq_path": describe(pair.rainy),
            "gt_path": describe(pair.clean),
            "exemplar_path": describe(chosen),
        }

    def _make_sampler(self, policy: str, nearest: int) -> ExemplarSampler:
        several = policy == "retrieved" and len(self.pairs) > 1
        descriptions = describe_pictures([pair.rainy for pair in self.pairs]) if several else None
        return ExemplarSampler(policy, count=len(self.pairs), nearest=nearest, descriptions=descriptions)

    def _draw_window(self, image: np.ndarray, picture: Picture, generator: np.random.Generator) -> tuple[slice, slice]:
        return draw_window(image.shape[:2], self.crop_size, generator, f"PairedExemplarDataset: `{describe(picture)}`")

    def _exemplar_of(self, index: int, rainy: np.ndarray, generator: np.random.Generator) -> tuple[Picture, np.ndarray]:
        """Return the exemplar's place and picture; ``rainy`` is the picture at ``index``, already read."""
        if self.exemplar_sampler is None:
            return self.exemplar, self.reader.read_picture(self.exemplar)
        other = self.exemplar_sampler(index, generator)
        picture = self.pairs[other].rainy
        return picture, rainy if other == index else self.reader.read_picture(picture)
