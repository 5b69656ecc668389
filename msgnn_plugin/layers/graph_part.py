"""A part of the graph's result, computed from no more of the images than that part's search windows reach. Ours."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msgnn_plugin.layers.patch_graph import GraphAggregator, official_window_origin
from msgnn_plugin.layers.resize import pad_to_side
from msgnn_plugin.layers.tiles import Region, Span
from msgnn_plugin.ops import centred_window_origin
from msgnn_plugin.ops.grid import grid_length, grid_padding


def aggregate_part(
    graph: GraphAggregator,
    query_image: Tensor,
    database_image: Tensor,
    region: Region,
    branch: nn.Module | None = None,
) -> Tensor:
    """Return what ``graph(query_image, database_image, branch(database_image))`` holds in a region, up to rounding.

    Every query searches the window of the database that it has in the whole image, and sees its whole surroundings.

    Args:
        graph: The graph.
        query_image: The whole query image, shape (B, 3, H, W).
        database_image: The whole database image, shape (B, 3, H', W').
        region: Rows and columns of the query image, each (first, one after the last), in pixels.
        branch: Makes the features that are summed, shape (B, C, H', W'), by convolutions one after the other; None
            sums the embedding.

    Returns:
        Shape (B, C, rows, columns).
    """
    query_image = pad_to_side(query_image, graph.minimum_side)
    padded = pad_to_side(database_image, graph.minimum_side)
    asking = [_patches_covering(span, side, graph) for span, side in zip(region, query_image.shape[2:], strict=True)]
    searched, window = _windows(graph, query_image, padded, asking)
    query_pixels, database_pixels = (
        [_pixels(span, side, graph) for span, side in zip(spans, image.shape[2:], strict=True)]
        for spans, image in ((asking, query_image), (searched, padded))
    )
    paper = graph.variant == "paper"
    query = _run_part(graph.embed if paper else graph.embed_query, query_image, query_pixels)
    database = _run_part(graph.embed if paper else graph.embed_database, padded, database_pixels)
    if branch is None:
        values = database
    elif padded is database_image:
        values = _run_part(branch, padded, database_pixels)
    else:
        values = _cut(pad_to_side(branch(database_image), graph.minimum_side), (0, 0), database_pixels)
    aggregated = graph.aggregate(query, database, values, window)
    return _cut(aggregated, (query_pixels[0][0], query_pixels[1][0]), region)


def _patches_covering(pixels: Span, side: int, graph: GraphAggregator) -> Span:
    """Return the grid places, along an axis of ``side`` pixels, of all patches that cover one of the pixels."""
    before, _ = grid_padding(side, graph.patch_size, graph.stride)
    places = grid_length(side, graph.patch_size, graph.stride)
    # Where no patch covers any (stride above the patch size), the last one before them stands in.
    last = min((pixels[1] - 1 + before) // graph.stride, places - 1)
    first = max(-((graph.patch_size - 1 - before - pixels[0]) // graph.stride), 0)
    return min(first, last), last + 1


def _pixels(places: Span, side: int, graph: GraphAggregator) -> Span:
    """Return the pixels that these patches cover; those of the grid's padding are negative or beyond the side."""
    before, _ = grid_padding(side, graph.patch_size, graph.stride)
    return places[0] * graph.stride - before, (places[1] - 1) * graph.stride + graph.patch_size - before


def _windows(
    graph: GraphAggregator, query_image: Tensor, database_image: Tensor, asking: list[Span]
) -> tuple[list[Span], tuple[int | None, Tensor | None]]:
    """Return the part of the database's grid that the windows cover, and the windows within it."""
    query_grid, grid = (
        [grid_length(side, graph.patch_size, graph.stride) for side in image.shape[2:]]
        for image in (query_image, database_image)
    )
    if graph.window_size is None:
        return [(0, places) for places in grid], (None, None)
    side = min(graph.window_size, *grid)
    origins, searched = [], []
    for axis, span in enumerate(asking):
        # A window's row depends on the query's row alone, and its column on the column.
        one_axis = [1, 1]
        one_axis[axis] = query_grid[axis]
        if graph.variant == "official":
            origin = official_window_origin(one_axis, grid, graph.window_size, graph.scale, query_image.device)
        else:
            origin = centred_window_origin(one_axis, grid, graph.window_size, query_image.device)
        origin = origin[slice(*span), axis]
        first = int(origin.min())
        searched.append((first, int(origin.max()) + side))
        origins.append(origin - first)
    return searched, (side, torch.cartesian_prod(*origins).reshape(-1, 2))


def _run_part(network: nn.Module, image: Tensor, pixels: list[Span]) -> Tensor:
    """Return the part of ``network(image)`` in these pixels, 0 outside of the image."""
    reach = sum(max(layer.kernel_size) // 2 for layer in network.modules() if isinstance(layer, nn.Conv2d))
    needed = [
        (max(first - reach, 0), min(last + reach, side))
        for (first, last), side in zip(pixels, image.shape[2:], strict=True)
    ]
    part = image[:, :, slice(*needed[0]), slice(*needed[1])].contiguous(memory_format=torch.channels_last)
    return _cut(network(part), (needed[0][0], needed[1][0]), pixels)


def _cut(image: Tensor, corner: tuple[int, int], pixels: list[Span] | Region) -> Tensor:
    """Cut pixels out of a map whose first pixel is ``corner``, with 0 for what it does not hold."""
    padding, kept = [], []
    for start, (first, last), side in zip(corner, pixels, image.shape[2:], strict=True):
        before = max(start - first, 0)
        padding.append((before, max(last - start - side, 0)))
        kept.append(slice(first - start + before, last - start + before))
    return F.pad(image, (*padding[1], *padding[0]))[:, :, kept[0], kept[1]]
