"""The patches of a picture that resemble one of its own, as NLCL (CVPR 2022) samples its positives and negatives."""

import torch
from torch import Tensor

from msgnn_plugin.ops.checks import check_map
from msgnn_plugin.ops.precision import at_least_float32

# Entries of one block of candidate patches (float64): 32 MiB.
BLOCK_ENTRIES = 1 << 22


def self_similar_patches(
    image: Tensor, anchor: Tensor, *, num_neighbors: int, patch_size: int = 16, search_radius: int = 20
) -> tuple[Tensor, Tensor]:
    """Find the k patches of each picture that are nearest to its anchor patch, the anchor itself among them.

    The patch of a centre c covers rows and columns ``c - patch_size // 2`` to ``c - patch_size // 2 + patch_size - 1``.
    Candidates are all centres from ``search_radius`` before the anchor up to, but excluding, as many after it, as far
    as they keep ``patch_size // 2`` from the first pixel and more than that from the end. Distances are summed in
    float64; ties go to the smaller place in row-major order, and NaN counts as infinitely far. No gradient flows.

    Args:
        image: Pictures or feature maps, (B, C, H, W), H and W at least twice ``patch_size``.
        anchor: Centre of each picture's anchor patch, (B, 2) int64, row and column; see `draw_anchors`.
        num_neighbors: k, at most the number of candidates.
        patch_size: Side of a patch in pixels.
        search_radius: Reach of the search in pixels.

    Returns:
        ``centres`` (B, K, 2) int64, row and column, nearest first, and ``distance`` (B, K), squared L2, of the
        image's dtype (float32 for half precisions).

    Raises:
        ValueError: If a shape is wrong, an anchor has no whole patch, or a number is out of its range.
        TypeError: If ``image`` is not floating-point or ``anchor`` not int64.
    """
    check_map("self_similar_patches", "image", image)
    if anchor.dtype != torch.int64:
        raise TypeError(f"self_similar_patches: `anchor` must be int64, got {anchor.dtype}.")
    if tuple(anchor.shape) != (image.shape[0], 2):
        raise ValueError(
            f"self_similar_patches: `anchor` must have shape (B, 2) = ({image.shape[0]}, 2), got {tuple(anchor.shape)}."
        )
    for name, value in (("patch_size", patch_size), ("search_radius", search_radius), ("num_neighbors", num_neighbors)):
        if value < 1:
            raise ValueError(f"self_similar_patches: `{name}` must be at least 1, got {value}.")
    height, width = image.shape[2:]
    _check_size("self_similar_patches", (height, width), patch_size)
    if not torch.compiler.is_compiling() and not anchor.is_meta:
        _check_anchors(anchor.tolist(), (height, width), num_neighbors, patch_size, search_radius)
    return _self_similar_patches(image.detach(), anchor, num_neighbors, patch_size, search_radius)


def draw_anchors(
    batch: int, size: tuple[int, int], generator: torch.Generator | None = None, *, patch_size: int = 16
) -> Tensor:
    """Draw the centre of one anchor patch a picture, uniformly, ``patch_size`` or more from each side.

    Args:
        batch: Number of pictures.
        size: H and W of the pictures.
        generator: Source of the numbers; None takes torch's default one.
        patch_size: Side of a patch in pixels.

    Returns:
        Rows in [patch_size, H - patch_size] and columns in [patch_size, W - patch_size], (B, 2) int64, on the
        generator's device.

    Raises:
        ValueError: If a side is shorter than twice ``patch_size``.
    """
    _check_size("draw_anchors", size, patch_size)
    device = None if generator is None else generator.device
    axes = [
        torch.randint(patch_size, side - patch_size + 1, (batch,), generator=generator, device=device) for side in size
    ]
    return torch.stack(axes, -1)


def _check_size(op: str, size: tuple[int, int], patch_size: int) -> None:
    if min(size) < 2 * patch_size:
        raise ValueError(
            f"{op}: both sides of a picture must be at least {2 * patch_size}, twice `patch_size`, "
            f"got {size[0]}x{size[1]}."
        )


def _check_anchors(
    anchors: list[list[int]], size: tuple[int, int], num_neighbors: int, patch_size: int, search_radius: int
) -> None:
    half = patch_size // 2
    for anchor in anchors:
        if any(not half <= place < side - half for place, side in zip(anchor, size, strict=True)):
            raise ValueError(
                f"self_similar_patches: `anchor` must lie in [{half}, {size[0] - half - 1}] x "
                f"[{half}, {size[1] - half - 1}] for its patch to lie in the picture, got {anchor}."
            )
        (top, bottom), (left, right) = _candidates(anchor, size, patch_size, search_radius)
        count = (bottom - top) * (right - left)
        if num_neighbors > count:
            raise ValueError(
                f"self_similar_patches: `num_neighbors` must be at most {count}, the number of candidates of the "
                f"anchor {anchor}, got {num_neighbors}."
            )


def _candidates(anchor: list[int], size: tuple[int, int], patch_size: int, search_radius: int) -> list[tuple[int, int]]:
    """Return first and end of the candidates' centres, rows and then columns."""
    half = patch_size // 2
    return [
        (max(place - search_radius, half), min(place + search_radius, side - half))
        for place, side in zip(anchor, size, strict=True)
    ]


@torch.library.custom_op("msgnn_plugin::self_similar_patches", mutates_args=())
def _self_similar_patches(
    image: Tensor, anchor: Tensor, num_neighbors: int, patch_size: int, search_radius: int
) -> tuple[Tensor, Tensor]:
    anchors, size = anchor.tolist(), (image.shape[2], image.shape[3])
    _check_anchors(anchors, size, num_neighbors, patch_size, search_radius)
    centres = anchor.new_empty((len(anchors), num_neighbors, 2), device=image.device)
    distance = torch.empty(centres.shape[:2], dtype=torch.float64, device=image.device)
    for batch, place in enumerate(anchors):
        (top, bottom), (left, right) = _candidates(place, size, patch_size, search_radius)
        windows = image[batch].unfold(1, patch_size, 1).unfold(2, patch_size, 1).permute(1, 2, 0, 3, 4)
        half = patch_size // 2
        patch = windows[place[0] - half, place[1] - half].double().flatten()
        windows = windows[top - half : bottom - half, left - half : right - half]
        step = max(BLOCK_ENTRIES // windows[0].numel(), 1)
        # Each candidate is one contiguous row, so equal patches are summed in the same order and tie exactly.
        blocks = [(block.double().flatten(2) - patch).square_().sum(-1) for block in windows.split(step)]
        total = torch.cat(blocks).flatten().nan_to_num_(nan=torch.inf, posinf=torch.inf)
        ranked, order = total.sort(stable=True)
        order = order[:num_neighbors]
        centres[batch, :, 0] = top + order // (right - left)
        centres[batch, :, 1] = left + order % (right - left)
        distance[batch] = ranked[:num_neighbors]
    return centres, distance.to(at_least_float32(image).dtype)


@_self_similar_patches.register_fake
def _(image: Tensor, anchor: Tensor, num_neighbors: int, patch_size: int, search_radius: int) -> tuple[Tensor, Tensor]:
    dtype = image.dtype if image.dtype == torch.float64 else torch.float32
    shape = (image.shape[0], num_neighbors)
    return image.new_empty((*shape, 2), dtype=torch.int64), image.new_empty(shape, dtype=dtype)
