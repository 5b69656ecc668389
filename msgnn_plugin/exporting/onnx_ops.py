"""The three ops of the graph in ONNX's own operators, for one image at a time."""

import numpy as np
import torch
from onnxscript import DOUBLE, FLOAT, INT64, graph, script
from onnxscript import opset18 as op

import msgnn_plugin.ops  # noqa: F401 (declares the ops that are translated here)


@script(default_opset=op)
def search_rows(
    queries: DOUBLE,
    database: DOUBLE,
    norms: DOUBLE,
    tops: INT64,
    lefts: INT64,
    side: INT64,
    width: INT64,
    k: INT64,
) -> tuple[INT64, DOUBLE]:
    """Search one row of queries after the other; all of its windows lie in the same rows of the database.

    A row's distances to all places of those rows are one product of matrices, so memory grows with a row of queries
    alone. In float64 its rounding lies far below what float32 embeddings tell apart; of equal distances TopK takes
    the smaller place, as `patch_knn` does.

    Args:
        queries: Patches (h, w, D), float64.
        database: Patches (H, W, D), float64.
        norms: Their squared norms (H, W), float64.
        tops: First row of the windows of each row of queries, (h, 1), int64.
        lefts: First column of the window of each query in a row, (w, 1), int64.
        side: Rows of a window, (1,), int64.
        width: Columns of a window, (1,), int64.
        k: Neighbours, (1,), int64.

    Returns:
        Places in the row-major grid of the database, (h, w, k) int64, and squared distances.
    """
    zero, one = op.Constant(value_int=0), op.Constant(value_int=1)
    columns = op.Shape(norms, start=1, end=2)
    column = op.Range(zero, op.Squeeze(columns), one)
    band = op.Range(zero, op.Squeeze(side), one)
    outside = op.Or(op.Less(column, lefts), op.GreaterOrEqual(column, lefts + width))
    outside = op.Unsqueeze(outside, op.Constant(value_ints=[1]))
    infinite = op.CastLike(op.Constant(value_float=float("inf")), queries)
    two = op.CastLike(op.Constant(value_float=2.0), queries)
    shape = op.Concat(op.Constant(value_ints=[-1]), side, columns, axis=0)

    @graph()
    def search_row(asking, top):
        place = band + top
        near = op.Flatten(op.Gather(database, place, axis=0), axis=2)
        norm = op.Reshape(op.Gather(norms, place, axis=0), op.Constant(value_ints=[1, -1]))
        differing = norm - two * op.MatMul(asking, op.Transpose(near, perm=[1, 0]))
        inside = op.Where(outside, infinite, op.Reshape(differing, shape))
        least, found = op.TopK(op.Flatten(inside), k, axis=1, largest=0)
        own_norm = op.ReduceSumSquare(asking, op.Constant(value_ints=[1]))
        return found + top * columns, least + own_norm

    index, distance = op.Scan(queries, tops, body=search_row, num_scan_inputs=2)
    return index, distance


def patch_knn(
    query: FLOAT,
    database: FLOAT,
    patch_size: int,
    stride: int,
    num_neighbors: int,
    window_size: int | None = None,
    window_origin: INT64 | None = None,
) -> tuple[INT64, FLOAT]:
    """Translate the search. ``window_origin`` must be rows times columns, as all windows of ours are."""
    queries, asking = _patches(query, patch_size, stride)
    patches, grid = _patches(database, patch_size, stride)
    queries, patches = op.Cast(queries, to=DOUBLE.dtype), op.Cast(patches, to=DOUBLE.dtype)
    if window_size is None:
        side, width = grid
        tops, lefts = (op.Expand(_ints(0), op.Concat(count, _ints(1), axis=0)) for count in asking)
    else:
        side = width = op.Min(_ints(window_size), *grid)
        if window_origin is None:
            tops, lefts = (_centred(count, places, side) for count, places in zip(asking, grid, strict=True))
        else:
            origin = op.Reshape(window_origin, op.Concat(*asking, _ints(2), axis=0))
            tops = op.Slice(op.Slice(origin, _ints(0), _ints(1), _ints(1)), _ints(0), _ints(1), _ints(2))
            lefts = op.Slice(op.Slice(origin, _ints(0), _ints(1), _ints(0)), _ints(1), _ints(2), _ints(2))
            tops, lefts = (op.Reshape(each, _ints(-1, 1)) for each in (tops, lefts))
    norms = op.ReduceSumSquare(patches, _ints(2), keepdims=0)
    index, distance = search_rows(queries, patches, norms, tops, lefts, side, width, _ints(num_neighbors))
    shape = _ints(1, -1, num_neighbors)
    return op.Reshape(index, shape), op.Cast(op.Reshape(distance, shape), to=FLOAT.dtype)


def patch_difference(query: FLOAT, database: FLOAT, index: INT64, patch_size: int, stride: int, reduce: str) -> FLOAT:
    """Translate the differences, one neighbour after the other: all of them before their sum would be large."""
    channels, area = query.shape[1], patch_size**2
    queries, patches = (_rows(each, patch_size, stride) for each in (query, database))
    differences = []
    for number in range(index.shape[2]):
        difference = op.Sub(queries, op.Gather(patches, _neighbour(index, number)))
        if reduce == "abs_sum":
            split = op.Reshape(op.Abs(difference), _ints(-1, channels, area))
            difference = op.ReduceSum(split, _ints(2), keepdims=0)
        differences.append(op.Unsqueeze(difference, _ints(0, 2)))
    return op.Concat(*differences, axis=2)


