"""The pyramid against OpenCV's, and padding against plain indices."""

import numpy as np
import pytest
import torch

from msgnn_plugin.layers import gaussian_pyramid, pad_to_side, pyramid_down

cv2 = pytest.importorskip("cv2")


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 3), (3, 2), (5, 4), (37, 53), (81, 121)])
def test_pyramid_down_is_opencvs(size):
    image = np.random.default_rng(0).random((*size, 3), dtype=np.float32)
    expected = cv2.pyrDown(image)
    made = pyramid_down(torch.from_numpy(image).permute(2, 0, 1)[None])[0].permute(1, 2, 0).numpy()
    assert made.shape == ((size[0] + 1) // 2, (size[1] + 1) // 2, 3)
    np.testing.assert_allclose(made, expected.reshape(made.shape), rtol=0, atol=5e-7)


def test_pyramid_has_the_scales_asked_for_and_a_gradient():
    image = torch.rand(1, 3, 21, 16, dtype=torch.float64, requires_grad=True)
    assert [tuple(level.shape[2:]) for level in gaussian_pyramid(image, (2, 8))] == [(11, 8), (3, 2)]
    assert gaussian_pyramid(image, (1,))[0] is image
    small = torch.rand(1, 1, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(pyramid_down, (small,))


def test_padding_reflects_then_replicates_after_the_image():
    row = torch.tensor([1.0, 2.0, 3.0]).view(1, 1, 1, 3)
    assert pad_to_side(row, 7)[0, 0, 0].tolist() == [1, 2, 3, 2, 1, 1, 1]
    assert pad_to_side(row, 7).shape == (1, 1, 7, 7)
    assert pad_to_side(row.expand(1, 1, 3, 3), 3).shape == (1, 1, 3, 3)
