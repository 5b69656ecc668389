"""BasicSR wraps every distributed network for `torch.cuda.current_device()`, which fails on a machine without a GPU."""

import importlib
from typing import Any

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from msgnn_plugin.adapters.basicsr.compat.inspection import source_contains

MENDS = "distributed networks on machines without a GPU"


def needed() -> bool:
    """Whether the published method asks for the current GPU."""
    model = importlib.import_module("basicsr.models.base_model").BaseModel
    return source_contains(model.model_to_device, "torch.cuda.current_device()")


def apply() -> None:
    """Replace the method."""
    importlib.import_module("basicsr.models.base_model").BaseModel.model_to_device = model_to_device


def model_to_device(self: Any, net: nn.Module) -> nn.Module:
    """Move a network to the model's device and, in distributed training, wrap it there.

    Whole-number buffers (settings, exemplars) never change, so they are not sent before every forward pass.
    """
    net = net.to(self.device)
    if not self.opt["dist"] or not any(parameter.requires_grad for parameter in net.parameters()):
        return net
    return DistributedDataParallel(
        net,
        device_ids=None if self.device.type == "cpu" else [self.device.index or 0],
        broadcast_buffers=any(buffer.is_floating_point() for buffer in net.buffers()),
        find_unused_parameters=self.opt.get("find_unused_parameters", False),
    )
