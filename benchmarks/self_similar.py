"""Self-similar sampling as NLCL does it: one anchor a picture, its nearest patches of 16x16 among up to 40x40 places.

Every contender gets the same 8 pictures of 256x256 and anchors and returns the centres of the nearest patches. The
first is the baseline of the ratios: candidates cut out one by one, as in NLCL's released code, but joined once; that
code joins after every cut, which takes half a minute a picture at 32 channels.
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.harness import Contender, main
from msgnn_plugin.ops import draw_anchors, self_similar_patches

BATCH, SIDE, PATCH, RADIUS = 8, 256, 16, 20
HALF = PATCH // 2
CHANNELS = {"RGB": 3, "32 channels": 32}
NEIGHBORS = (8, 128, 256)


def inputs(channels: int) -> tuple[Tensor, Tensor]:
    """Return made-up pictures, smooth with a grain, and one anchor each."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(BATCH, channels, SIDE // 16, SIDE // 16, generator=generator)
    image = F.interpolate(coarse, (SIDE, SIDE), mode="bicubic")
    image += 0.05 * torch.randn(image.shape, generator=generator)
    return image, draw_anchors(BATCH, (SIDE, SIDE), generator)


def spans(anchor: Tensor) -> list[range]:
    """Return rows and columns of the candidates of one anchor."""
    return [range(max(place - RADIUS, HALF), min(place + RADIUS, SIDE - HALF)) for place in anchor.tolist()]


def cut(image: Tensor, row: int, column: int) -> Tensor:
    """Return the patch of a centre as a row."""
    return image[:, row - HALF : row + HALF, column - HALF : column + HALF].reshape(1, -1)


def centres_of(order: Tensor, columns: range, rows: range) -> Tensor:
    """Return the centres, (K, 2), of numbered candidates."""
    return torch.stack((order // len(columns) + rows.start, order % len(columns) + columns.start), -1)


def one_by_one(images: Tensor, anchors: Tensor, num_neighbors: int) -> Tensor:
    """Cut out the candidates one by one and join them."""
    found = []
    for image, anchor in zip(images, anchors, strict=True):
        rows, columns = spans(anchor)
        patches = torch.cat([cut(image, row, column) for row in rows for column in columns])
        distance = (patches - cut(image, *anchor.tolist())).square().sum(1)
        found.append(centres_of(distance.topk(num_neighbors, largest=False).indices, columns, rows))
    return torch.stack(found)


def unfolded(images: Tensor, anchors: Tensor, num_neighbors: int) -> Tensor:
    """Unfold what the candidates cover, then `torch.cdist` and `topk`."""
    found = []
    for image, anchor in zip(images, anchors, strict=True):
        rows, columns = spans(anchor)
        region = image[:, rows.start - HALF : rows.stop + HALF - 1, columns.start - HALF : columns.stop + HALF - 1]
        patches = F.unfold(region[None], PATCH)[0].T
        distance = torch.cdist(cut(image, *anchor.tolist()), patches)[0]
        found.append(centres_of(distance.topk(num_neighbors, largest=False).indices, columns, rows))
    return torch.stack(found)


def op(images: Tensor, anchors: Tensor, num_neighbors: int) -> Tensor:
    """Search by `self_similar_patches`."""
    return self_similar_patches(images, anchors, num_neighbors=num_neighbors)[0]


def contenders(channels: int, num_neighbors: int) -> list[Contender]:
    """Return the peers and ours, having seen that they agree."""
    rows = {"cut one by one": one_by_one, "unfold + cdist + topk": unfolded, "self_similar_patches": op}
    arguments = inputs(channels)
    found = op(*arguments, num_neighbors)
    # Not the order, nor the last places: the others sum in float32.
    for one, other in zip(found.tolist(), unfolded(*arguments, num_neighbors).tolist(), strict=True):
        assert len({*map(tuple, one)} & {*map(tuple, other)}) > 0.9 * num_neighbors - 1
    return [
        Contender(name, partial(inputs, channels), partial(run, num_neighbors=num_neighbors))
        for name, run in rows.items()
    ]


if __name__ == "__main__":
    main(
        "self_similar",
        {
            f"{name}, k = {num_neighbors}": contenders(channels, num_neighbors)
            for name, channels in CHANNELS.items()
            for num_neighbors in NEIGHBORS
        },
        {"images": [BATCH, "3 or 32", SIDE, SIDE], "patch_size": PATCH, "search_radius": RADIUS},
        rounds=3,
    )
