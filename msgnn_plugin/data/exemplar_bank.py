"""The pictures that weights carry to serve as exemplars: made into a bank, and the right one taken out of it."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from msgnn_plugin.data.rain_description import describe_rain


class ExemplarBank:
    """The bank of a network, described once, from which each rainy picture gets the one with the most alike rain.

    Args:
        images: Shape (E, 3, h, w), uint8, RGB, E at least 1.
    """

    def __init__(self, images: Tensor) -> None:
        self.images = images
        self._descriptions = np.stack([describe_rain(image.permute(1, 2, 0).cpu().numpy()) for image in images])

    @classmethod
    def of(cls, network: nn.Module) -> "ExemplarBank | None":
        """Return the bank in a network's weights; None if it has none, or looks at no exemplar."""
        images = getattr(network, "exemplar_bank", None)
        if images is None or len(images) == 0 or not network.use_exemplar:
            return None
        return cls(images)

    def nearest(self, rainy: Tensor) -> Tensor:
        """Return the exemplar of a rainy picture.

        Args:
            rainy: Shape (1, 3, H, W), RGB in [0, 1].

        Returns:
            The picture of the bank whose rain is described most alike, shape (1, 3, h, w), in the form of ``rainy``.
        """
        description = describe_rain(as_bytes(rainy[0]))
        index = int(np.square(self._descriptions - description).sum(axis=1).argmin())
        return self.images[index : index + 1].to(rainy.device, rainy.dtype) / 255


def as_bytes(image: Tensor) -> NDArray[np.uint8]:
    """Turn an image (3, H, W), RGB in [0, 1], into uint8 pixels (H, W, 3)."""
    return (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()


def pack_bank(pictures: Sequence[NDArray[np.uint8]]) -> Tensor:
    """Turn pictures (h, w, 3), RGB, all of one size, into the uint8 tensor (E, 3, h, w) that weights carry."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()
