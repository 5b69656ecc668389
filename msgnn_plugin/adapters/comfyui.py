"""A node for ComfyUI that derains whole pictures, with any model that its "Load Upscale Model" has opened.

ComfyUI's own "Upscale Image (using Model)" cuts every picture above 512 pixels into tiles, whatever the model says of
them. Importing this also teaches ComfyUI's loader our weights. docs/spandrel.md says where to put it.
"""

from typing import Any

import torch
from torch import Tensor

from msgnn_plugin.adapters.spandrel import install

install()


class DerainImage:
    """Run a model on each picture of a batch, uncut; large ones are cut by the network itself where it has to be."""

    CATEGORY = "image/restoration"
    FUNCTION = "derain"
    RETURN_TYPES = ("IMAGE",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 (ComfyUI's name)
        """Return what the node takes, as ComfyUI wants it."""
        return {"required": {"model": ("UPSCALE_MODEL",), "image": ("IMAGE",)}}

    def derain(self, model: Any, image: Tensor) -> tuple[Tensor]:
        """Return the derained pictures.

        Args:
            model: What spandrel made of the weights, of scale 1.
            image: Pictures of shape (B, H, W, 3), or 4 with transparency, which is kept; RGB in [0, 1].

        Returns:
            The pictures, same shape, alone in a tuple.

        Raises:
            ValueError: If the model changes the size of pictures.
        """
        from comfy import model_management
        from comfy.utils import ProgressBar

        if model.scale != 1:
            raise ValueError(
                f"DerainImage: `model` must keep the size of pictures, got one of scale {model.scale}; use ComfyUI's "
                '"Upscale Image (using Model)".'
            )
        device = model_management.get_torch_device()
        model_management.unload_all_models()  # a whole picture wants the GPU's memory; others come back when needed
        model.to(device)
        progress = ProgressBar(len(image))
        derained = []
        try:
            for picture in image.split(1):
                rainy = picture[..., :3].movedim(-1, 1).to(device, model.dtype)
                result = model(rainy).movedim(1, -1).to(picture.device, picture.dtype)
                derained.append(torch.cat((result, picture[..., 3:]), dim=-1))
                progress.update(1)
        finally:
            model.to("cpu")
        return (torch.cat(derained),)


NODE_CLASS_MAPPINGS = {"DerainImage": DerainImage}
NODE_DISPLAY_NAME_MAPPINGS = {"DerainImage": "Derain Image"}
__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS", "DerainImage"]
