"""`basicsr train`: BasicSR's training pipeline with everything of this package in place."""

import argparse

from msgnn_plugin.adapters.basicsr.arguments import add_arguments as add_shared_arguments

NAME = "train"
HELP = "train a network as an option file says"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add BasicSR's arguments."""
    add_shared_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Train; BasicSR is imported here, so that `--help` stays quick."""
    from msgnn_plugin.adapters.basicsr import pipelines

    pipelines.train(args)
    return 0
