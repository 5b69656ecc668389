"""Names of the authors' NLCL generator weights, and ours for them."""

import re
from collections.abc import Mapping

from torch import Tensor

BLOCK = re.compile(r"gen\.(\d+)\.model\.([01])\.conv\.(weight|bias)")


def is_official(names: Mapping[str, Tensor]) -> bool:
    """Whether these are weights of the authors' generator."""
    return "gen.0.weight" in names


def convert_official(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the authors' generator weights under our names.

    Raises:
        ValueError: If a tensor has no place in ours.
    """
    blocks = {int(match[1]) for name in state_dict if (match := BLOCK.fullmatch(name))}
    neck = max(blocks, default=0) + 1
    fixed = {"gen.0": "stem", f"gen.{neck}.conv.0": "neck.0", f"gen.{neck}.conv.3": "neck.1", f"gen.{neck + 1}": "head"}
    converted = {}
    for name, value in state_dict.items():
        layer, _, kind = name.rpartition(".")
        if match := BLOCK.fullmatch(name):
            ours = f"blocks.{int(match[1]) - 1}.conv{int(match[2]) + 1}.{match[3]}"
        elif layer in fixed:
            ours = f"{fixed[layer]}.{kind}"
        else:
            raise ValueError(
                "NLCLGenerator.from_official: `state_dict` must hold the authors' generator (gen.0 to gen.18), "
                f"got {name!r}."
            )
        converted[ours] = value
    return converted
