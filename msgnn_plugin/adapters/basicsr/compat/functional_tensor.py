"""BasicSR imports `torchvision.transforms.functional_tensor`, which torchvision 0.17 renamed."""

import importlib
import importlib.util
import sys

MENDS = "the import of torchvision.transforms.functional_tensor, renamed in torchvision 0.17"
OLD_NAME = "torchvision.transforms.functional_tensor"
NEW_NAME = "torchvision.transforms._functional_tensor"


def needed() -> bool:
    """Whether torchvision has the module under its new name alone."""
    return importlib.util.find_spec(OLD_NAME) is None and importlib.util.find_spec(NEW_NAME) is not None


def apply() -> None:
    """Give the module its old name as well."""
    sys.modules[OLD_NAME] = importlib.import_module(NEW_NAME)
