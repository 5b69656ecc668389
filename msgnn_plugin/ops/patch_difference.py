"""Differences between each query patch and its neighbours. Eq. (5) of the MSGNN paper (IJCAI 2024)."""

import torch
from torch import Tensor

from msgnn_plugin.ops.checks import check_index, check_map, check_patches, check_same_kind, num_patches
from msgnn_plugin.ops.gather import finished_map, flat_index, memory_format_like, query_chunks, scatter_rows
from msgnn_plugin.ops.grid import extract_patches, sum_patches
from msgnn_plugin.ops.precision import at_least_float32

REDUCTIONS = ("none", "abs_sum")


def patch_difference(
    query: Tensor, database: Tensor, index: Tensor, *, patch_size: int, stride: int, reduce: str = "none"
) -> Tensor:
    r"""Subtract from each query patch its neighbours.

    .. math:: D_{bmk} = P^q_{bm} - P^d_{b, I_{bmk}}

    Args:
        query: Map whose patches asked, shape (B, C, H, W).
        database: Map whose patches answered, shape (B, C, H', W'), same dtype and device.
        index: Neighbours, shape (B, M, K), int64, in [0, N).
        patch_size: Side of a patch in pixels.
        stride: Step between patches in pixels.
        reduce: "none" keeps every value; "abs_sum" sums absolute differences over the pixels of a patch, channel by
            channel.

    Returns:
        Shape (B, M, K, C * patch_size**2) for "none", order (channel, row, column); (B, M, K, C) for "abs_sum".

    Raises:
        ValueError: If shapes or sizes are wrong, or ``reduce`` is unknown.
        TypeError: If dtypes or devices differ, or ``index`` is not int64.

    Note:
        Differentiable in both maps, in a fixed order of summation. Half precisions are summed in float32. Gradients
        are channels last where their maps are. Beside the output, the compiled kernels need a padded copy of the maps
        at most, plain PyTorch O(B * M * C * patch_size**2).
    """
    check_map("patch_difference", "query", query)
    check_map("patch_difference", "database", database)
    check_same_kind("patch_difference", query, database)
    check_patches("patch_difference", patch_size, stride)
    check_index("patch_difference", index, query.shape[0], num_patches(*query.shape[2:], patch_size, stride))
    if reduce not in REDUCTIONS:
        raise ValueError(f"patch_difference: `reduce` must be one of {REDUCTIONS}, got {reduce!r}.")
    return _patch_difference(query, database, index, patch_size, stride, reduce)


@torch.library.custom_op("msgnn_plugin::patch_difference", mutates_args=())
def _patch_difference(
    query: Tensor, database: Tensor, index: Tensor, patch_size: int, stride: int, reduce: str
) -> Tensor:
    query_patches = extract_patches(at_least_float32(query), patch_size, stride).flatten(0, 1)
    table = extract_patches(at_least_float32(database), patch_size, stride)
    flat, table = flat_index("patch_difference", index, table.shape[1]), table.flatten(0, 1)
    width = query.shape[1] * (patch_size**2 if reduce == "none" else 1)
    output = table.new_empty(*flat.shape, width)
    for rows in query_chunks(flat, table.shape[1]):
        difference = query_patches[rows, None] - table[flat[rows]]
        if reduce == "abs_sum":
            difference = difference.abs_().unflatten(-1, (query.shape[1], -1)).sum(-1)
        output[rows] = difference
    return output.unflatten(0, index.shape[:2]).to(query.dtype)


@_patch_difference.register_fake
def _(query: Tensor, database: Tensor, index: Tensor, patch_size: int, stride: int, reduce: str) -> Tensor:
    return query.new_empty(*index.shape, query.shape[1] * (patch_size**2 if reduce == "none" else 1))


@torch.library.custom_op("msgnn_plugin::patch_difference_backward", mutates_args=())
def _patch_difference_backward(
    grad: Tensor, query: Tensor, database: Tensor, index: Tensor, patch_size: int, stride: int, reduce: str
) -> tuple[Tensor, Tensor]:
    query_patches = extract_patches(at_least_float32(query), patch_size, stride).flatten(0, 1)
    table = extract_patches(at_least_float32(database), patch_size, stride)
    num_rows = table.shape[0] * table.shape[1]
    flat, table = flat_index("patch_difference", index, table.shape[1]), table.flatten(0, 1)
    grad = at_least_float32(grad).flatten(0, 1)
    grad_query = torch.empty_like(query_patches)
    grad_table = torch.zeros_like(table)
    for rows in query_chunks(flat, table.shape[1]):
        part = grad[rows]
        if reduce == "abs_sum":
            sign = (query_patches[rows, None] - table[flat[rows]]).sign_()
            part = (sign.unflatten(-1, (query.shape[1], -1)) * part[..., None]).flatten(-2)
        grad_query[rows] = part.sum(1)
        grad_table -= scatter_rows(part.flatten(0, 1), flat[rows], num_rows)
    grad_query = grad_query.unflatten(0, index.shape[:2])
    grad_table = grad_table.unflatten(0, (database.shape[0], -1))
    return (
        finished_map(sum_patches(grad_query, *query.shape[2:], patch_size, stride), query),
        finished_map(sum_patches(grad_table, *database.shape[2:], patch_size, stride), database),
    )


@_patch_difference_backward.register_fake
def _(
    grad: Tensor, query: Tensor, database: Tensor, index: Tensor, patch_size: int, stride: int, reduce: str
) -> tuple[Tensor, Tensor]:
    return (
        torch.empty_like(query, memory_format=memory_format_like(query)),
        torch.empty_like(database, memory_format=memory_format_like(database)),
    )


def _setup_context(ctx: torch.autograd.function.FunctionCtx, inputs: tuple, output: Tensor) -> None:
    query, database, index, *ctx.settings = inputs
    ctx.save_for_backward(query, database, index)


def _backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple:
    grad_query, grad_database = _patch_difference_backward(grad, *ctx.saved_tensors, *ctx.settings)
    return grad_query, grad_database, None, None, None, None


_patch_difference.register_autograd(_backward, setup_context=_setup_context)
