"""mmengine asks torchvision for its version, and stops where that one cannot load its own library."""

import importlib.util

from msgnn_plugin.adapters.basicsr.compat import torchvision_operators

MENDS = torchvision_operators.MENDS


def needed() -> bool:
    """Whether there is a torchvision, and importing it fails for want of an operator."""
    return importlib.util.find_spec("torchvision") is not None and torchvision_operators.needed()


def apply() -> None:
    """Mend it as for BasicSR."""
    torchvision_operators.apply()
