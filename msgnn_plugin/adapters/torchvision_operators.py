"""A torchvision built for CUDA cannot load its own library beside a CPU torch, and then even its import fails.

It registers shape functions for two operators that the library would have defined. Declaring those two, without an
implementation, is enough: everything but the compiled detection operators works, and those say that they are absent.
"""

import importlib
import sys

import torch

MENDS = "a torchvision that cannot load its own library beside this torch"
SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
# Kept alive: the declarations vanish with the object that made them.
_library: torch.library.Library | None = None


def needed() -> bool:
    """Whether the plain import fails for want of an operator."""
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        return "operator torchvision::" in str(error)
    return False


def apply() -> None:
    """Declare the operators and import torchvision again."""
    global _library
    _library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in SCHEMAS:
        _library.define(schema)
    # What the failed attempt left behind is imported afresh.
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    importlib.import_module("torchvision")
