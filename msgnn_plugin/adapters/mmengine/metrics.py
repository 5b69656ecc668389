"""PSNR and SSIM of 8-bit pictures, equal to BasicSR's, under the names that MMagic's configs give them."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from mmengine.evaluator import BaseMetric
from numpy.typing import NDArray
from skimage import metrics

# Rec. 601 luma of R, G, B in [0, 255], as BasicSR and MMagic take it: in [16, 235], not rounded.
LUMA = np.array([65.481, 128.553, 24.966]) / 255
LUMA_OFFSET = 16
WINDOW = 11
SIGMA = 1.5


class PictureMetric(BaseMetric):
    """Mean over the pictures of a measure between derained and clean, both rounded to 8 bits.

    Args:
        crop_border: Pixels left out at each border.
        convert_to: "Y" measures the luma; None the three channels.
        collect_device: Where results of several processes meet, "cpu" or "gpu".
        prefix: Put before the metric's name.

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        crop_border: int = 0,
        convert_to: Literal["Y"] | None = None,
        collect_device: str = "cpu",
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device, prefix)
        name = type(self).__name__
        if crop_border < 0:
            raise ValueError(f"{name}: `crop_border` must be at least 0, got {crop_border}.")
        if convert_to not in ("Y", None):
            raise ValueError(f"{name}: `convert_to` must be 'Y' or None, got {convert_to!r}.")
        self.crop_border = crop_border
        self.convert_to = convert_to

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Measure what the model has predicted.

        Args:
            data_batch: Not looked at.
            data_samples: ``gt_img`` and ``output.pred_img``, (3, H, W) in [0, 255].

        Raises:
            ValueError: If there is no clean picture, or its size is another.
        """
        name = type(self).__name__
        for sample in data_samples:
            if "gt_img" not in sample:
                raise ValueError(f"{name}: `gt_img` must be in every sample to measure by, got none; leave {name} out.")
            derained, clean = (self._picture(each) for each in (sample["output"]["pred_img"], sample["gt_img"]))
            if derained.shape != clean.shape:
                raise ValueError(f"{name}: `gt_img` must have the shape {derained.shape}, got {clean.shape}.")
            self.results.append(self.measure(derained, clean))

    def compute_metrics(self, results: list[float]) -> dict[str, float]:
        """Return the mean."""
        return {type(self).__name__: float(np.mean(results))}

    def measure(self, derained: NDArray[np.float64], clean: NDArray[np.float64]) -> float:
        """Return the measure of two pictures (H, W, C) with range [0, 255]."""
        raise NotImplementedError

    def _picture(self, tensor: Any) -> NDArray[np.float64]:
        picture = tensor.clamp(0, 255).round().cpu().numpy().transpose(1, 2, 0).astype(np.float64)
        border = self.crop_border
        picture = picture[border : picture.shape[0] - border, border : picture.shape[1] - border]
        return picture if self.convert_to is None else (picture @ LUMA + LUMA_OFFSET)[..., None]


class PSNR(PictureMetric):
    """Peak signal-to-noise ratio in dB, equal to BasicSR's ``calculate_psnr``; infinite for equal pictures."""

    def measure(self, derained: NDArray[np.float64], clean: NDArray[np.float64]) -> float:
        """Return the ratio of two pictures (H, W, C) with range [0, 255]."""
        if np.array_equal(derained, clean):
            return float("inf")
        return float(metrics.peak_signal_noise_ratio(clean, derained, data_range=255))


class SSIM(PictureMetric):
    """Structural similarity, equal to BasicSR's ``calculate_ssim``: 11x11 Gaussian window inside the picture."""

    def measure(self, derained: NDArray[np.float64], clean: NDArray[np.float64]) -> float:
        """Return the similarity of two pictures (H, W, C) with range [0, 255].

        Raises:
            ValueError: If a side is below the window's 11 pixels.
        """
        if min(clean.shape[:2]) < WINDOW:
            raise ValueError(f"SSIM: pictures must be at least {WINDOW} pixels a side, got {clean.shape[:2]}.")
        return float(
            metrics.structural_similarity(
                clean,
                derained,
                data_range=255,
                channel_axis=2,
                gaussian_weights=True,
                sigma=SIGMA,
                use_sample_covariance=False,
            )
        )
