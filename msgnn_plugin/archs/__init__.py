"""Whole networks, one family a file, and the way from a weights file to a network."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from msgnn_plugin.archs.msgnn import MSGNNArch
from msgnn_plugin.archs.nlcl import NLCLDiscriminator, NLCLGenerator
from msgnn_plugin.archs.state_dict import load_weights, unwrap
from msgnn_plugin.archs.unirain import UniRainArch

__all__ = [
    "FAMILIES",
    "MSGNNArch",
    "NLCLDiscriminator",
    "NLCLGenerator",
    "UniRainArch",
    "family_of",
    "from_state_dict",
    "load_weights",
]

# What derains, by the name of its system.
FAMILIES = {"msgnn": MSGNNArch, "nlcl": NLCLGenerator, "unirain": UniRainArch}
# Names of tensors by which each is known: ours and the authors'. Enough of them that nobody else's weights have all.
MARKS = (
    ({"hyper", "stem.weight", "groups.0.units.0.body.0.weight"}, MSGNNArch),
    ({"convert_rainy.weight", "res_group.0.units.0.res.0.weight"}, MSGNNArch),
    ({"stem.weight", "blocks.0.conv1.weight", "neck.0.weight"}, NLCLGenerator),
    ({"gen.0.weight", "gen.1.model.0.conv.weight", "gen.1.model.1.conv.weight"}, NLCLGenerator),
    ({"hyper", "embed.weight", "head.weight"}, UniRainArch),
)


def family_of(state_dict: Mapping[str, Any]) -> type[nn.Module] | None:
    """Return the class in `FAMILIES` whose weights these are by their names; None if they are no such network's.

    Args:
        state_dict: Weights, ours or the authors', also inside the wrappers of toolboxes.
    """
    try:
        names = unwrap(state_dict).keys()
    except ValueError:
        return None
    return next((family for marks, family in MARKS if names >= marks), None)


def from_state_dict(state_dict: Mapping[str, Any]) -> nn.Module:
    """Build the network of ours that these weights describe, whatever its family.

    Args:
        state_dict: Weights, also inside the wrappers of toolboxes.

    Raises:
        ValueError: If no network of ours has such weights.
    """
    names = unwrap(state_dict)
    family = family_of(names)
    if family is None:
        raise ValueError(
            "from_state_dict: `state_dict` must hold weights of MSGNN or of an NLCL generator, ours or the authors', "
            f"or of UniRain, got tensors such as {next(iter(names))!r}."
        )
    if family is MSGNNArch and "hyper" not in names:
        return MSGNNArch.from_official(names)
    return family.from_state_dict(names)
