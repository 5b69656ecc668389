"""`patch_difference` (abs_sum) and `patch_aggregate`, forward and backward, beside `index_select` and `F.fold`."""

from functools import cache, partial

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks import harness
from msgnn_plugin.ops import patch_aggregate, patch_difference, patch_knn
from msgnn_plugin.ops.grid import coverage, extract_patches, sum_patches

HEIGHT, WIDTH, CHANNELS = 321, 481, 32
PATCH_SIZE, STRIDE, NUM_NEIGHBORS, WINDOW_SIZE = 3, 3, 5, 30
SETTINGS = {"patch_size": PATCH_SIZE, "stride": STRIDE}


@cache
def neighbors() -> Tensor:
    """Return the neighbours, (1, M, K), of a made-up picture's patches: smooth, with a grain."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, HEIGHT // 16, WIDTH // 16, generator=generator)
    picture = F.interpolate(coarse, (HEIGHT, WIDTH), mode="bicubic")
    picture += 0.05 * torch.randn(picture.shape, generator=generator)
    index, _ = patch_knn(picture, picture, **SETTINGS, num_neighbors=NUM_NEIGHBORS, window_size=WINDOW_SIZE)
    return index


def feature_map(seed: int, layout: torch.memory_format) -> Tensor:
    """Return random features, (1, C, H, W)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, CHANNELS, HEIGHT, WIDTH, generator=generator).contiguous(memory_format=layout)


def difference_inputs(layout: torch.memory_format) -> tuple:
    """Return query, database, index and the gradient of the result."""
    index = neighbors()
    return feature_map(0, layout), feature_map(1, layout), index, torch.ones(*index.shape, CHANNELS)


def aggregate_inputs(layout: torch.memory_format) -> tuple:
    """Return database, weight, index and the gradient of the result."""
    index = neighbors()
    weight = torch.rand(index.shape, generator=torch.Generator().manual_seed(2))
    return feature_map(0, layout), weight, index, feature_map(1, layout)


def select(database: Tensor, index: Tensor) -> Tensor:
    """Return the neighbours' patches, (1, M, K, D), out of the unfolded map."""
    return extract_patches(database, PATCH_SIZE, STRIDE)[0].index_select(0, index.flatten()).view(*index.shape, -1)


def selected_difference(query: Tensor, database: Tensor, index: Tensor) -> Tensor:
    """The baseline of `patch_difference`."""
    difference = extract_patches(query, PATCH_SIZE, STRIDE)[:, :, None] - select(database, index)
    return difference.abs().unflatten(-1, (CHANNELS, -1)).sum(-1)


def selected_aggregate(database: Tensor, weight: Tensor, index: Tensor) -> Tensor:
    """The baseline of `patch_aggregate`."""
    rows = (select(database, index) * weight[..., None]).sum(2)
    total = sum_patches(rows, HEIGHT, WIDTH, PATCH_SIZE, STRIDE)
    return total / coverage(rows, HEIGHT, WIDTH, PATCH_SIZE, STRIDE)


def compiled_difference(query: Tensor, database: Tensor, index: Tensor) -> Tensor:
    """The op, in the order of the baseline's arguments."""
    return patch_difference(query, database, index, **SETTINGS, reduce="abs_sum")


def compiled_aggregate(database: Tensor, weight: Tensor, index: Tensor) -> Tensor:
    """The op, in the order of the baseline's arguments."""
    return patch_aggregate(database, index, weight, **SETTINGS, output_size=(HEIGHT, WIDTH))


def forward_and_backward(function, first: Tensor, second: Tensor, index: Tensor, grad: Tensor) -> tuple[Tensor, ...]:  # noqa: ANN001
    """Return the result and the gradients of the first two arguments."""
    leaves = [first.detach().requires_grad_(), second.detach().requires_grad_()]
    output = function(*leaves, index)
    return output.detach(), *torch.autograd.grad(output, leaves, grad)


def contenders(inputs, baseline, op) -> list[harness.Contender]:  # noqa: ANN001
    """Return the baseline and the op in both layouts, having seen that they agree."""
    rows = [
        ("index_select", torch.contiguous_format, baseline),
        ("op, contiguous maps", torch.contiguous_format, op),
        ("op, channels last", torch.channels_last, op),
    ]
    found = [forward_and_backward(function, *inputs(layout)) for _, layout, function in rows]
    for others in found[1:]:
        for result, right in zip(others, found[0], strict=True):
            torch.testing.assert_close(result, right, rtol=1e-4, atol=1e-4)
    return [
        harness.Contender(name, partial(inputs, layout), partial(forward_and_backward, function))
        for name, layout, function in rows
    ]


if __name__ == "__main__":
    harness.main(
        "aggregate",
        {
            "difference abs_sum, forward + backward": contenders(
                difference_inputs, selected_difference, compiled_difference
            ),
            "aggregate, forward + backward": contenders(aggregate_inputs, selected_aggregate, compiled_aggregate),
        },
        {
            "map": [1, CHANNELS, HEIGHT, WIDTH],
            **SETTINGS,
            "num_neighbors": NUM_NEIGHBORS,
            "window_size": WINDOW_SIZE,
            "dtype": "float32",
        },
    )
