"""`basicsr export`: a network as ONNX or as a program of `torch.export`."""

import argparse
from pathlib import Path

from msgnn_plugin.cli.outputs import check_file

NAME = "export"
HELP = "write a network as ONNX or for torch.export, any picture size, and check the file"
FORMATS = ("onnx", "pt2")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this sub-command's arguments."""
    parser.add_argument(
        "weights",
        metavar="WEIGHTS",
        help="weights, or a name that `basicsr weights` lists; they say which network",
    )
    parser.add_argument("-o", "--out", required=True, metavar="FILE", help="what to write, .onnx or .pt2")
    parser.add_argument("--format", choices=FORMATS, help="its format, where the name does not end in it")
    parser.add_argument(
        "--exemplar-input",
        action="store_true",
        help="take an exemplar as second input (without: the first of the bank in the weights, or where they have no "
        "bank the picture itself)",
    )


def run(args: argparse.Namespace) -> int:
    """Write the file and say how it agrees with the network.

    Returns:
        0; what goes wrong is raised.
    """
    kind = args.format or Path(args.out).suffix.removeprefix(".").lower()
    if kind not in FORMATS:
        raise ValueError(f"export: `--out` must end in .onnx or .pt2, or `--format` say which, got {args.out!r}.")
    from msgnn_plugin.archs import from_state_dict, load_weights
    from msgnn_plugin.exporting import export_network
    from msgnn_plugin.weights import weights_path

    weights = weights_path(args.weights)
    out = check_file("export", "--out", args.out, inputs=[weights])
    network = from_state_dict(load_weights(weights))
    agreement = export_network(network, out, kind=kind, exemplar_input=args.exemplar_input)
    inputs = "rainy and exemplar" if args.exemplar_input else "rainy"
    sizes = ", ".join(f"{width}x{height}" for height, width in agreement.sizes)
    print(f"Wrote {args.out}: {type(network).__name__} from {inputs} to derained, one picture at a time.")
    print(f"At {sizes} it differs from the network by at most {agreement.difference:.1e}.")
    if getattr(network, "graphs", None):
        print(f"It finds the same neighbours for {agreement.share:.2%} of the patches.")
    return 0
