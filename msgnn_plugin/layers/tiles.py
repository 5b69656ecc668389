"""Pictures in overlapping tiles: where the tiles lie, and how their seams are blended. Ours."""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

# Pixels along an axis, or places of a patch grid: the first, and one after the last.
Span = tuple[int, int]
# Rows and columns.
Region = tuple[Span, Span]


def tile_spans(side: int, tile: int, overlap: int, step: int = 1) -> list[Span]:
    """Cut an axis into the fewest tiles that suffice, of about equal length.

    Args:
        side: Pixels of the axis.
        tile: Largest length of a tile in pixels.
        overlap: Pixels that neighbours share, in [0, tile - step].
        step: Tiles start at multiples of it.

    Returns:
        First pixel and one after the last, tile by tile; one tile where the axis is no longer than that.

    Raises:
        ValueError: If a number is out of its range.
    """
    check_tiles("tile_spans", tile, overlap, step)
    if side <= tile:
        return [(0, side)]
    # In units of the step: what all tiles add to the overlap, and how much of it a tile may add.
    units, most = -((overlap - side) // step), (tile - overlap) // step
    count = -(-units // most)
    starts = [step * (number * units // count) for number in range(count)]
    return [(start, end + overlap) for start, end in itertools.pairwise(starts)] + [(starts[-1], side)]


def check_tiles(where: str, tile: int, overlap: int, step: int = 1) -> None:
    """Raise ValueError, one sentence, unless tiles of this size and overlap can be laid out."""
    if overlap < 0:
        raise ValueError(f"{where}: `tile_overlap` must be at least 0, got {overlap}.")
    if tile - overlap < step:
        why = f", where tiles start at multiples of stride x largest scale = {step}" if step > 1 else ""
        raise ValueError(
            f"{where}: `tile` must be at least `tile_overlap` + {step} = {overlap + step} pixels{why}, got {tile}."
        )


def blend_weights(spans: list[Span]) -> list[Tensor]:
    """Return what each tile counts along an axis: ramps over the overlaps, sum 1 at every pixel.

    Args:
        spans: As `tile_spans` gives them.

    Returns:
        One float64 tensor a tile, of the tile's length.
    """
    middle = torch.arange(spans[-1][1], dtype=torch.float64) + 0.5
    weights = []
    for number, (start, end) in enumerate(spans):
        weight = torch.ones_like(middle)
        if number > 0:
            weight = torch.minimum(weight, (middle - start) / (spans[number - 1][1] - start))
        if number < len(spans) - 1:
            weight = torch.minimum(weight, (end - middle) / (end - spans[number + 1][0]))
        weights.append(weight.clamp_min(0))
    # Tiles shorter than two overlaps leave pixels to three of them.
    total = torch.stack(weights).sum(0)
    return [(weight / total)[start:end] for weight, (start, end) in zip(weights, spans, strict=True)]


def run_in_tiles(
    run: Callable[[Region], Tensor], size: tuple[int, int], *, tile: int, overlap: int, step: int = 1
) -> Tensor:
    """Compute a picture tile by tile and blend the tiles.

    Args:
        run: Returns the picture in a region, rows and columns in pixels; shape (B, C, rows, columns).
        size: Height and width of the picture.
        tile: Largest side of a tile in pixels.
        overlap: Pixels that neighbouring tiles share.
        step: Tiles start at multiples of it.

    Returns:
        The picture, shape (B, C, *size).

    Raises:
        ValueError: If the tiles cannot be laid out so.
    """
    rows, columns = (tile_spans(side, tile, overlap, step) for side in size)
    column_weights = blend_weights(columns)
    picture = None
    for row, row_weight in zip(rows, blend_weights(rows), strict=True):
        for column, column_weight in zip(columns, column_weights, strict=True):
            part = run((row, column))
            if picture is None:
                picture = part.new_zeros(*part.shape[:2], *size)
            picture[:, :, slice(*row), slice(*column)] += part * torch.outer(row_weight, column_weight).to(part)
    return picture
