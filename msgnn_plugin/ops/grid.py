"""The patch grid that every op shares: where patches lie in a map, and how maps and patch matrices interchange."""

import torch
import torch.nn.functional as F
from torch import Tensor


def grid_length(size: int, patch_size: int, stride: int) -> int:
    """Return the patches along an axis of ``size`` pixels: ceil((size - patch_size) / stride) + 1, at least 1."""
    # In exported programs sizes are unknown: torch's maximum stays a function of them, and ONNX divides towards zero.
    return torch.sym_max((size - patch_size + stride - 1) // stride + 1, 1)


def grid_padding(size: int, patch_size: int, stride: int) -> tuple[int, int]:
    """Return the zero padding (before, after) that completes an axis' last patch; the smaller half comes first."""
    total = (grid_length(size, patch_size, stride) - 1) * stride + patch_size - size
    return total // 2, total - total // 2


def patch_start(place: int, size: int, patch_size: int, stride: int) -> int:
    """Return a patch's first pixel along an axis of ``size`` pixels; negative where it begins in the padding."""
    return place * stride - grid_padding(size, patch_size, stride)[0]


def nearest_place(pixel: int, size: int, patch_size: int, stride: int) -> int:
    """Return the place, along an axis of ``size`` pixels, of the patch whose middle is nearest to a pixel."""
    first_middle = patch_start(0, size, patch_size, stride) + (patch_size - 1) / 2
    return min(max(round((pixel - first_middle) / stride), 0), grid_length(size, patch_size, stride) - 1)


def extract_patches(image: Tensor, patch_size: int, stride: int) -> Tensor:
    """Cut a map into its grid of zero-padded patches.

    Args:
        image: Feature map, shape (B, C, H, W).
        patch_size: Side of a patch in pixels.
        stride: Step between patches in pixels.

    Returns:
        Patches, shape (B, N, C * patch_size**2), row-major grid, each patch in the order (channel, row, column).
    """
    top, bottom = grid_padding(image.shape[2], patch_size, stride)
    left, right = grid_padding(image.shape[3], patch_size, stride)
    return F.unfold(F.pad(image, (left, right, top, bottom)), patch_size, stride=stride).mT.contiguous()


def sum_patches(patches: Tensor, height: int, width: int, patch_size: int, stride: int) -> Tensor:
    """Add patches back onto their places: the adjoint of `extract_patches`.

    Args:
        patches: Shape (B, N, C * patch_size**2), laid out as `extract_patches` returns them.
        height: Height of the map in pixels.
        width: Width of the map in pixels.
        patch_size: Side of a patch in pixels.
        stride: Step between patches in pixels.

    Returns:
        Map of shape (B, C, height, width).
    """
    top, bottom = grid_padding(height, patch_size, stride)
    left, right = grid_padding(width, patch_size, stride)
    padded_size = (height + top + bottom, width + left + right)
    padded = F.fold(patches.mT, padded_size, patch_size, stride=stride)
    return padded[:, :, top : top + height, left : left + width].contiguous()


def coverage(patches: Tensor, height: int, width: int, patch_size: int, stride: int) -> Tensor:
    """Return how many patches cover each pixel, at least 1 so that it can divide; shape (1, 1, height, width)."""
    count = grid_length(height, patch_size, stride) * grid_length(width, patch_size, stride)
    ones = patches.new_ones(1, count, patch_size**2)
    return sum_patches(ones, height, width, patch_size, stride).clamp_min(1)
