"""BasicSR wraps every distributed network for `torch.cuda.current_device()`, which fails on a machine without a GPU."""

import importlib
import inspect
from typing import Any

import torch
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
    # torch 2.13 renamed the argument and warns about the old name.
    names = inspect.signature(DistributedDataParallel).parameters
    sync = "forward_sync_buffers" if "forward_sync_buffers" in names else "broadcast_buffers"
    return DistributedDataParallel(
        net,
        device_ids=None if self.device.type == "cpu" else [torch.cuda.current_device()],
        find_unused_parameters=self.opt.get("find_unused_parameters", False),
        **{sync: any(buffer.is_floating_point() for buffer in net.buffers())},
    )
