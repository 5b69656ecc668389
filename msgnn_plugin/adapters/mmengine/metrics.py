"""PSNR and SSIM of 8-bit pictures, equal to BasicSR's, under the names that MMagic's configs give them."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from mmengine.evaluator import BaseMetric
from numpy.typing import NDArray
from torch import Tensor

from msgnn_plugin.metrics.luma import luma, rounded_luma
from msgnn_plugin.metrics.similarity import psnr, ssim

# "Y" is MMagic's word. Each is a protocol of `basicsr metrics`: rgb, y, y-matlab.
CONVERSIONS = {None: lambda picture: picture, "Y": luma, "Y-matlab": rounded_luma}


class PictureMetric(BaseMetric):
    """Mean over the pictures of a measure between derained and clean, both rounded to 8 bits.

    Args:
        crop_border: Pixels left out at each border.
        convert_to: None measures the three channels, "Y" the luma as it comes, "Y-matlab" the rounded one.
        collect_device: Where results of several processes meet, "cpu" or "gpu".
        prefix: Put before the metric's name.

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        crop_border: int = 0,
        convert_to: Literal["Y", "Y-matlab"] | None = None,
        collect_device: str = "cpu",
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device, prefix)
        name = type(self).__name__
        if crop_border < 0:
            raise ValueError(f"{name}: `crop_border` must be at least 0, got {crop_border}.")
        if convert_to not in CONVERSIONS:
            raise ValueError(f"{name}: `convert_to` must be 'Y', 'Y-matlab' or None, got {convert_to!r}.")
        self.crop_border = crop_border
        self.convert = CONVERSIONS[convert_to]

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Measure what the model has predicted.

        Args:
            data_batch: Not looked at.
            data_samples: ``gt_img`` and ``output.pred_img``, (3, H, W) RGB in [0, 255].

        Raises:
            ValueError: If there is no clean picture, its size is another, or nothing is left inside the border.
        """
        name = type(self).__name__
        for sample in data_samples:
            if "gt_img" not in sample:
                raise ValueError(f"{name}: `gt_img` must be in every sample to measure by, got none; leave {name} out.")
            derained, clean = (self._picture(each) for each in (sample["output"]["pred_img"], sample["gt_img"]))
            if derained.shape != clean.shape:
                raise ValueError(f"{name}: `gt_img` must have the shape {derained.shape}, got {clean.shape}.")
            if not clean.size:
                raise ValueError(f"{name}: `crop_border` must leave some of every picture, got {self.crop_border}.")
            self.results.append(self.measure(derained, clean))

    def compute_metrics(self, results: list[float]) -> dict[str, float]:
        """Return the mean over the pictures that have such a number, nan where none has."""
        numbers = [value for value in results if not np.isnan(value)]
        return {type(self).__name__: float(np.mean(numbers)) if numbers else float("nan")}

    def measure(self, derained: NDArray[np.float64], clean: NDArray[np.float64]) -> float:
        """Return the measure of two pictures (H, W, 3) or (H, W) with range [0, 255]."""
        raise NotImplementedError

    def _picture(self, tensor: Tensor) -> NDArray[np.float64]:
        picture = tensor.clamp(0, 255).round().cpu().numpy().transpose(1, 2, 0).astype(np.float64)
        border = self.crop_border
        return self.convert(picture[border : picture.shape[0] - border, border : picture.shape[1] - border])


class PSNR(PictureMetric):
    """Peak signal-to-noise ratio in dB, equal to BasicSR's ``calculate_psnr``; infinite for equal pictures."""

    def measure(self, derained: NDArray[np.float64], clean: NDArray[np.float64]) -> float:
        """Return the ratio of two pictures (H, W, 3) or (H, W) with range [0, 255]."""
        return psnr(derained, clean)


class SSIM(PictureMetric):
    """Structural similarity, equal to BasicSR's ``calculate_ssim``; nan below the 11 pixels of its window."""

    def measure(self, derained: NDArray[np.float64], clean: NDArray[np.float64]) -> float:
        """Return the similarity of two pictures (H, W, 3) or (H, W) with range [0, 255]."""
        return ssim(derained, clean)
