"""`basicsr graph`: draw what the network's graph finds for one patch of a picture."""

import argparse
from pathlib import Path

from msgnn_plugin.cli.outputs import check_file

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
    import torch

    from msgnn_plugin.archs import MSGNNArch, from_state_dict, load_weights
    from msgnn_plugin.cli.graph_figure import draw_neighbors
    from msgnn_plugin.data.atomic import atomic_path
    from msgnn_plugin.data.image_file import read_picture
    from msgnn_plugin.restoration import Restorer
    from msgnn_plugin.weights import weights_path

    read = [args.picture, *filter(None, [args.exemplar])]
    out = check_file("graph", "-o", args.out, suffixes=SUFFIXES, inputs=read)
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
    found = Restorer(network, torch.device("cpu"), exemplar).neighbors(rgb)
    figure = draw_neighbors(network, rgb, found, at, Path(args.picture).name)
    with atomic_path(out) as temporary:
        figure.savefig(temporary)
    print(f"{out}: the neighbours of the patch at {at[0]},{at[1]} in {', '.join(found)}.")
    return 0


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
