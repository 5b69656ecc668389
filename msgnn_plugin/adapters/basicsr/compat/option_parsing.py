"""BasicSR's option parsing runs `--force_yml` through `exec`, lists through `eval`, and checks and inherits nothing."""

import importlib

from msgnn_plugin.adapters.basicsr import options
from msgnn_plugin.adapters.basicsr.compat.inspection import source_contains

MENDS = "option parsing by eval and exec, without --local-rank, inheritance or checks"


def needed() -> bool:
    """Whether the published parser still executes the command line."""
    return source_contains(importlib.import_module("basicsr.utils.options").parse_options, "exec(")


def apply() -> None:
    """Have both pipelines parse by `msgnn_plugin.adapters.basicsr.options`."""
    for name in ("basicsr.utils.options", "basicsr.train", "basicsr.test"):
        importlib.import_module(name).parse_options = options.parse_options
