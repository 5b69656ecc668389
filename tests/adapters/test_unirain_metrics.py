"""The luma's SSIM against scikit-image and the definition; LPIPS as its package is called."""

import sys
import types

import numpy as np
import pytest
import torch

from msgnn_plugin.adapters.basicsr import register
from msgnn_plugin.adapters.basicsr.components import registered
from msgnn_plugin.adapters.basicsr.metrics import _lpips, calculate_lpips, calculate_ssim_luma


def test_ssim_of_the_luma_is_scikit_images(make_pair):
    from skimage.metrics import structural_similarity

    register()
    rainy, clean = make_pair(3)
    lumas = [np.rint(picture @ np.array([0.299, 0.587, 0.114])) for picture in (rainy, clean)]
    expected = structural_similarity(
        *lumas, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, win_size=11
    )
    # The metric takes BGR; the sum's order decides about a luma of exactly one half.
    assert calculate_ssim_luma(rainy[..., ::-1], clean[..., ::-1]) == pytest.approx(expected, abs=5e-5)
    assert calculate_ssim_luma(clean[..., ::-1], clean[..., ::-1]) == pytest.approx(1)
    assert "calculate_ssim_luma" in registered("metric")


def test_lpips_gets_rgb_from_minus_one_to_one(monkeypatch):
    seen = []

    class Net(torch.nn.Module):
        def forward(self, one, other):
            seen.extend((one, other))
            return (one - other).abs().mean()[None, None]

    def make(net, verbose):
        assert (net, verbose) == ("alex", False)
        return Net()

    monkeypatch.setitem(sys.modules, "lpips", types.SimpleNamespace(LPIPS=make))
    _lpips.cache_clear()
    one, other = np.zeros((6, 8, 3), np.uint8), np.full((6, 8, 3), 255, np.uint8)
    one[..., 2] = 255
    # Red agrees, green and blue are two apart.
    assert calculate_lpips(one, other, crop_border=1) == pytest.approx(4 / 3)
    _lpips.cache_clear()
    assert seen[0].shape == (1, 3, 4, 6)
    assert seen[0][0, :, 0, 0].tolist() == [1, -1, -1]
