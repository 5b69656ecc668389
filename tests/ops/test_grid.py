"""Where the patches of the grid lie, against patches that are really cut."""

import pytest
import torch

from msgnn_plugin.ops.grid import extract_patches, nearest_place, patch_start


@pytest.mark.parametrize(("patch_size", "stride"), [(3, 3), (3, 1), (5, 3), (2, 3), (4, 3), (1, 1)])
@pytest.mark.parametrize("size", [1, 2, 7, 9, 10, 23])
def test_a_pixel_finds_the_patch_that_is_cut_about_it(size, patch_size, stride):
    numbers = torch.arange(1, size + 1, dtype=torch.float32)
    cut = extract_patches(numbers.expand(1, 1, size, size), patch_size, stride)[0]
    # The patches of the first row of the grid, each one's first row that lies in the image.
    places = len(cut) // round(len(cut) ** 0.5)
    rows = cut[:places].view(places, patch_size, patch_size).amax(1)
    middles = []
    for place, row in enumerate(rows):
        start = patch_start(place, size, patch_size, stride)
        inside = [pixel + 1 if 0 <= pixel < size else 0 for pixel in range(start, start + patch_size)]
        assert row.tolist() == inside
        middles.append(start + (patch_size - 1) / 2)
    for pixel in range(size):
        found = nearest_place(pixel, size, patch_size, stride)
        assert abs(middles[found] - pixel) == min(abs(middle - pixel) for middle in middles)
