"""The figure of one patch's neighbours: where they lie in each database image, what they look like, what they weigh."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from msgnn_plugin.archs import MSGNNArch
from msgnn_plugin.archs.msgnn import Neighbors
from msgnn_plugin.layers import GraphAggregator
from msgnn_plugin.ops.grid import grid_length, nearest_place, patch_start

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TITLES = {"scale1": "the picture", "scale2": "its half", "scale4": "its quarter", "exemplar": "exemplar"}
# A patch of three pixels means little by itself: it is shown with twice its side around it.
_SURROUNDINGS = 2
# Bright from end to end, to be seen on dark pictures too.
_QUERY_COLOUR, _COLOURS = "red", "cool"


def draw_neighbors(
    network: MSGNNArch, rgb: NDArray[np.float32], found: dict[str, Neighbors], at: tuple[int, int], name: str
) -> "Figure":
    """Draw the neighbours of the patch whose middle is nearest to a pixel, a column for each graph.

    Above stands the database image with the neighbours' places, below each neighbour with its surroundings, the largest
    weight first; the query patch is at the left. After Figure 2 of the paper.

    Args:
        network: The network whose graphs these are.
        rgb: The picture, RGB in [0, 1], shape (H, W, 3).
        found: What `MSGNNArch.neighbors` found in it.
        at: The pixel, (x, y).
        name: What the picture is called.
    """
    import matplotlib
    from matplotlib.figure import Figure

    graph: GraphAggregator = next(iter(network.graphs.values()))
    columns, place = _query(rgb, at, graph)
    query = place[0] * columns + place[1]
    weights = {of: each.weight[0, query].numpy() for of, each in found.items()}
    # A file's name may hold a dollar sign, which shall begin no formula.
    with matplotlib.rc_context({"text.parse_math": False, "font.size": 8}):
        figure = Figure(figsize=(3.4 * len(found) + 1.2, 3.9), dpi=150)
        edges = {"left": 0.01, "right": 0.99, "bottom": 0.02, "top": 0.88, "wspace": 0.05, "hspace": 0.1}
        grid = figure.add_gridspec(
            2, len(found) + 1, width_ratios=[1] + [3.5] * len(found), height_ratios=[4, 1], **edges
        )
        figure.suptitle(f"{name}: patch at {at[0]}, {at[1]}", y=0.98)
        crop = figure.add_subplot(grid[1, 0])
        corner = _corner(query, rgb.shape[:2], graph)
        _draw_patch(crop, rgb, corner, graph, _QUERY_COLOUR)
        crop.set_title("the patch", color=_QUERY_COLOUR)
        colours = matplotlib.colormaps[_COLOURS]
        norm = matplotlib.colors.Normalize(0, max(float(each.max()) for each in weights.values()))
        for number, (of, each) in enumerate(found.items(), 1):
            image = each.image[0].permute(1, 2, 0).clamp(0, 1).numpy()
            heaviest = np.argsort(-weights[of], kind="stable")
            corners = [_corner(int(index), image.shape[:2], graph) for index in each.index[0, query].numpy()[heaviest]]
            shades = [colours(norm(weight)) for weight in weights[of][heaviest]]
            axis = figure.add_subplot(grid[0, number])
            _draw_places(axis, image, corners, shades, graph.patch_size)
            axis.set_title(_TITLES.get(of, f"its {of.removeprefix('scale')}th"))
            if of == "scale1":
                _mark(axis, corner, graph.patch_size, marker="+", color=_QUERY_COLOUR)
            crops = grid[1, number].subgridspec(1, len(corners)).subplots(squeeze=False)[0]
            for axis, where, shade, weight in zip(crops, corners, shades, weights[of][heaviest], strict=True):
                _draw_patch(axis, image, where, graph, shade)
                axis.set_title(f"{weight:.3f}", fontsize=7)
    return figure


def _query(rgb: NDArray[np.float32], at: tuple[int, int], graph: GraphAggregator) -> tuple[int, tuple[int, int]]:
    """Return the columns of the picture's patch grid, and row and column of the query patch in it."""
    height, width = (max(side, graph.minimum_side) for side in rgb.shape[:2])
    settings = graph.patch_size, graph.stride
    row, column = nearest_place(at[1], height, *settings), nearest_place(at[0], width, *settings)
    return grid_length(width, *settings), (row, column)


def _corner(index: int, size: tuple[int, int], graph: GraphAggregator) -> tuple[int, int]:
    """Return (x, y) of the first pixel of a patch of an image (height, width)."""
    height, width = (max(side, graph.minimum_side) for side in size)
    settings = graph.patch_size, graph.stride
    row, column = divmod(index, grid_length(width, *settings))
    return patch_start(column, width, *settings), patch_start(row, height, *settings)


def _draw_places(
    axis: "Axes", image: NDArray[np.float32], corners: list[tuple[int, int]], shades: list, patch_size: int
) -> None:
    """Draw an image with a square about each patch, larger than the patch so that it can be seen."""
    axis.imshow(image)
    axis.set_axis_off()
    for corner, shade in zip(corners, shades, strict=True):
        _mark(axis, corner, patch_size, marker="s", color=shade, markerfacecolor="none")


def _mark(axis: "Axes", corner: tuple[int, int], patch_size: int, **style: object) -> None:
    x, y = (first + (patch_size - 1) / 2 for first in corner)
    axis.plot(x, y, markersize=7, markeredgewidth=1.4, clip_on=False, **style)


def _draw_patch(
    axis: "Axes", image: NDArray[np.float32], corner: tuple[int, int], graph: GraphAggregator, colour: object
) -> None:
    """Draw a patch, framed, amid its surroundings; what lies outside of the image stays white."""
    from matplotlib.patches import Rectangle

    (x, y), side = corner, graph.patch_size
    around = _SURROUNDINGS * side
    axis.imshow(image, interpolation="nearest")
    axis.add_patch(Rectangle((x - 0.5, y - 0.5), side, side, fill=False, edgecolor=colour, linewidth=1.5))
    axis.set_xlim(x - around - 0.5, x + side + around - 0.5)
    axis.set_ylim(y + side + around - 0.5, y - around - 0.5)
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_edgecolor(colour)
