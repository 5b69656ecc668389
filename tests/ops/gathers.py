"""What the tests of the two gather ops share: adjoints in plain float64 loops, settings, and ways to run."""

import numpy as np
import pytest
import torch

from msgnn_plugin import _extension
from tests.ops import naive

# Channels, patch size, stride: runs that fill whole vectors, leave some over, and hold less than one; strides that
# overlap, touch, and leave gaps.
SETTINGS = [(32, 1, 1), (32, 3, 3), (3, 3, 1), (2, 3, 2), (1, 1, 1), (5, 2, 3), (50, 3, 2), (2, 5, 2), (1, 9, 4)]
VAST_SIDE = 50_001
# Maps of more grid columns than the kernels make at a time.
WIDE_SETTINGS, WIDE_SIZES = [(2, 3, 1), (2, 3, 2), (2, 3, 3), (2, 2, 3)], ((4, 209), (5, 202))
COMPILED = _extension.status().startswith("loaded")
# A set that the processor lacks gives the best one that it has; plain PyTorch knows none.
CAPABILITIES = ("portable", "avx2", "avx512") if COMPILED else ("plain",)


def grid(size, patch_size, stride):
    return naive.patches(np.zeros((1, *size)), patch_size, stride).shape[:2]


def paste(patches, size, patch_size, stride):
    """(M, C * l * l) -> (C, H, W): adds patches one at a time on a padded canvas, then cuts the padding off."""
    rows, columns = grid(size, patch_size, stride)
    total = [(n - 1) * stride + patch_size - side for n, side in zip((rows, columns), size)]
    patches = patches.reshape(rows * columns, -1, patch_size, patch_size)
    canvas = np.zeros((patches.shape[1], size[0] + total[0], size[1] + total[1]))
    for m, patch in enumerate(patches):
        y, x = (m // columns) * stride, (m % columns) * stride
        canvas[:, y : y + patch_size, x : x + patch_size] += patch
    top, left = total[0] // 2, total[1] // 2
    return canvas[:, top : top + size[0], left : left + size[1]]


def count(size, patch_size, stride):
    """How many patches cover each pixel, at least 1."""
    rows, columns = grid(size, patch_size, stride)
    return np.maximum(paste(np.ones((rows * columns, patch_size**2)), size, patch_size, stride), 1)


def flat_patches(image, patch_size, stride):
    """Image tensor (C, H, W) -> (N, C * l * l) float64 array."""
    patches = naive.patches(image.detach().double().numpy(), patch_size, stride)
    return patches.reshape(-1, patches.shape[-1])


def laid_out(tensor, layout):
    """The same (B, C, H, W) values in another memory layout."""
    if layout == "channels_last":
        return tensor.contiguous(memory_format=torch.channels_last)
    if layout == "cropped":  # rows and images lie apart, channels are neighbours
        padded = torch.nn.functional.pad(tensor, (1, 2, 3, 1), value=torch.nan)
        return padded.contiguous(memory_format=torch.channels_last)[:, :, 3:-1, 1:-2]
    if layout == "odd":
        return tensor.mT.contiguous().mT.repeat_interleave(2, 0)[::2]
    return tensor.contiguous()


def vast_map():
    """A map of more than 2**31 values of which only the four corners are ever touched: 1, 2, 3, 4."""
    try:
        image = torch.empty(1, 1, VAST_SIDE, VAST_SIDE)
    except RuntimeError:
        pytest.skip("needs 10 GB of address space")
    image[0, 0, :: VAST_SIDE - 1, :: VAST_SIDE - 1] = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    return image


class Once(torch.utils.data.Dataset):
    """Runs a function in the worker of a data loader."""

    def __init__(self, run):
        self.run = run

    def __len__(self):
        return 1

    def __getitem__(self, number):
        return self.run()


def same_in_a_worker(run):
    """Whether run() -> tensors gives the same bits in a data loader's worker, which is forked, as it does here."""
    here = run()
    (there,) = torch.utils.data.DataLoader(Once(run), batch_size=None, num_workers=1, timeout=60)
    return all(torch.equal(a, b) for a, b in zip(here, there, strict=True))


def same_for_all_threads(run):
    """Whether run() -> tensors gives the same bits with 1, 2 and 7 threads."""
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 7):
            torch.set_num_threads(threads)
            results.append(run())
    finally:
        torch.set_num_threads(before)
    return all(torch.equal(a, b) for other in results[1:] for a, b in zip(results[0], other, strict=True))
