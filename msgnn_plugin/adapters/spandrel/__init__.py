"""What touches spandrel, the loader of many programs. Importing this imports nothing of it; `install` does."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spandrel import ArchRegistry


def install(registry: "ArchRegistry | None" = None) -> None:
    """Let spandrel's `ModelLoader` open weights of MSGNN, NLCL and UniRain; calling it twice is harmless.

    Spandrel looks for no plugins, so the program that loads models has to call this once. Architectures of the same
    name that are there already stay.

    Args:
        registry: Where to add them; None means spandrel's `MAIN_REGISTRY`, which every `ModelLoader` uses unless told
            otherwise.

    Raises:
        ImportError: If spandrel or something it imports is missing.
    """
    from msgnn_plugin.adapters import torchvision_operators

    try:
        if torchvision_operators.needed():
            torchvision_operators.apply()
        from spandrel import MAIN_REGISTRY, ArchSupport
    except ModuleNotFoundError as error:
        raise ImportError(
            f"spandrel: `{error.name}` is not installed. Run `pip install 'msgnn_plugin[spandrel]'`."
        ) from error
    from msgnn_plugin.adapters.spandrel.architectures import DERAINERS

    if registry is None:
        registry = MAIN_REGISTRY
    registry.add(*map(ArchSupport.from_architecture, DERAINERS), ignore_duplicates=True)


__all__ = ["install"]
