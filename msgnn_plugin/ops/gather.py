"""Row gathers of the two differentiable ops: chunked over queries forward, by inverse index (no atomics) backward."""

import torch
import torch.nn.functional as F
from torch import Tensor

# Elements of a gathered block: small enough to stay in cache, large enough to keep the loop's cost away.
GATHER_ELEMENTS = 1 << 21


def memory_format_like(image: Tensor) -> torch.memory_format:
    """Return the layout that a map takes after another: channels last where that one's channels are neighbours."""
    channels_last = image.shape[1] > 1 and image.stride(1) == 1
    return torch.channels_last if channels_last else torch.contiguous_format


def finished_map(result: Tensor, image: Tensor) -> Tensor:
    """Give a computed map the dtype and the layout of the map it belongs to."""
    return result.to(image.dtype).contiguous(memory_format=memory_format_like(image))


def flat_index(op: str, index: Tensor, num_rows: int) -> Tensor:
    """Turn (B, M, K) places of B tables into (B * M, K) places of one table of B * num_rows rows.

    Raises:
        IndexError: If a place is outside its own table.
    """
    if index.numel() and not 0 <= int(index.min()) <= int(index.max()) < num_rows:
        raise IndexError(
            f"{op}: `index` must lie in [0, {num_rows - 1}], the database's places, "
            f"got {int(index.min())} to {int(index.max())}."
        )
    offset = torch.arange(index.shape[0], device=index.device)[:, None, None] * num_rows
    return (index + offset).flatten(0, 1)


def query_chunks(index: Tensor, row_elements: int) -> list[slice]:
    """Split the M rows of a flat (M, K) index into slices whose gathered rows hold about `GATHER_ELEMENTS` values."""
    step = max(GATHER_ELEMENTS // (index.shape[1] * row_elements), 1)
    return [slice(start, start + step) for start in range(0, index.shape[0], step)]


def weighted_rows(table: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """Return sum_k weight[m, k] * table[index[m, k]], shape (M, D), without the (M, K, D) gather."""
    return F.embedding_bag(index, table, mode="sum", per_sample_weights=weight)


def scatter_rows(rows: Tensor, index: Tensor, num_rows: int, weight: Tensor | None = None) -> Tensor:
    """Add rows onto the places that an index names: the adjoint of a gather, in a fixed order.

    Args:
        rows: What to add: (M, D) with ``weight`` (each row goes to its K places), or (M * K, D) without.
        index: Places, shape (M, K), int64.
        num_rows: Rows of the result.
        weight: Factor of each (row, place), shape (M, K).

    Returns:
        Sums, shape (num_rows, D).
    """
    order = index.flatten().argsort(stable=True)
    counts = torch.bincount(index.flatten(), minlength=num_rows)
    starts = counts.cumsum(0) - counts
    if weight is None:
        return F.embedding_bag(order, rows, starts, mode="sum")
    return F.embedding_bag(
        order // index.shape[1], rows, starts, mode="sum", per_sample_weights=weight.flatten()[order]
    )
