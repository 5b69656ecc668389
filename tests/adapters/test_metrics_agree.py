"""The toolbox's PSNR and SSIM against scikit-image's, on the same protocol: whole 8-bit pictures, RGB and Y."""

import numpy as np
import pytest

skimage_color = pytest.importorskip("skimage.color")
skimage_data = pytest.importorskip("skimage.data")
skimage_metrics = pytest.importorskip("skimage.metrics")


@pytest.fixture(scope="module")
def calculate():
    from msgnn_plugin.adapters.basicsr import compat

    compat.apply()
    from basicsr.metrics import calculate_psnr, calculate_ssim

    return calculate_psnr, calculate_ssim


@pytest.fixture(params=["astronaut", "coffee"])
def pair(request):
    clean = getattr(skimage_data, request.param)()
    noise = np.random.default_rng(0).normal(0, 20, clean.shape)
    return np.clip(np.round(clean + noise), 0, 255).astype(np.uint8), clean


@pytest.mark.parametrize("y_channel", [False, True])
def test_psnr_and_ssim(calculate, pair, y_channel):
    derained, clean = pair
    # The toolbox takes BGR.
    settings = {"crop_border": 0, "test_y_channel": y_channel}
    psnr, ssim = (metric(derained[..., ::-1], clean[..., ::-1], **settings) for metric in calculate)
    if y_channel:
        derained, clean = (skimage_color.rgb2ycbcr(image)[..., :1] for image in pair)
    assert psnr == pytest.approx(skimage_metrics.peak_signal_noise_ratio(clean, derained, data_range=255), abs=1e-3)
    expected = skimage_metrics.structural_similarity(
        clean,
        derained,
        channel_axis=2,
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert ssim == pytest.approx(expected, abs=1e-4)
