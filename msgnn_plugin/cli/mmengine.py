"""`basicsr mmengine`: train and test by mmengine's Runner, and take weights out of its checkpoints."""

import argparse

from msgnn_plugin.cli.outputs import check_file
from msgnn_plugin.weights import weights_path

NAME = "mmengine"
HELP = "train and test as a config of mmengine says"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    train = actions.add_parser("train", help="train, measuring as the config says")
    test = actions.add_parser("test", help="measure weights on the config's test set")
    for action in (train, test):
        action.add_argument("config", metavar="CONFIG", help="config file, such as options/mmengine/NAME.py")
        action.add_argument("--work-dir", metavar="DIR", help="where checkpoints and logs go (default: the config's)")
        action.add_argument(
            "--cfg-options", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="change the config"
        )
    train.add_argument("--resume", action="store_true", help="go on from the newest checkpoint, bit for bit")
    train.add_argument("--weights", metavar="FILE", help="weights to start from, of any toolbox")
    test.add_argument("--weights", metavar="FILE", required=True, help="weights to measure, of any toolbox")
    weights = actions.add_parser("weights", help="take the network out of a checkpoint, for every other program")
    weights.add_argument("checkpoint", metavar="CHECKPOINT")
    weights.add_argument("-o", "--output", metavar="FILE", required=True, help="weights to write, .pth or .safetensors")


def run(args: argparse.Namespace) -> int:
    """Run the action.

    Returns:
        0.

    Raises:
        ImportError: If mmengine is missing.
    """
    try:
        from msgnn_plugin.adapters.mmengine import pipelines
    except ModuleNotFoundError as error:
        raise ImportError(
            f"mmengine: `{error.name}` is not installed. Run `pip install 'msgnn_plugin[mmengine]'` and `pip install "
            "--no-deps mmengine==0.10.7`."
        ) from error
    if args.action == "train":
        weights = None if args.weights is None else str(weights_path(args.weights))
        pipelines.train(
            args.config, settings=args.cfg_options, work_dir=args.work_dir, resume=args.resume, weights=weights
        )
    elif args.action == "test":
        weights = str(weights_path(args.weights))
        pipelines.test(args.config, weights, settings=args.cfg_options, work_dir=args.work_dir)
    else:
        check_file("mmengine", "--output", args.output, suffixes=(".pth", ".safetensors"), inputs=[args.checkpoint])
        pipelines.export_weights(args.checkpoint, args.output)
    return 0
