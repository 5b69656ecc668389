"""The trunk's compiled ops against the same in channels-last PyTorch, at the size of a Rain200 picture.

Run with ``python -m benchmarks.trunk``.
"""

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.harness import Contender, main
from msgnn_plugin.ops.dense_merge import dense_merge
from msgnn_plugin.ops.fusion import fusion
from msgnn_plugin.ops.residual_unit import residual_unit

SHAPE = (1, 32, 321, 481)
SLOPE = 0.2
NUM_MAPS = {"merge of 2": 2, "merge of 12": 12}
NUM_FUSED = 5
GROUP = range(2, 13)  # maps that the merges of a default sub-network take


def random_maps(count: int) -> list[Tensor]:
    """Return channels-last maps."""
    return [torch.randn(SHAPE).contiguous(memory_format=torch.channels_last) for _ in range(count)]


def convolution(inputs: int, kernel: int) -> tuple[Tensor, Tensor]:
    """Return channels-last weights and bias that keep the size of values."""
    weight = torch.randn(SHAPE[1], inputs, kernel, kernel) / (inputs * kernel * kernel) ** 0.5
    return weight.contiguous(memory_format=torch.channels_last), torch.randn(SHAPE[1]) / 10


def unit_inputs() -> tuple:
    """Return the arguments of a unit."""
    gate = torch.rand(SHAPE[:2]) + 0.5
    return *random_maps(2), gate, *convolution(SHAPE[1], 3), *convolution(SHAPE[1], 3), SLOPE


def merge_inputs(num_maps: int) -> tuple:
    """Return the arguments of a merge."""
    maps = random_maps(num_maps)
    return maps, *convolution(num_maps * SHAPE[1], 1), SLOPE, *random_maps(1)


def fusion_inputs() -> tuple:
    """Return the arguments of a fusion."""
    return random_maps(NUM_FUSED), *convolution(NUM_FUSED * SHAPE[1], 5), *convolution(SHAPE[1], 5), SLOPE


@torch.no_grad()
def eager_unit(
    x: Tensor, offset: Tensor, gate: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, _: float
) -> None:
    """Run a unit as the layers do."""
    x = x + offset
    middle = F.leaky_relu(F.conv2d(x * gate[:, :, None, None], w1, b1, padding=1), SLOPE)
    x + F.conv2d(middle, w2, b2, padding=1)


@torch.no_grad()
def eager_merge(maps: list[Tensor], weight: Tensor, bias: Tensor, _: float, offset: Tensor) -> None:
    """Run a merge and a gate's energy as the layers do."""
    merged = F.leaky_relu(F.conv2d(torch.cat(maps, dim=1), weight, bias), SLOPE)
    (merged + offset).square().sum(dim=(2, 3))


def group_inputs() -> tuple:
    """Return the maps of a sub-network, weights and bias of each of its merges, and an offset."""
    return random_maps(GROUP[-1]), [convolution(n * SHAPE[1], 1) for n in GROUP], *random_maps(1)


def eager_group(maps: list[Tensor], merges: list[tuple[Tensor, Tensor]], offset: Tensor) -> None:
    """Run all merges as the layers do."""
    for count, (weight, bias) in zip(GROUP, merges, strict=True):
        eager_merge(maps[:count], weight, bias, SLOPE, offset)


def group(block: int, maps: list[Tensor], merges: list[tuple[Tensor, Tensor]], offset: Tensor) -> None:
    """Run all merges; the first of each `block` sums for the others what its maps give them."""
    channels, seen, shares = SHAPE[1], 0, []
    for index, (weight, bias) in enumerate(merges):
        if index % block == 0:
            shares, seen = [], 0
            later = merges[index + 1 : index + block]
        end = GROUP[index]
        sums = shares.pop(0) if shares else None
        ends = [other[:, : end * channels] for other, _ in later] if index % block == 0 else []
        part = weight[:, seen * channels : end * channels]
        _, _, more = dense_merge(maps[seen:end], part, bias, SLOPE, offset, sums=sums, later=ends)
        if index % block == 0:
            shares, seen = more, end


@torch.no_grad()
def eager_fusion(maps: list[Tensor], w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, _: float) -> None:
    """Run a fusion as the network does."""
    middle = F.leaky_relu(F.conv2d(torch.cat(maps, dim=1), w1, b1, padding=2), SLOPE)
    F.leaky_relu(F.conv2d(middle, w2, b2, padding=2), SLOPE)


if __name__ == "__main__":
    jobs = {
        "residual unit": [
            Contender("PyTorch", unit_inputs, eager_unit),
            Contender("residual_unit", unit_inputs, residual_unit),
        ],
        "fusion of 5": [
            Contender("PyTorch", fusion_inputs, eager_fusion),
            Contender("fusion", fusion_inputs, fusion),
        ],
    }
    for job, count in NUM_MAPS.items():
        inputs = partial(merge_inputs, count)
        jobs[job] = [Contender("PyTorch", inputs, eager_merge), Contender("dense_merge", inputs, dense_merge)]
    jobs["merges of a group"] = [Contender("PyTorch", group_inputs, eager_group)] + [
        Contender(f"dense_merge, sums for {block}", group_inputs, partial(group, block)) for block in (1, 2, 3, 4)
    ]
    main("trunk", jobs, {"maps": SHAPE})
