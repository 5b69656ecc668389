"""`basicsr data`: what sets there are, whether a copy is right, one form for all of them."""

import argparse
import importlib

NAME = "data"
HELP = "list, verify, prepare, preview and make data sets"
SUBCOMMANDS = ("list", "verify", "prepare", "preview", "synthesize")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the sub-commands, each with its own arguments."""
    commands = parser.add_subparsers(dest="data_command", required=True, metavar="COMMAND")
    for name in SUBCOMMANDS:
        module = importlib.import_module(f"{__name__}.{name}")
        command = commands.add_parser(module.NAME, help=module.HELP, description=module.HELP)
        module.add_arguments(command)
        # main() names the whole command in an error, and `run` of the outer parser would hide the inner one's.
        command.set_defaults(run_data=module.run, command=f"{NAME} {module.NAME}")


def run(args: argparse.Namespace) -> int:
    """Run the sub-command that was named."""
    return args.run_data(args)
