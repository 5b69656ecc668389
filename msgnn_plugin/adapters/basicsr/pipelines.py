"""Run BasicSR's own training and test pipelines, as published, with everything of ours in place."""

import argparse
import contextlib
import importlib
import logging
import sys
import traceback
from collections.abc import Iterator

from msgnn_plugin.adapters.basicsr import arguments, compat
from msgnn_plugin.adapters.basicsr.compat import init_dist
from msgnn_plugin.adapters.basicsr.registration import register_all


def train(args: argparse.Namespace) -> None:
    """Train as an option file says.

    Args:
        args: Arguments of `arguments.add_arguments`.
    """
    _run("train", args)


def test(args: argparse.Namespace) -> None:
    """Test as an option file says.

    Args:
        args: Arguments of `arguments.add_arguments`.
    """
    _run("test", args)


def _run(name: str, args: argparse.Namespace) -> None:
    register_all()
    compat.apply()
    pipeline = getattr(importlib.import_module(f"basicsr.{name}"), f"{name}_pipeline")
    with _command_line(args), _left_clean():
        pipeline(str(arguments.project_root(args.opt)))


@contextlib.contextmanager
def _command_line(args: argparse.Namespace) -> Iterator[None]:
    """BasicSR parses ``sys.argv`` itself; give it ours without the sub-command."""
    before = sys.argv
    sys.argv = [sys.argv[0], *arguments.as_argv(args)]
    try:
        yield
    finally:
        sys.argv = before


@contextlib.contextmanager
def _left_clean() -> Iterator[None]:
    """Begin and end with nothing open, so that whatever this process did before, a run starts like its first."""
    _close_log()
    try:
        yield
    except BaseException as error:
        if init_dist.joined():
            traceback.clear_frames(error.__traceback__)  # they hold the model, see `init_dist.leave`
        raise
    finally:
        _close_log()
        init_dist.leave()


def _close_log() -> None:
    """Have BasicSR open its log anew: once it has a logger, even one without a file, it adds no file to it."""
    logger = logging.getLogger("basicsr")
    for handler in list(logger.handlers):
        handler.close()
        logger.removeHandler(handler)
    importlib.import_module("basicsr.utils.logger").initialized_logger.clear()
