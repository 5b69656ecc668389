"""How other packages join: an entry-point group that is always asked, and modules that an option file names."""

import importlib
import importlib.metadata
from typing import Any

GROUP = "basicsr.plugins"


def load(modules: list[str], schema: Any) -> None:
    """Let installed plugins and the modules of an option file's ``plugins:`` register themselves.

    An entry point of the group ``basicsr.plugins`` is a callable that gets the `Schema`; it registers its classes in
    BasicSR's registries and may add option keys. A module under ``plugins:`` is imported, and its function
    ``plugin(schema)`` is called where it has one.

    Args:
        modules: Dotted module names.
        schema: The option schema of this run.

    Raises:
        ImportError: If a plugin cannot be imported.
    """
    for entry in importlib.metadata.entry_points(group=GROUP):
        try:
            plugin = entry.load()
        except (ImportError, AttributeError) as error:
            raise ImportError(f"plugin `{entry.name}` ({entry.value}) cannot be loaded: {error}") from error
        plugin(schema)
    for name in modules:
        try:
            module = importlib.import_module(name)
        except ImportError as error:
            raise ImportError(f"`plugins`: the module {name} cannot be imported: {error}") from error
        if hasattr(module, "plugin"):
            module.plugin(schema)
