"""The k nearest patches of each query patch, exactly, in bounded memory. Section 3.2 of MSGNN (IJCAI 2024)."""

from typing import Optional

import torch
from torch import Tensor

from msgnn_plugin.ops.checks import check_map, check_patches, check_same_kind
from msgnn_plugin.ops.grid import extract_patches, grid_length
from msgnn_plugin.ops.precision import at_least_float32

# Entries of one block of the distance matrix (float64): 64 MiB.
BLOCK_ENTRIES = 1 << 23
# Windows of neighbouring queries overlap, so a square tile of queries shares one box of candidates.
QUERY_TILE = 16


def patch_knn(
    query: Tensor,
    database: Tensor,
    *,
    patch_size: int,
    stride: int,
    num_neighbors: int,
    window_size: int | None = None,
    window_origin: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Find the k nearest database patches of each query patch.

    The neighbours are those of a float64 brute force over the given values, ties going to the smaller index; NaN
    counts as infinitely far. No gradient flows: use `patch_difference` on the returned index for that.

    Args:
        query: Map whose patches ask, shape (B, C, H, W).
        database: Map whose patches answer, shape (B, C, H', W'), same dtype and device.
        patch_size: Side of a patch in pixels.
        stride: Step between patches in pixels.
        num_neighbors: k, at most the number of candidates of a query.
        window_size: Side of the square window of candidates in database grid places, cut to the grid's shorter side;
            None searches everywhere.
        window_origin: Top-left grid place (row, column) of each query's window, shape (M, 2), int64; None centres the
            window on the query's own relative place, moved inside the grid where it would leave it.

    Returns:
        ``index`` (B, M, K) int64 into the database's row-major grid, nearest first, and ``distance`` (B, M, K),
        squared L2, of the query's dtype (float32 for half precisions), exact to 1e-12 of the patches' squared norms.

    Raises:
        ValueError: If shapes differ, or a size is out of its range.
        TypeError: If dtypes or devices differ.
    """
    check_map("patch_knn", "query", query)
    check_map("patch_knn", "database", database)
    check_same_kind("patch_knn", query, database)
    check_patches("patch_knn", patch_size, stride)
    rows, columns = (grid_length(size, patch_size, stride) for size in database.shape[2:])
    _check_candidates(num_neighbors, window_size, rows, columns)
    if window_origin is not None:
        query_grid = [grid_length(size, patch_size, stride) for size in query.shape[2:]]
        _check_origin(window_origin, window_size, query_grid, (rows, columns))
    return _patch_knn(query, database, patch_size, stride, num_neighbors, window_size, window_origin)


def window_side(window_size: int, database_grid: tuple[int, int]) -> int:
    """Return the side of the square window in grid places: ``window_size`` cut to the shorter side of the grid."""
    return torch.sym_min(window_size, torch.sym_min(*database_grid))


def centred_window_origin(
    query_grid: tuple[int, int], database_grid: tuple[int, int], window_size: int, device: torch.device | None = None
) -> Tensor:
    """Return the windows that `patch_knn` uses by itself: centred on each query's own relative place.

    Args:
        query_grid: Rows and columns of the query grid.
        database_grid: Rows and columns of the database grid.
        window_size: Side of the window before it is cut to the grid.
        device: Device of the result.

    Returns:
        Top-left places, shape (M, 2), int64.
    """
    side = window_side(window_size, database_grid)
    axes = []
    for queries, places in zip(query_grid, database_grid, strict=True):
        own_place = (2 * torch.arange(queries, device=device) + 1) * places // (2 * queries)
        axes.append((own_place - side // 2).clamp(0, places - side))
    return torch.cartesian_prod(*axes).reshape(-1, 2)


def _check_candidates(num_neighbors: int, window_size: int | None, rows: int, columns: int) -> None:
    if window_size is not None and window_size < 1:
        raise ValueError(f"patch_knn: `window_size` must be at least 1 or None, got {window_size}.")
    candidates = rows * columns if window_size is None else window_side(window_size, (rows, columns)) ** 2
    if not 1 <= num_neighbors <= candidates:
        raise ValueError(
            f"patch_knn: `num_neighbors` must be in [1, {candidates}], the number of candidate patches, "
            f"got {num_neighbors}."
        )


def _check_origin(origin: Tensor, window_size: int | None, query_grid: list[int], grid: tuple[int, int]) -> None:
    if window_size is None:
        raise ValueError("patch_knn: `window_origin` must come with a `window_size`, got None.")
    if origin.dtype != torch.int64:
        raise TypeError(f"patch_knn: `window_origin` must be int64, got {origin.dtype}.")
    count = query_grid[0] * query_grid[1]
    if tuple(origin.shape) != (count, 2):
        raise ValueError(
            f"patch_knn: `window_origin` must have shape (M, 2) = ({count}, 2), got {tuple(origin.shape)}."
        )
    if torch.compiler.is_compiling() or origin.is_meta:
        return
    side = window_side(window_size, grid)
    limit = origin.new_tensor([grid[0] - side, grid[1] - side])
    if ((origin < 0) | (origin > limit)).any():
        raise ValueError(
            f"patch_knn: `window_origin` must lie in [0, {limit[0]}] x [0, {limit[1]}] to stay in the grid, "
            f"got places from {origin.amin(0).tolist()} to {origin.amax(0).tolist()}."
        )


@torch.library.custom_op("msgnn_plugin::patch_knn", mutates_args=())
def _patch_knn(
    query: Tensor,
    database: Tensor,
    patch_size: int,
    stride: int,
    num_neighbors: int,
    window_size: Optional[int],  # noqa: UP045 (the schema reader of torch 2.11 knows this spelling only)
    window_origin: Optional[Tensor],  # noqa: UP045
) -> tuple[Tensor, Tensor]:
    query_patches = extract_patches(at_least_float32(query), patch_size, stride)
    database_patches = extract_patches(at_least_float32(database), patch_size, stride)
    query_grid = tuple(grid_length(size, patch_size, stride) for size in query.shape[2:])
    grid = tuple(grid_length(size, patch_size, stride) for size in database.shape[2:])
    if window_size is None or window_side(window_size, grid) == max(grid):
        index, distance = _search_everything(query_patches, database_patches, num_neighbors)
    else:
        if window_origin is None:
            window_origin = centred_window_origin(query_grid, grid, window_size)
        side = window_side(window_size, grid)
        index, distance = _search_windows(
            query_patches, database_patches, query_grid, grid, num_neighbors, side, window_origin.cpu()
        )
    return index, distance.to(query_patches.dtype)


@_patch_knn.register_fake
def _(
    query: Tensor,
    database: Tensor,
    patch_size: int,
    stride: int,
    num_neighbors: int,
    window_size: int | None,
    window_origin: Tensor | None,
) -> tuple[Tensor, Tensor]:
    count = grid_length(query.shape[2], patch_size, stride) * grid_length(query.shape[3], patch_size, stride)
    shape = (query.shape[0], count, num_neighbors)
    dtype = query.dtype if query.dtype == torch.float64 else torch.float32
    return query.new_empty(shape, dtype=torch.int64), query.new_empty(shape, dtype=dtype)


def _search_everything(query: Tensor, database: Tensor, num_neighbors: int) -> tuple[Tensor, Tensor]:
    database = database.double()
    step = max(BLOCK_ENTRIES // (database.shape[0] * database.shape[1]), 1)
    blocks = [_nearest(block.double(), database, None, num_neighbors) for block in query.split(step, dim=1)]
    index, distance = (torch.cat(part, dim=1) for part in zip(*blocks, strict=True))
    return index, distance


def _search_windows(
    query: Tensor,
    database: Tensor,
    query_grid: tuple[int, int],
    grid: tuple[int, int],
    num_neighbors: int,
    side: int,
    origin: Tensor,
) -> tuple[Tensor, Tensor]:
    """Search by tiles of queries; a tile's candidates are the bounding box of its windows, masked query by query."""
    shape = (*query.shape[:2], num_neighbors)
    index = torch.empty(shape, dtype=torch.int64, device=query.device)
    distance = torch.empty(shape, dtype=torch.float64, device=query.device)
    database = database.unflatten(1, grid)
    places = torch.arange(query_grid[0] * query_grid[1]).view(query_grid)
    tiles = [tile.flatten() for row in places.split(QUERY_TILE, 0) for tile in row.split(QUERY_TILE, 1)]
    for tile in tiles:
        corner = origin[tile]
        (top, left), (bottom, right) = corner.amin(0).tolist(), (corner.amax(0) + side).tolist()
        box = database[:, top:bottom, left:right].flatten(1, 2).double()
        row, column = torch.arange(top, bottom), torch.arange(left, right)
        inside_rows = (row >= corner[:, :1]) & (row < corner[:, :1] + side)
        inside_columns = (column >= corner[:, 1:]) & (column < corner[:, 1:] + side)
        outside = ~(inside_rows[:, :, None] & inside_columns[:, None, :]).flatten(1)
        tile = tile.to(query.device)
        best, distance[:, tile] = _nearest(query[:, tile].double(), box, outside.to(query.device), num_neighbors)
        box_width = right - left
        index[:, tile] = (best // box_width + top) * grid[1] + best % box_width + left
    return index, distance


def _nearest(query: Tensor, database: Tensor, outside: Tensor | None, num_neighbors: int) -> tuple[Tensor, Tensor]:
    """Rank by |q|^2 - 2 q.d + |d|^2; where its rounding could change the order, rank by plain differences instead.

    Args:
        query: (B, M, D) float64.
        database: (B, N, D) float64.
        outside: (M, N) bool, candidates that a query must not take, or None.
        num_neighbors: K.

    Returns:
        Index into N and squared distance, both (B, M, K).
    """
    query_norm, database_norm = query.square().sum(-1), database.square().sum(-1)
    distance = torch.baddbmm(database_norm[:, None], query, database.mT, alpha=-2).add_(query_norm[..., None])
    if outside is not None:
        distance.masked_fill_(outside, torch.inf)
    # One more than asked for, to see whether the last place is contested.
    count = min(num_neighbors + 1, distance.shape[-1])
    near, index = distance.nan_to_num_(nan=torch.inf, posinf=torch.inf).topk(count, largest=False)
    # Bound on the rounding of two dot products of D terms and their sum, with a factor of 4 in hand.
    unit = torch.finfo(torch.float64).eps * 4 * (query.shape[-1] + 4)
    bound = unit * (query_norm + database_norm.amax(-1, keepdim=True))
    near = near.where(near.abs() > bound[..., None], 0.0)
    certain = (near.diff(dim=-1) > bound[..., None]).all(-1)
    index, near = index[..., :num_neighbors].contiguous(), near[..., :num_neighbors].contiguous()
    if not certain.all():
        _rank_by_differences(query, database, outside, ~certain, index, near)
    return index, near


def _rank_by_differences(
    query: Tensor, database: Tensor, outside: Tensor | None, where: Tensor, index: Tensor, distance: Tensor
) -> None:
    """Overwrite ``index`` and ``distance`` of the queries in ``where`` (B, M) by a stable sort of plain differences."""
    # Small enough for the accumulator to stay in a core's cache while all D features pass over it.
    step = max((1 << 16) // database.shape[1], 1)
    features = database.mT.contiguous()
    for batch, places in enumerate(where):
        for chunk in places.nonzero().squeeze(1).split(step):
            asking = query[batch, chunk]
            total = asking.new_zeros(len(chunk), database.shape[1])
            for feature in range(asking.shape[1]):
                total += (asking[:, feature, None] - features[batch, feature]).square_()
            # What is not finite, a candidate still, comes before what lies outside the window.
            largest = torch.finfo(total.dtype).max
            total.nan_to_num_(nan=largest, posinf=largest)
            if outside is not None:
                total.masked_fill_(outside[chunk], torch.inf)
            ranked, order = total.sort(dim=-1, stable=True)
            index[batch, chunk] = order[:, : index.shape[-1]]
            ranked = ranked[:, : index.shape[-1]]
            distance[batch, chunk] = ranked.where(ranked < largest, torch.inf)
