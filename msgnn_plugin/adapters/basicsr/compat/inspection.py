"""Tell whether a piece of BasicSR still has the fault that a mend is for."""

import inspect
from typing import Any


def source_contains(thing: Any, text: str) -> bool:
    """Whether the source of a function or class contains ``text``; False where there is no source to read."""
    try:
        return text in inspect.getsource(thing)
    except (OSError, TypeError):
        return False
