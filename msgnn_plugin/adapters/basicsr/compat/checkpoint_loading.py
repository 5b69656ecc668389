"""BasicSR reads weights by `torch.load` with whatever default holds, which may run code from the file."""

import importlib
from typing import Any

from torch import nn

from msgnn_plugin.adapters.basicsr.compat.inspection import source_contains
from msgnn_plugin.archs import load_weights

MENDS = "checkpoints read without weights_only"


def needed() -> bool:
    """Whether the published method leaves the choice to torch's default or to the environment."""
    model = importlib.import_module("basicsr.models.base_model").BaseModel
    return not source_contains(model.load_network, "weights_only")


def apply() -> None:
    """Replace the method."""
    importlib.import_module("basicsr.models.base_model").BaseModel.load_network = load_network


def load_network(
    self: Any, net: nn.Module, load_path: str, strict: bool = True, param_key: str | None = "params"
) -> None:
    """Load one set of weights into a network, as the published method does, from tensors alone.

    Args:
        self: The model.
        net: The network, possibly wrapped.
        load_path: File of weights.
        strict: Whether every name must fit.
        param_key: "params", "params_ema", or None for a bare dictionary of tensors. A file without
            ``params_ema`` gives its ``params``; one without either is taken as bare.

    Raises:
        ValueError: If the file cannot be read as tensors alone or does not fit the network.
    """
    logger = importlib.import_module("basicsr.utils").get_root_logger()
    net = self.get_bare_model(net)
    weights = load_weights(load_path)
    used = next((key for key in (param_key, "params") if key is not None and key in weights), None)
    if used is not None:
        weights = weights[used]
    logger.info(f"Loading {type(net).__name__} from {load_path}, with param key: [{used}].")
    weights = {key.removeprefix("module."): value for key, value in weights.items()}
    self._print_different_keys_loading(net, weights, strict)
    try:
        net.load_state_dict(weights, strict=strict)
    except RuntimeError as error:
        first_lines = " ".join(str(error).split("\n\t")[:2]).strip()
        raise ValueError(f"{load_path}: the weights do not fit `network_g`: {first_lines}") from error
