"""Argument checks that more than one op makes; each raises one sentence: the op, the argument, the rule, the value."""

from torch import Tensor, int64

from msgnn_plugin.ops.grid import grid_length


def check_map(op: str, name: str, image: Tensor) -> None:
    """Raise unless ``image`` is a floating (B, C, H, W) tensor with no empty axis."""
    if image.dim() != 4 or min(image.shape) < 1:
        raise ValueError(f"{op}: `{name}` must have shape (B, C, H, W) with no empty axis, got {tuple(image.shape)}.")
    if not image.is_floating_point():
        raise TypeError(f"{op}: `{name}` must be a floating-point tensor, got {image.dtype}.")


def check_same_kind(op: str, query: Tensor, database: Tensor) -> None:
    """Raise unless both maps agree in batch, channels, dtype and device."""
    if query.shape[:2] != database.shape[:2]:
        raise ValueError(
            f"{op}: `database` must have the batch and channels of `query`, {tuple(query.shape[:2])}, "
            f"got {tuple(database.shape[:2])}."
        )
    if query.dtype != database.dtype or query.device != database.device:
        raise TypeError(
            f"{op}: `database` must have the dtype and device of `query`, {query.dtype} on {query.device}, "
            f"got {database.dtype} on {database.device}."
        )


def check_patches(op: str, patch_size: int, stride: int) -> None:
    """Raise unless patch size and stride are at least 1."""
    for name, value in (("patch_size", patch_size), ("stride", stride)):
        if value < 1:
            raise ValueError(f"{op}: `{name}` must be at least 1, got {value}.")


def check_index(op: str, index: Tensor, batch: int, num_queries: int) -> None:
    """Raise unless ``index`` is int64 of shape (B, M, K) for this batch and query grid."""
    if index.dtype != int64:
        raise TypeError(f"{op}: `index` must be int64, got {index.dtype}.")
    if index.dim() != 3 or index.shape[0] != batch or index.shape[1] != num_queries or index.shape[2] < 1:
        raise ValueError(
            f"{op}: `index` must have shape (B, M, K) = ({batch}, {num_queries}, K >= 1), got {tuple(index.shape)}."
        )


def num_patches(height: int, width: int, patch_size: int, stride: int) -> int:
    """Return the number of patches of a (height, width) map."""
    return grid_length(height, patch_size, stride) * grid_length(width, patch_size, stride)
