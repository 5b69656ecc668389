"""NLCL's generator: the compiled op, whole and in tiles, beside plain PyTorch in both layouts (authors: contiguous)."""

from functools import partial

import torch
from torch import Tensor

from benchmarks import harness
from msgnn_plugin.archs import NLCLGenerator

SIZES = ((512, 512), (512, 1024))
TILE = 256


def build(size: tuple[int, int], layout: torch.memory_format) -> tuple[NLCLGenerator, Tensor]:
    """Return the generator of the paper's size and a picture on the authors' scale."""
    torch.manual_seed(0)
    network = NLCLGenerator().eval().requires_grad_(False).to(memory_format=layout)
    return network, (torch.rand(1, 3, *size) * 2 - 1).contiguous(memory_format=layout)


@torch.inference_mode()
def run(way: str, network: NLCLGenerator, scaled: Tensor) -> None:
    """Translate the picture in one of three ways."""
    if way == "whole":
        network.translate(scaled)
    elif way == "tiles":
        network.forward_tiled((scaled + 1) / 2, TILE)
    else:
        network.translate_with_features(scaled, ())


def contenders(size: tuple[int, int]) -> list[harness.Contender]:
    """Return what the authors run, then the same in the faster layout, then ours."""
    ways = {
        "plain PyTorch, contiguous": ("plain", torch.contiguous_format),
        "plain PyTorch, channels last": ("plain", torch.channels_last),
        "compiled op": ("whole", torch.channels_last),
        f"compiled op, tiles of {TILE}": ("tiles", torch.channels_last),
    }
    return [
        harness.Contender(name, partial(build, size, layout), partial(run, way)) for name, (way, layout) in ways.items()
    ]


if __name__ == "__main__":
    jobs = {f"{width} x {height}": contenders((height, width)) for height, width in SIZES}
    harness.main("nlcl", jobs, {"pictures (height, width)": SIZES, "tile": TILE}, rounds=5)
