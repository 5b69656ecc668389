"""`basicsr test`: BasicSR's test pipeline with everything of this package in place."""

import argparse

from msgnn_plugin.adapters.basicsr.arguments import add_arguments as add_shared_arguments

NAME = "test"
HELP = "measure a network as an option file says, image by image"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add BasicSR's arguments."""
    add_shared_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Test; BasicSR is imported here, so that `--help` stays quick."""
    from msgnn_plugin.adapters.basicsr import pipelines

    pipelines.test(args)
    return 0
