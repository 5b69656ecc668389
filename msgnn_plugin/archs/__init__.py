"""Whole networks, one family a file, and the way from a weights file to a network."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from msgnn_plugin.archs.msgnn import MSGNNArch
from msgnn_plugin.archs.nlcl import NLCLDiscriminator, NLCLGenerator
from msgnn_plugin.archs.nlcl_official import is_official
from msgnn_plugin.archs.state_dict import load_weights, unwrap

__all__ = ["FAMILIES", "MSGNNArch", "NLCLDiscriminator", "NLCLGenerator", "from_state_dict", "load_weights"]

# What derains, by the name of its system.
FAMILIES = {"msgnn": MSGNNArch, "nlcl": NLCLGenerator}


def from_state_dict(state_dict: Mapping[str, Any]) -> nn.Module:
    """Build the network of ours that these weights describe, whatever its family.

    Args:
        state_dict: Weights, also inside the wrappers of toolboxes.

    Raises:
        ValueError: If no network of ours has such weights.
    """
    names = unwrap(state_dict)
    if "hyper" in names and "stem.weight" in names:
        return MSGNNArch.from_state_dict(names)
    if "convert_rainy.weight" in names:
        return MSGNNArch.from_official(names)
    if is_official(names) or "neck.0.weight" in names:
        return NLCLGenerator.from_state_dict(names)
    raise ValueError(
        "from_state_dict: `state_dict` must hold weights of MSGNN or of an NLCL generator, ours or the authors', "
        f"got tensors such as {next(iter(names))!r}."
    )
