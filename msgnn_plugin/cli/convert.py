"""`basicsr convert`: weights from .pth to .safetensors and back."""

import argparse

from msgnn_plugin.cli.outputs import check_file

NAME = "convert"
HELP = "turn weights from .pth into .safetensors or back"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this sub-command's arguments."""
    parser.add_argument(
        "source", metavar="IN", help="weights, ours or the authors', a checkpoint of training, or a name"
    )
    parser.add_argument(
        "out",
        metavar="OUT",
        help="weights to write, .safetensors or .pth: one network's tensors under their names as they are, the "
        "averaged ones (params_ema) where there are any",
    )
    parser.add_argument("--half", action="store_true", help="write float16, in half the bytes; exemplars stay")


def run(args: argparse.Namespace) -> int:
    """Convert the file; returns 0."""
    from msgnn_plugin.adapters.basicsr.checkpoints import write_weights
    from msgnn_plugin.archs import from_state_dict, load_weights
    from msgnn_plugin.archs.state_dict import halve, unwrap
    from msgnn_plugin.weights import weights_path

    source = weights_path(args.source)
    out = check_file("convert", "OUT", args.out, suffixes=(".pth", ".safetensors"), inputs=[source])
    weights = unwrap(load_weights(source))
    weights = halve(weights) if args.half else weights
    network = from_state_dict(weights)  # so that what is written can be read
    write_weights(weights, out)
    print(f"{out}: {len(weights)} tensors of {type(network).__name__}.")
    return 0
