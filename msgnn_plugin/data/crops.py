"""What a sample draws from: its own generator, then windows and turns; and from pixels to a tensor."""

import operator

import numpy as np
import torch

from msgnn_plugin.data.images import to_unit_range


def begin_sample(item: int | tuple[int, int], count: int, seed: int, where: str) -> tuple[int, np.random.Generator]:
    """Tell which picture an item is of, and give what all of its draws come from.

    Args:
        item: Index, negative ones from the end, or (index, sample number); alone it is its own sample number.
        count: Pictures in the data set.
        seed: Seed of all draws.
        where: The data set, to begin an error with.

    Returns:
        Index in [0, count), and a generator that depends on seed and sample number alone.

    Raises:
        IndexError: If the index is out of range.
    """
    index, number = locate_sample(item, count, where)
    return index, np.random.default_rng(np.random.SeedSequence((seed, number)))


def locate_sample(item: int | tuple[int, int], count: int, where: str) -> tuple[int, int]:
    """Return index, in [0, count), and sample number of an item; see `begin_sample`.

    Raises:
        IndexError: If the index is out of range.
    """
    index, number = item if isinstance(item, (tuple, list)) else (item, None)
    index = operator.index(index)
    if not -count <= index < count:
        raise IndexError(f"{where}: index must be in [{-count}, {count}), got {index}.")
    index %= count
    return index, index if number is None else operator.index(number)


def draw_window(
    size: tuple[int, int], crop_size: int | None, generator: np.random.Generator, where: str
) -> tuple[slice, slice]:
    """Draw where to crop; every position is equally likely.

    Args:
        size: Height and width of the picture.
        crop_size: Side of the square window; None takes the whole picture.
        generator: Source of the draw.
        where: The data set and the picture, to begin an error with.

    Returns:
        Rows and columns.

    Raises:
        ValueError: If the picture is smaller than the window.
    """
    if crop_size is None:
        return slice(None), slice(None)
    height, width = size
    if min(height, width) < crop_size:
        raise ValueError(
            f"{where} must be at least crop_size = {crop_size} pixels a side, got {width}x{height}. "
            "Exclude it or choose a smaller crop."
        )
    top = int(generator.integers(height - crop_size + 1))
    left = int(generator.integers(width - crop_size + 1))
    return slice(top, top + crop_size), slice(left, left + crop_size)


def draw_turn(flip: bool, rotate: bool, generator: np.random.Generator) -> tuple[bool, bool, bool]:
    """Draw whether to mirror left to right (if ``flip``), mirror top to bottom and transpose (if ``rotate``)."""
    across, down, transpose = (bool(bit) for bit in generator.integers(2, size=3))
    return flip and across, rotate and down, rotate and transpose


def to_tensor(image: np.ndarray, turn: tuple[bool, bool, bool]) -> torch.Tensor:
    """Mirror and transpose an 8- or 16-bit picture (H, W, 3) and make it a float32 tensor (3, H, W) in [0, 1]."""
    across, down, transpose = turn
    if across:
        image = image[:, ::-1]
    if down:
        image = image[::-1]
    if transpose:
        image = image.transpose(1, 0, 2)
    return torch.from_numpy(to_unit_range(image))