def patch_aggregate(
    database: FLOAT, index: INT64, weight: FLOAT, patch_size: int, stride: int, height: INT64, width: INT64
) -> FLOAT:
    """Translate the weighted sum and its fold, which is a transposed convolution by ones."""
    channels, area = database.shape[1], patch_size**2
    patches = _rows(database, patch_size, stride)
    total = None
    for number in range(index.shape[2]):
        share = op.Reshape(op.Slice(weight, _ints(number), _ints(number + 1), _ints(2)), _ints(-1, 1))
        part = op.Mul(share, op.Gather(patches, _neighbour(index, number)))
        total = part if total is None else op.Add(total, part)
    size = [op.Reshape(side, _ints(1)) for side in (height, width)]
    (rows, top, _), (columns, left, _) = (_axis(side, patch_size, stride) for side in size)
    total = op.Reshape(op.Transpose(total, perm=[1, 0]), op.Concat(_ints(1, -1), rows, columns, axis=0))
    kernel = np.eye(area, dtype=np.float32).reshape(area, 1, patch_size, patch_size)
    fold = {"kernel_shape": [patch_size] * 2, "strides": [stride] * 2}
    folded = op.ConvTranspose(total, _floats(np.tile(kernel, (channels, 1, 1, 1))), group=channels, **fold)
    once = op.Expand(_floats(np.ones((1, 1, 1, 1))), op.Concat(_ints(1, 1), rows, columns, axis=0))
    covering = op.ConvTranspose(once, _floats(np.ones((1, 1, patch_size, patch_size))), **fold)
    mean = op.Div(folded, op.Max(covering, _floats(np.ones(1))))
    first = op.Concat(top, left, axis=0)
    return op.Slice(mean, first, op.Add(first, op.Concat(*size, axis=0)), _ints(2, 3))


TRANSLATIONS = {
    torch.ops.msgnn_plugin.patch_knn.default: patch_knn,
    torch.ops.msgnn_plugin.patch_difference.default: patch_difference,
    torch.ops.msgnn_plugin.patch_aggregate.default: patch_aggregate,
}


def _patches(image: FLOAT, patch_size: int, stride: int) -> tuple[FLOAT, list[INT64]]:
    """Cut (1, C, H, W) into (rows, columns, C * patch_size**2) as `extract_patches`; also returns rows and columns."""
    axes = [_axis(op.Shape(image, start=axis, end=axis + 1), patch_size, stride) for axis in (2, 3)]
    grid, before, after = ([axis[part] for axis in axes] for part in range(3))
    padded = op.Pad(image, op.Concat(_ints(0, 0), *before, _ints(0, 0), *after, axis=0))
    reach = op.Add(op.Mul(op.Sub(op.Concat(*grid, axis=0), _ints(1)), _ints(stride)), _ints(1))
    pieces = []
    for row in range(patch_size):
        for column in range(patch_size):
            first = _ints(row, column)
            piece = op.Slice(padded, first, op.Add(first, reach), _ints(2, 3), _ints(stride, stride))
            pieces.append(op.Unsqueeze(piece, _ints(2)))
    stacked = op.Transpose(op.Concat(*pieces, axis=2), perm=[0, 3, 4, 1, 2])
    return op.Reshape(stacked, op.Concat(*grid, _ints(image.shape[1] * patch_size**2), axis=0)), grid


def _rows(image: FLOAT, patch_size: int, stride: int) -> FLOAT:
    """Cut (1, C, H, W) into (patches, C * patch_size**2)."""
    return op.Reshape(_patches(image, patch_size, stride)[0], _ints(-1, image.shape[1] * patch_size**2))


def _axis(size: INT64, patch_size: int, stride: int) -> tuple[INT64, INT64, INT64]:
    """Return `grid_length` of a size of shape (1,), and `grid_padding` before and after."""
    steps = op.Div(op.Add(size, _ints(stride - 1 - patch_size)), _ints(stride))
    count = op.Max(op.Add(steps, _ints(1)), _ints(1))
    missing = op.Sub(op.Add(op.Mul(op.Sub(count, _ints(1)), _ints(stride)), _ints(patch_size)), size)
    before = op.Div(missing, _ints(2))
    return count, before, op.Sub(missing, before)


def _centred(queries: INT64, places: INT64, side: INT64) -> INT64:
    """Return one axis of `centred_window_origin`, (queries, 1)."""
    number = op.Range(op.Constant(value_int=0), op.Squeeze(queries), op.Constant(value_int=1))
    twice = op.Add(op.Mul(number, _ints(2)), _ints(1))
    own_place = op.Div(op.Mul(twice, places), op.Mul(queries, _ints(2)))
    first = op.Max(op.Sub(own_place, op.Div(side, _ints(2))), _ints(0))
    return op.Unsqueeze(op.Min(first, op.Sub(places, side)), _ints(1))


def _neighbour(index: INT64, number: int) -> INT64:
    """Return the places of one of the neighbours, (1, M, K) -> (M,)."""
    return op.Reshape(op.Slice(index, _ints(number), _ints(number + 1), _ints(2)), _ints(-1))


def _ints(*values: int) -> INT64:
    return op.Constant(value_ints=values)


def _floats(values: np.ndarray) -> FLOAT:
    from onnx import numpy_helper

    return op.Constant(value=numpy_helper.from_array(values.astype(np.float32)))
