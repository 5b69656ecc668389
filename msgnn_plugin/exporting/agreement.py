"""How well a written program agrees with its network."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from msgnn_plugin.exporting.program import least_side

MOST_DIFFERENCE = 1e-4
LEAST_SHARE = 0.999
SIZES = ((64, 49), (127, 101))
_SEARCH = torch.ops.msgnn_plugin.patch_knn.default

Program = Callable[..., tuple[Tensor, list[Tensor]]]


@dataclass(frozen=True)
class Agreement:
    """What a comparison gave.

    Args:
        sizes: Heights and widths of the pictures.
        difference: Largest difference of a value, given the same neighbours.
        share: Which part of all searches found the same neighbours; 1 where nothing is searched.
    """

    sizes: tuple[tuple[int, int], ...]
    difference: float
    share: float

    def require(self, path: str) -> None:
        """Raise RuntimeError where program and network are not the same."""
        if not self.difference <= MOST_DIFFERENCE:
            raise RuntimeError(
                f"export: {path} must give what the network gives within {MOST_DIFFERENCE:g}, got a difference of "
                f"{self.difference:.2g}; nothing was written, use another version of torch or onnxruntime."
            )
        if not self.share >= LEAST_SHARE:
            raise RuntimeError(
                f"export: {path} must find the neighbours that the network finds for {LEAST_SHARE:.1%} of the patches, "
                f"got {self.share:.2%}; nothing was written, use another version of torch or onnxruntime."
            )


class Searches(TorchDispatchMode):
    """Keep what every `patch_knn` finds, and have it return other neighbours where some are given.

    Args:
        given: Places (B, M, K) for each search, in their order.
    """

    def __init__(self, given: Sequence[Tensor] = ()) -> None:
        super().__init__()
        self.given = iter(given)
        self.found: list[Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Run one operation."""
        result = func(*args, **(kwargs or {}))
        if func is not _SEARCH:
            return result
        index, distance = result
        self.found.append(index)
        return next(self.given, index), distance


@torch.no_grad()
def compare(network: nn.Module, program: Program, count: int) -> Agreement:
    """Run both on made-up pictures of three sizes, the smallest possible one among them.

    Among nearly equally distant patches rounding decides, so a few neighbours may differ, and with them the result. The
    network therefore takes the program's neighbours, which leaves rounding alone; which share of them are its own is
    counted apart.

    Args:
        network: On the CPU, in evaluation mode.
        program: Takes pictures (1, 3, H, W); returns the derained one and the neighbours of each search.
        count: How many pictures it takes: the rainy one, or an exemplar of another size too.
    """
    least = least_side(network)
    sizes = ((least, least + 4), *SIZES)
    generator = torch.Generator().manual_seed(0)
    difference, same, total = 0.0, 0, 0
    for size in sizes:
        pictures = [_picture(side, generator) for side in (size, size[::-1])[:count]]
        derained, found = program(*pictures)
        with Searches(found) as searches:
            expected = network(*pictures)
        gap = (derained - expected).abs().max().item() if derained.shape == expected.shape else float("inf")
        # A NaN stays one.
        difference = gap if not gap <= difference else difference
        if len(found) != len(searches.found):
            raise RuntimeError(f"export: the program must search {len(searches.found)} times, got {len(found)}.")
        for theirs, ours in zip(found, searches.found, strict=True):
            same += (theirs.sort(-1).values == ours.sort(-1).values).all(-1).sum().item()
            total += ours.shape[1]
    return Agreement(sizes, difference, same / total if total else 1.0)


def _picture(size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Make structure at several scales, with a flat part as in overexposed skies."""
    picture = torch.full((1, 3, *size), 0.5)
    for cells in (3, 9, 27):
        noise = torch.randn(1, 3, cells, cells, generator=generator) / cells**0.5
        picture += 0.3 * F.interpolate(noise, size, mode="bilinear")
    return picture.clamp(0, 1)
