"""NegSSIMLoss against scikit-image's idea of structural similarity, away from the border where padding differs."""

import numpy as np
import pytest
import torch

from msgnn_plugin.losses import NegSSIMLoss


def test_matches_scikit_image_on_zero_padded_images():
    metrics = pytest.importorskip("skimage.metrics")
    generator = np.random.default_rng(0)
    first, second = generator.random((2, 40, 52, 3))
    # With 10 zero pixels around, every window that touches the image is scikit-image's own.
    padded = [np.pad(x, ((10, 10), (10, 10), (0, 0))) for x in (first, second)]
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    _, full = metrics.structural_similarity(*padded, channel_axis=2, full=True, **settings)
    tensors = [torch.from_numpy(x).permute(2, 0, 1)[None] for x in (first, second)]
    loss = NegSSIMLoss(loss_weight=2.0)(*tensors)
    np.testing.assert_allclose(loss.item(), -2 * full[10:-10, 10:-10].mean(), rtol=1e-10)


def test_gradcheck():
    generator = torch.Generator().manual_seed(0)
    first, second = torch.rand(2, 1, 2, 9, 14, dtype=torch.float64, generator=generator)
    assert torch.autograd.gradcheck(NegSSIMLoss(), (first.requires_grad_(), second))


def test_half_precision_is_computed_in_float32():
    image = torch.rand(1, 3, 20, 20)
    with torch.autocast("cpu", torch.bfloat16):
        assert NegSSIMLoss()(image.bfloat16(), image.bfloat16()).item() == pytest.approx(-1, abs=1e-6)


def test_rejects_wrong_shapes():
    with pytest.raises(ValueError, match=r"`derained` must have shape \(B, C, H, W\), got \(3, 8, 8\)"):
        NegSSIMLoss()(torch.rand(3, 8, 8), torch.rand(3, 8, 8))
    with pytest.raises(
        ValueError, match=r"`clean` must have the shape of `derained`, \(1, 3, 8, 8\), got \(1, 3, 8, 9\)"
    ):
        NegSSIMLoss()(torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 9))
