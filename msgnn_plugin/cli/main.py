"""Entry point of the `basicsr` command (alias `msgnn`): runs the sub-command, turns errors into one sentence."""

import argparse
import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from msgnn_plugin.cli.errors import sentence

SUBCOMMANDS = (
    "train",
    "test",
    "ablate",
    "report",
    "graph",
    "metrics",
    "restore",
    "demo",
    "export",
    "weights",
    "bank",
    "convert",
    "data",
    "distill",
    "mmengine",
    "doctor",
)
# What bad input raises. Anything else is a fault of ours and keeps its traceback.
USER_ERRORS = (ValueError, TypeError, OSError, RuntimeError, ImportError, MemoryError)


# A step of training waits at hundreds of barriers. Waiting threads that spin, OpenMP's default, make it several times
# slower as soon as anything else runs beside it; sleeping ones cost less than a tenth on a quiet machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Of a damaged picture OpenCV prints lines of its own, beside the sentence that names the file.
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")


class _Parser(argparse.ArgumentParser):
    """Tells a wrong option in one sentence, as every other error, without the list of all options before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}; `{self.prog} --help` tells what there is.\n")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser with every sub-command added."""
    parser = _Parser(prog="basicsr", description="Image deraining inside BasicSR: train, test, restore.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in SUBCOMMANDS:
        module = importlib.import_module(f"msgnn_plugin.cli.{name}")
        command = commands.add_parser(module.NAME, help=module.HELP, description=module.HELP)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one sub-command.

    Args:
        argv: Arguments after the program's name; None means ``sys.argv[1:]``.

    Returns:
        The exit code: 0 fine, 1 some inputs failed, 2 wrong usage or input, 130 interrupted.
    """
    args = build_parser().parse_args(argv)
    warnings.formatwarning = _format_warning
    try:
        return args.run(args)
    except KeyboardInterrupt:
        print(f"basicsr {args.command}: interrupted.", file=sys.stderr)
        return 130
    except USER_ERRORS as error:
        if os.environ.get("MSGNN_TRACEBACK") == "1":
            raise
        print(f"basicsr {args.command}: error: {sentence(error)}", file=sys.stderr)
        return 2


_format_python = warnings.formatwarning


def _format_warning(message: Warning | str, category: type[Warning], filename: str, *rest: Any) -> str:
    """Format a warning of ours as one sentence; others keep the place they come from."""
    if category is UserWarning and Path(__file__).parents[1] in Path(filename).parents:
        return f"basicsr: warning: {message}\n"
    return _format_python(message, category, filename, *rest)
