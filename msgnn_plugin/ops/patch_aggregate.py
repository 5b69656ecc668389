"""Weighted sum of neighbour patches, folded back into a map. Eq. (4) of the MSGNN paper (IJCAI 2024)."""

import torch
from torch import Tensor

from msgnn_plugin.ops.checks import check_index, check_map, check_patches, num_patches
from msgnn_plugin.ops.gather import (
    finished_map,
    flat_index,
    memory_format_like,
    query_chunks,
    scatter_rows,
    weighted_rows,
)
from msgnn_plugin.ops.grid import coverage, extract_patches, sum_patches
from msgnn_plugin.ops.precision import at_least_float32


def patch_aggregate(
    database: Tensor, index: Tensor, weight: Tensor, *, patch_size: int, stride: int, output_size: tuple[int, int]
) -> Tensor:
    r"""Sum each query's neighbour patches by weight and paste the sums at the queries' places, averaging overlaps.

    .. math:: \hat P_{bm} = \sum_k w_{bmk} \, P^d_{b, I_{bmk}}

    Args:
        database: Map whose patches are summed, shape (B, C, H', W').
        index: Neighbours, shape (B, M, K), int64, in [0, N).
        weight: Weights, shape (B, M, K), dtype and device of ``database``; not normalised here.
        patch_size: Side of a patch in pixels.
        stride: Step between patches in pixels.
        output_size: Height and width of the query map in pixels; its patch grid must have M places.

    Returns:
        Map of shape (B, C, *output_size); pixels that no patch covers (stride above the patch size) are 0.

    Raises:
        ValueError: If shapes or sizes are wrong.
        TypeError: If ``index`` is not int64, or dtypes or devices differ.

    Note:
        Differentiable in ``database`` and ``weight``, in a fixed order of summation. Half precisions are summed in
        float32. Map and gradient are channels last where ``database`` is. No (B, M, K, C * patch_size**2) tensor is
        made; the compiled kernels need, beside their results, a padded copy of a map at most.
    """
    check_map("patch_aggregate", "database", database)
    check_patches("patch_aggregate", patch_size, stride)
    check_index("patch_aggregate", index, database.shape[0], num_patches(*output_size, patch_size, stride))
    if weight.shape != index.shape:
        raise ValueError(
            f"patch_aggregate: `weight` must have the shape of `index`, {tuple(index.shape)}, "
            f"got {tuple(weight.shape)}."
        )
    if weight.dtype != database.dtype or weight.device != database.device:
        raise TypeError(
            f"patch_aggregate: `weight` must have the dtype and device of `database`, {database.dtype} on "
            f"{database.device}, got {weight.dtype} on {weight.device}."
        )
    return _patch_aggregate(database, index, weight, patch_size, stride, *output_size)


@torch.library.custom_op("msgnn_plugin::patch_aggregate", mutates_args=())
def _patch_aggregate(
    database: Tensor, index: Tensor, weight: Tensor, patch_size: int, stride: int, height: int, width: int
) -> Tensor:
    table = extract_patches(at_least_float32(database), patch_size, stride)
    flat = flat_index("patch_aggregate", index, table.shape[1])
    rows = weighted_rows(table.flatten(0, 1), flat, at_least_float32(weight).flatten(0, 1))
    total = sum_patches(rows.unflatten(0, index.shape[:2]), height, width, patch_size, stride)
    return finished_map(total.div_(coverage(table, height, width, patch_size, stride)), database)


@_patch_aggregate.register_fake
def _(database: Tensor, index: Tensor, weight: Tensor, patch_size: int, stride: int, height: int, width: int) -> Tensor:
    shape, layout = (*database.shape[:2], height, width), memory_format_like(database)
    return torch.empty(shape, dtype=database.dtype, device=database.device, memory_format=layout)


@torch.library.custom_op("msgnn_plugin::patch_aggregate_backward", mutates_args=())
def _patch_aggregate_backward(
    grad: Tensor, database: Tensor, index: Tensor, weight: Tensor, patch_size: int, stride: int
) -> tuple[Tensor, Tensor]:
    table = extract_patches(at_least_float32(database), patch_size, stride)
    num_rows = table.shape[0] * table.shape[1]
    flat, table = flat_index("patch_aggregate", index, table.shape[1]), table.flatten(0, 1)
    grad = at_least_float32(grad) / coverage(table, *grad.shape[2:], patch_size, stride)
    grad_rows = extract_patches(grad, patch_size, stride).flatten(0, 1)
    grad_table = scatter_rows(grad_rows, flat, num_rows, at_least_float32(weight).flatten(0, 1))
    grad_weight = table.new_empty(flat.shape)
    for rows in query_chunks(flat, table.shape[1]):
        grad_weight[rows] = (table[flat[rows]] @ grad_rows[rows, :, None]).squeeze(-1)
    grad_table = grad_table.unflatten(0, (database.shape[0], -1))
    grad_database = sum_patches(grad_table, *database.shape[2:], patch_size, stride)
    return finished_map(grad_database, database), grad_weight.view(weight.shape).to(weight.dtype)


@_patch_aggregate_backward.register_fake
def _(
    grad: Tensor, database: Tensor, index: Tensor, weight: Tensor, patch_size: int, stride: int
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(database, memory_format=memory_format_like(database)), weight.new_empty(weight.shape)


def _setup_context(ctx: torch.autograd.function.FunctionCtx, inputs: tuple, output: Tensor) -> None:
    database, index, weight, ctx.patch_size, ctx.stride, _, _ = inputs
    ctx.save_for_backward(database, index, weight)


def _backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple:
    grad_database, grad_weight = _patch_aggregate_backward(grad, *ctx.saved_tensors, ctx.patch_size, ctx.stride)
    return grad_database, None, grad_weight, None, None, None, None


_patch_aggregate.register_autograd(_backward, setup_context=_setup_context)
