"""BasicSR copies the option file as it lies, by every process, without what it inherits or the command line forced."""

import importlib
import shlex
import sys
import time
from pathlib import Path

import yaml

from msgnn_plugin.adapters.basicsr import options
from msgnn_plugin.adapters.basicsr.compat.inspection import source_contains
from msgnn_plugin.data.atomic import write_bytes_atomic

MENDS = "the experiment's copy of the options, which lacked inherited and forced settings"


def needed() -> bool:
    """Whether the published function copies the file."""
    return source_contains(importlib.import_module("basicsr.utils.options").copy_opt_file, "copyfile(")


def apply() -> None:
    """Replace the function."""
    for name in ("basicsr.utils.options", "basicsr.train"):
        importlib.import_module(name).copy_opt_file = copy_opt_file


def copy_opt_file(opt_file: str, experiments_root: str) -> None:
    """Write the options in force into the experiment's folder, by the first process alone.

    Args:
        opt_file: The option file, whose name the copy takes.
        experiments_root: The folder.
    """
    rank, _ = importlib.import_module("basicsr.utils.dist_util").get_dist_info()
    if rank != 0:
        return
    header = f"# Options in force, with everything inherited and forced. {time.asctime()}\n# {shlex.join(sys.argv)}\n\n"
    text = header + yaml.safe_dump(options.options_in_force(), sort_keys=False, allow_unicode=True)
    write_bytes_atomic(Path(experiments_root) / Path(opt_file).name, text.encode())
