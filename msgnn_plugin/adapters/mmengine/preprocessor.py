"""From what a data set gives to what a model takes, in MMagic's terms."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor
from mmengine.structures import BaseDataElement
from torch import Tensor

PIXELS = 255.0


class DataPreprocessor(BaseDataPreprocessor):
    """Scales pictures as MMagic's class of this name does, ``(pixels - mean) / std``, and joins them to a batch.

    Takes the samples of our data sets (``lq``, ``gt``, ``exemplar``; RGB in [0, 1]) and samples in MMagic's form
    (``inputs`` (3, H, W) in [0, 255], ``data_samples`` with ``gt_img``). Pictures to train with are scaled all; the
    clean ones to measure by stay in [0, 255], where `destruct` brings results too.

    Args:
        mean: Of the channels, in [0, 255]. The defaults, unlike MMagic's, give our networks the [0, 1] they want.
        std: Of the channels, above 0.
        non_blocking: Whether copies to the device may overlap.

    Raises:
        ValueError: If ``mean`` or ``std`` are not one or three numbers, or ``std`` is not above 0.
    """

    def __init__(
        self,
        mean: float | Sequence[float] = (0.0, 0.0, 0.0),
        std: float | Sequence[float] = (255.0, 255.0, 255.0),
        non_blocking: bool = False,
    ) -> None:
        super().__init__(non_blocking)
        for name, value in (("mean", mean), ("std", std)):
            numbers = torch.tensor(value, dtype=torch.float32).reshape(-1, 1, 1)
            if len(numbers) not in (1, 3) or (name == "std" and not (numbers > 0).all()):
                limit = " above 0" if name == "std" else ""
                raise ValueError(f"DataPreprocessor: `{name}` must be one or three numbers{limit}, got {value}.")
            # Settings, not weights: they stay out of checkpoints.
            self.register_buffer(name, numbers, persistent=False)

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Return a batch.

        Args:
            data: Lists of pictures by name, in either form.
            training: Whether the clean pictures are for a loss.

        Returns:
            ``inputs``: (B, 3, H, W), scaled; ``data_samples``: one for each, with ``gt_img`` and ``exemplar`` where
            there are such, (3, H, W) each, and where the pictures come from.

        Raises:
            ValueError: If the batch is of neither form, or its pictures differ in size.
        """
        data = self.cast_data(data)
        if "lq" in data:
            inputs, samples = [picture * PIXELS for picture in data["lq"]], _samples(data)
        elif "inputs" in data:
            inputs, samples = list(data["inputs"]), list(data.get("data_samples") or [])
        else:
            raise ValueError(
                f"DataPreprocessor: a batch must hold `lq` or `inputs`, got {', '.join(data) or 'nothing'}."
            )
        sizes = sorted({tuple(picture.shape) for picture in inputs})
        if len(sizes) > 1:
            raise ValueError(
                "DataPreprocessor: `batch_size` must be 1 for pictures of different sizes, or the data set crop them "
                f"(`crop_size`), got {sizes[0]} and {sizes[-1]}."
            )
        for sample in samples:
            if training and "gt_img" in sample:
                sample.gt_img = self._scale(sample.gt_img)
            if "exemplar" in sample:
                sample.exemplar = self._scale(sample.exemplar)
        return {"inputs": self._scale(torch.stack(inputs)), "data_samples": samples}

    def destruct(self, pictures: Tensor, data_samples: Any = None, key: str = "img") -> Tensor:
        """Undo the scaling; the further arguments are MMagic's and say nothing here.

        Shape: (B, 3, H, W) -> same, clipped to [0, 255].
        """
        return (pictures * self.std + self.mean).clamp(0, PIXELS)

    def _scale(self, pictures: Tensor) -> Tensor:
        return (pictures.float() - self.mean) / self.std


def _samples(data: dict[str, Any]) -> list[BaseDataElement]:
    """Return what our data sets give beside the rainy pictures, one element for each."""
    places = [{"lq_path": path} for path in data.get("lq_path", ())] or [{} for _ in data["lq"]]
    samples = [BaseDataElement(metainfo=place) for place in places]
    for name, key in (("gt_img", "gt"), ("exemplar", "exemplar")):
        for sample, picture in zip(samples, data.get(key, ()), strict=False):
            setattr(sample, name, picture * PIXELS)
    return samples
