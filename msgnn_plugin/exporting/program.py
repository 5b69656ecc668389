"""From a network to an exported program of any picture size."""

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

# Sizes to trace with. No number of theirs follows from another one, and no padding of theirs is 0: what holds for these
# by chance would be taken for a rule.
TRACED = {"rainy": (67, 85), "exemplar": (59, 95)}
OUTPUT = "derained"
LEAST_SIDE = 9  # one more than UniRain pads sides to a multiple of


def input_names(network: nn.Module, exemplar_input: bool) -> list[str]:
    """Return what the program takes.

    Raises:
        ValueError: If an exemplar is asked for that the network would not look at.
    """
    if not exemplar_input:
        return ["rainy"]
    if "exemplar" not in getattr(network, "graphs", ()):
        raise ValueError(
            f"export: `--exemplar-input` must be left out for a network that looks at no exemplar, got "
            f"{type(network).__name__} without that branch."
        )
    return ["rainy", "exemplar"]


def least_side(network: nn.Module) -> int:
    """Return the smallest side in pixels that programs of this network take.

    Programs are traced once, for sizes that every branch treats alike: no side is 1 anywhere in the network, and in
    the smallest of the scales no graph is short of patches. Smaller pictures must be padded by the caller.
    """
    graphs = getattr(network, "graphs", {}).values()
    largest_scale = max(getattr(network, "scales", ()), default=1)
    return max([LEAST_SIDE, *(largest_scale * graph.minimum_side for graph in graphs)])


def trace(network: nn.Module, exemplar_input: bool) -> ExportedProgram:
    """Export a network for one picture at a time, of any size from `least_side` up.

    Args:
        network: One of ours, on the CPU.
        exemplar_input: Whether the program takes an exemplar; without, it does as ``network(rainy)`` does.
    """
    names = input_names(network, exemplar_input)
    pictures: tuple[Tensor, ...] = tuple(torch.rand(1, 3, *TRACED[name]) for name in names)
    sizes = tuple({2: Dim.DYNAMIC, 3: Dim.DYNAMIC} for _ in names)
    with torch.no_grad():
        return torch.export.export(network, pictures, dynamic_shapes=sizes, strict=False)
