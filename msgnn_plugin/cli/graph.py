"""`basicsr graph`: draw what the network's graph finds for one patch of a picture."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from msgnn_plugin.archs import MSGNNArch
    from msgnn_plugin.archs.msgnn import Neighbors

NAME = "graph"
HELP = "draw the neighbours of one patch, and their weights, as a trained MSGNN finds them"
SUFFIXES = (".png", ".svg", ".pdf")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this sub-command's arguments."""
    parser.add_argument("picture", metavar="PICTURE", help="rainy picture")
    parser.add_argument(
        "--weights", required=True, metavar="FILE", help="weights of MSGNN, or a name (`basicsr weights`)"
    )
    parser.add_argument(
        "--at", required=True, metavar="X,Y", help="pixel of the picture, from its left and its top, from 0"
    )
    parser.add_argument(
        "--exemplar",
        metavar="FILE",
        help="another rainy picture to search in (without it: the one of the bank in the weights whose rain is most "
        "alike, or where they have no bank the picture itself)",
    )
    parser.add_argument("-o", "--out", required=True, metavar="FIG.png", help="figure to write, .png, .svg or .pdf")


def run(args: argparse.Namespace) -> int:
    """Draw the figure.

    Returns:
        0.
    """
    from msgnn_plugin.archs import MSGNNArch, from_state_dict, load_weights
    from msgnn_plugin.cli.graph_figure import draw_neighbors
    from msgnn_plugin.data.atomic import atomic_path
    from msgnn_plugin.data.image_file import read_picture
    from msgnn_plugin.weights import weights_path

    out = Path(args.out)
    if out.suffix.lower() not in SUFFIXES:
        raise ValueError(f"graph: `-o` must end in {', '.join(SUFFIXES)}, got {args.out!r}.")
    rgb = read_picture(args.picture).rgb
    at = _parse_place(args.at, *rgb.shape[:2])
    network = from_state_dict(load_weights(weights_path(args.weights)))
    if not isinstance(network, MSGNNArch):
        raise ValueError(
            f"graph: `--weights` must be of MSGNNArch, the network with a graph, got weights of "
            f"{type(network).__name__} in {args.weights!r}."
        )
    if not network.graphs:
        raise ValueError(
            f"graph: `--weights` must be of a network with a graph, got one without in {args.weights!r} (settings "
            "`graph: false`, or a single sub-network)."
        )
    if args.exemplar is not None and not network.use_exemplar:
        raise ValueError(
            f"graph: `--exemplar` must be left out for weights that look at no exemplar, got {args.exemplar!r}."
        )
    exemplar = None if args.exemplar is None else read_picture(args.exemplar).rgb
    found = _search(network, rgb, exemplar)
    figure = draw_neighbors(network, rgb, found, at, Path(args.picture).name)
    with atomic_path(out) as temporary:
        figure.savefig(temporary)
    print(f"{out}: the neighbours of the patch at {at[0]},{at[1]} in {', '.join(found)}.")
    return 0


def _search(
    network: "MSGNNArch", rgb: "NDArray[np.float32]", exemplar: "NDArray[np.float32] | None"
) -> "dict[str, Neighbors]":
    """Return what every graph finds; without an exemplar the one that `basicsr restore` would take."""
    import torch

    from msgnn_plugin.data.exemplar_bank import ExemplarBank

    rainy, other = (
        None if picture is None else torch.from_numpy(picture).permute(2, 0, 1)[None] for picture in (rgb, exemplar)
    )
    bank = ExemplarBank.of(network) if other is None else None
    return network.eval().neighbors(rainy, other if bank is None else bank.nearest(rainy))


def _parse_place(text: str, height: int, width: int) -> tuple[int, int]:
    """Return (x, y) of a pixel of the picture."""
    x, _, y = text.partition(",")
    inside = x.strip().isdecimal() and y.strip().isdecimal() and int(x) < width and int(y) < height
    if not inside:
        raise ValueError(
            f"graph: `--at` must be X,Y in whole pixels inside the picture, X in [0, {width - 1}] and Y in "
            f"[0, {height - 1}], got {text!r}."
        )
    return int(x), int(y)
