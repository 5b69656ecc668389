"""`basicsr convert`: weights from .pth to .safetensors and back."""

import argparse

from msgnn_plugin.cli.outputs import check_file

NAME = "convert"
HELP = "turn weights from .pth into .safetensors or back"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this sub-command's arguments."""
    parser.add_argument("source", metavar="IN", help="weights, ours or the authors', also a checkpoint of training")
    parser.add_argument(
        "out",
        metavar="OUT",
        help="weights to write, .safetensors or .pth: one network's tensors under their names as they are, the "
        "averaged ones (params_ema) where there are any",
    )


def run(args: argparse.Namespace) -> int:
    """Convert the file; returns 0."""
    from msgnn_plugin.adapters.basicsr.checkpoints import write_weights
    from msgnn_plugin.archs import from_state_dict, load_weights
    from msgnn_plugin.archs.state_dict import unwrap

    out = check_file("convert", "OUT", args.out, suffixes=(".pth", ".safetensors"), inputs=[args.source])
    weights = unwrap(load_weights(args.source))
    network = from_state_dict(weights)  # so that what is written can be read
    write_weights(weights, out)
    print(f"{out}: {len(weights)} tensors of {type(network).__name__}.")
    return 0
