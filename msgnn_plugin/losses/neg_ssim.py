"""Negative structural similarity, the training loss of MSGNN. Eq. (3) of the paper (IJCAI 2024)."""

import torch
from torch import Tensor, nn

from msgnn_plugin.ops.precision import at_least_float32

WINDOW = 11
SIGMA = 1.5
C1 = 0.01**2
C2 = 0.03**2


class NegSSIMLoss(nn.Module):
    """Minus the structural similarity of two images: 11x11 Gaussian window of sigma 1.5, zero padding, mean over all.

    Paper: Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity" (2004), as MSGNN
    trains with it: each colour channel by itself, data range 1, no clipping. Computed in float32 under autocast too.

    Args:
        loss_weight: Factor of the loss.

    Note:
        Blurs by matrix products: on CUDA leave ``torch.set_float32_matmul_precision`` at "highest", since TF32 costs
        2e-3 of similarity on smooth images.
    """

    def __init__(self, *, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, derained: Tensor, clean: Tensor) -> Tensor:
        """Return ``-loss_weight * SSIM``. Shape: (B, C, H, W), RGB with range [0, 1], twice -> ()."""
        if derained.dim() != 4:
            raise ValueError(f"NegSSIMLoss: `derained` must have shape (B, C, H, W), got {tuple(derained.shape)}.")
        if derained.shape != clean.shape:
            raise ValueError(
                f"NegSSIMLoss: `clean` must have the shape of `derained`, {tuple(derained.shape)}, "
                f"got {tuple(clean.shape)}."
            )
        with torch.autocast(derained.device.type, enabled=False):
            return -self.loss_weight * ssim(at_least_float32(derained), at_least_float32(clean))


def ssim(first: Tensor, second: Tensor) -> Tensor:
    """Return the mean structural similarity of two (B, C, H, W) images of range [0, 1], zero padded, unclipped."""
    rows, columns = (_blur_matrix(size, first) for size in first.shape[2:])
    maps = torch.stack((first, second, first * first, second * second, first * second))
    mean1, mean2, square1, square2, product = rows @ maps @ columns.mT
    variance1, variance2 = square1 - mean1 * mean1, square2 - mean2 * mean2
    covariance = product - mean1 * mean2
    luminance = (2 * mean1 * mean2 + C1) / (mean1 * mean1 + mean2 * mean2 + C1)
    return (luminance * (2 * covariance + C2) / (variance1 + variance2 + C2)).mean()


def _blur_matrix(size: int, like: Tensor) -> Tensor:
    """Return the zero-padded blur of an axis as a (size, size) matrix: a GEMM beats an 11-tap depthwise filter."""
    offset = torch.arange(size, device=like.device)
    offset = (offset[:, None] - offset).to(torch.float64)
    taps = torch.exp(-(torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2).square() / (2 * SIGMA**2))
    weight = torch.exp(-offset.square() / (2 * SIGMA**2)) / taps.sum().item()
    return weight.where(offset.abs() <= WINDOW // 2, 0.0).to(like.dtype)
