"""Metrics that BasicSR lacks, in its calling form: (H, W, 3) BGR pictures with range [0, 255]."""

import functools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


def calculate_ssim_luma(img: NDArray[np.uint8], img2: NDArray[np.uint8], crop_border: int = 0) -> float:
    """Return the structural similarity of the luma over its full range, rounded, as UniRain's tables give it.

    The luma is 0.299 R + 0.587 G + 0.114 B in [0, 255] (pyiqa's default), where ``calculate_ssim`` with
    ``test_y_channel`` takes that of [16, 235], unrounded. Window and constants are the same.
    """
    from basicsr.metrics.psnr_ssim import calculate_ssim

    return float(calculate_ssim(_luma(img), _luma(img2), crop_border))


def calculate_lpips(img: NDArray[np.uint8], img2: NDArray[np.uint8], crop_border: int = 0) -> float:
    """Return the perceptual distance of Zhang et al. (CVPR 2018), version 0.1 on AlexNet; lower is better.

    Needs the extra ``[lpips]``; its package fetches AlexNet's weights at the first use.
    """
    with torch.inference_mode():
        return float(_lpips()(*(_scaled(picture, crop_border) for picture in (img, img2))))


def _luma(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    return np.rint(picture.astype(np.float64) @ (0.114, 0.587, 0.299))[..., None]


@functools.cache
def _lpips() -> nn.Module:
    import lpips

    return lpips.LPIPS(net="alex", verbose=False).eval()


def _scaled(picture: NDArray[np.uint8], border: int) -> Tensor:
    """Return a picture as (1, 3, H, W), RGB with range [-1, 1]."""
    height, width = picture.shape[:2]
    cut = picture[border : height - border, border : width - border, ::-1].transpose(2, 0, 1)
    return torch.from_numpy(cut.astype(np.float32))[None] / 127.5 - 1
