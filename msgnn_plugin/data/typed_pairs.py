"""Pairs of several types of rain in one data set, as UniRain trains on them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from torch.utils.data import Dataset

from msgnn_plugin.data.crops import begin_sample
from msgnn_plugin.data.paired import PairedExemplarDataset
from msgnn_plugin.data.synthetic import SyntheticRainDataset

# Streaks and drops by day, streaks and drops by night: the order of the types' numbers.
TYPES = ("drs", "drd", "nrs", "nrd")
Sampling = Literal["natural", "balanced"]
# Every so many-th photograph is kept from training.
HELD_OUT = 10


class TypedSamples(Dataset):
    """What both data sets below share: samples of several types, each with the number of its type.

    ``dataset[index]`` and ``dataset[index, sample_number]`` draw everything from (seed, sample_number) alone, as
    `PairedExemplarDataset` does; with an index alone the number is the place within the type.

    Args:
        where: The data set, to begin errors with.
        parts: By type, a data set and which of its samples to take, at least one.
        sampling: "natural": every sample once. "balanced": as many of each type as the largest has, those of smaller
            types several times.

    Raises:
        ValueError: If ``sampling`` is neither.
    """

    # Tells a sampler that it may hand over (index, sample number).
    numbered_samples = True

    def __init__(self, where: str, parts: Mapping[str, tuple[Dataset, Sequence[int]]], sampling: Sampling) -> None:
        if sampling not in ("natural", "balanced"):
            raise ValueError(f"{where}: `sampling` must be natural or balanced, got {sampling!r}.")
        self.where = where
        self.types = tuple(parts)
        self.parts = list(parts.values())
        counts = [len(chosen) for _, chosen in self.parts]
        if sampling == "balanced":
            counts = [max(counts)] * len(counts)
        self.places = [(number, place) for number, count in enumerate(counts) for place in range(count)]

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.places)

    def __getitem__(self, item: int | tuple[int, int]) -> dict[str, Any]:
        """Return one sample.

        Args:
            item: Index, or (index, sample number).

        Returns:
            ``lq`` and ``gt``: float32, RGB in [0, 1], shape (3, H, W); ``type_id``: the number of its type, an int;
            ``lq_path`` and ``gt_path``: where they come from.

        Raises:
            IndexError: If the index is out of range.
            ValueError: If a picture cannot be read, sizes differ, or it is smaller than the crop.
            OSError: If a file cannot be read.
        """
        index, _ = begin_sample(item, len(self), 0, self.where)
        type_id, place = self.places[index]
        part, chosen = self.parts[type_id]
        inner = chosen[place % len(chosen)]
        sample = part[(inner, item[1]) if isinstance(item, (tuple, list)) else inner]
        return {
            **{key: sample[key] for key in ("lq", "gt", "lq_path", "gt_path")},
            "type_id": type_id,
        }


class TypedPairDataset(TypedSamples):
    """Pairs on disk, ``ROOT/TYPE/{input,target}/NAME``, or any layout that `find_pairs` knows in ``ROOT/TYPE``.

    Args:
        root: Folder of the types' folders.
        types: Their names, in the order of the types' numbers.
        crop_size: Side of the square crop in pixels; None gives whole pictures.
        flip: Whether to mirror half of the samples left to right.
        rotate: Whether to mirror half of them top to bottom and transpose half of them.
        sampling: "natural" (every pair once) or "balanced" (each type as often as the largest).
        limit: Takes only so many pairs of each type, spread evenly; None takes all.
        seed: Seed of all draws, at least 0.

    Raises:
        FileNotFoundError: If a type's folder is missing or empty.
        ValueError: If a picture lacks its partner, or an argument is out of its range.
    """

    def __init__(
        self,
        *,
        root: str | Path,
        types: Sequence[str] = TYPES,
        crop_size: int | None = None,
        flip: bool = False,
        rotate: bool = False,
        sampling: Sampling = "natural",
        limit: int | None = None,
        seed: int = 0,
    ) -> None:
        where = "TypedPairDataset"
        _check(where, types, limit)
        parts = {}
        for name in types:
            part = PairedExemplarDataset(
                root=Path(root) / name, crop_size=crop_size, flip=flip, rotate=rotate, exemplar="self", seed=seed
            )
            parts[name] = part, _spread(range(len(part)), limit)
        super().__init__(where, parts, sampling)


class SyntheticTypedDataset(TypedSamples):
    """Clean photographs under rain of several types, made anew for every sample; all types rain on the same ones.

    Args:
        root: Folder of clean photographs, at any depth.
        types: Presets of made rain, in the order of the types' numbers.
        subset: "train" leaves out every tenth photograph, "val" takes those alone, "all" takes all.
        crop_size: Side of the square crop in pixels; None gives whole pictures.
        flip: Whether to mirror half of the samples left to right.
        rotate: Whether to mirror half of them top to bottom and transpose half of them.
        limit: Takes only so many photographs of the subset, spread evenly; None takes all.
        exclude: Names of photographs to leave out.
        seed: Seed of all draws, at least 0.

    Raises:
        FileNotFoundError: If the folder is missing or holds no photograph.
        ValueError: If the subset is empty, or an argument is out of its range.
    """

    def __init__(
        self,
        *,
        root: str | Path,
        types: Sequence[str] = TYPES,
        subset: Literal["all", "train", "val"] = "all",
        crop_size: int | None = None,
        flip: bool = False,
        rotate: bool = False,
        limit: int | None = None,
        exclude: Sequence[str | int] = (),
        seed: int = 0,
    ) -> None:
        where = "SyntheticTypedDataset"
        _check(where, types, limit)
        if subset not in ("all", "train", "val"):
            raise ValueError(f"{where}: `subset` must be all, train or val, got {subset!r}.")
        parts = {}
        for name in types:
            part = SyntheticRainDataset(
                root=root,
                preset=name,
                crop_size=crop_size,
                flip=flip,
                rotate=rotate,
                exemplar="self",
                exclude=exclude,
                seed=seed,
            )
            chosen = [i for i in range(len(part)) if subset == "all" or (i % HELD_OUT == 0) == (subset == "val")]
            if not chosen:
                raise ValueError(f"{where}: `root` must hold at least 2 photographs to train on some, got {root}.")
            parts[name] = part, _spread(chosen, limit)
        super().__init__(where, parts, "natural")


def _check(where: str, types: Sequence[str], limit: int | None) -> None:
    if isinstance(types, str) or not types or len(set(types)) < len(types):
        raise ValueError(f"{where}: `types` must be a list of at least one name, each once, got {types!r}.")
    if limit is not None and limit < 1:
        raise ValueError(f"{where}: `limit` must be at least 1 or None, got {limit}.")


def _spread(chosen: Sequence[int], limit: int | None) -> Sequence[int]:
    """Return at most ``limit`` of them, at even distances."""
    if limit is None or limit >= len(chosen):
        return chosen
    return [chosen[number * len(chosen) // limit] for number in range(limit)]
