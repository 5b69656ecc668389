"""A folder of rainy pictures, out of which each rainy picture gets the exemplar whose rain is most alike."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from msgnn_plugin.data.description_cache import describe_pictures
from msgnn_plugin.data.exemplar_bank import as_bytes
from msgnn_plugin.data.image_file import read_picture
from msgnn_plugin.data.images import list_images
from msgnn_plugin.data.pairs import Picture
from msgnn_plugin.data.rain_description import describe_rain


class ExemplarFolder:
    """The pictures directly in a folder, described once; one of them at a time is read.

    Args:
        folder: The folder.

    Raises:
        ValueError: If it holds no picture, or one that cannot be read.
    """

    def __init__(self, folder: str | Path) -> None:
        self.paths = list_images(folder)
        if not self.paths:
            raise ValueError(f"ExemplarFolder: `folder` must hold at least one picture, got none in {str(folder)!r}.")
        self._places = [path.resolve() for path in self.paths]
        self._descriptions = describe_pictures([Picture(str(path)) for path in self.paths])

    def nearest(self, rainy: Tensor, source: Path | None = None) -> Tensor:
        """Return the exemplar of a rainy picture.

        Args:
            rainy: Shape (1, 3, H, W), RGB in [0, 1].
            source: Its file, which is never its own exemplar.

        Returns:
            The other picture whose rain is described most alike, shape (1, 3, h, w), in the form of ``rainy``; the
            picture itself if the folder holds no other.

        Raises:
            OSError: If the file is gone.
            ValueError: If it cannot be read any more.
        """
        place = None if source is None else source.resolve()
        distances = np.square(self._descriptions - describe_rain(as_bytes(rainy[0]))).sum(axis=1)
        order = [int(index) for index in distances.argsort(kind="stable") if self._places[index] != place]
        if not order:
            return rainy
        rgb = read_picture(self.paths[order[0]]).rgb
        return torch.from_numpy(rgb).permute(2, 0, 1)[None].to(rainy.device, rainy.dtype)
