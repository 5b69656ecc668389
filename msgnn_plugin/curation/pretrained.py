"""Captions by BLIP and embeddings by CLIP, as the paper has them, through the library `transformers`."""

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from msgnn_plugin.curation.describe import Description

_MOST_WORDS = 40


class PretrainedDescriber:
    """Describes pictures by a captioning network and by a network that embeds pictures and texts alike.

    Args:
        blip: Folder or hub name of the captioning network, for example Salesforce/blip-image-captioning-base.
        clip: Folder or hub name of the embedding network, for example openai/clip-vit-base-patch32.
        device: Where to compute.

    Raises:
        ImportError: If transformers is missing.
        OSError: If a network can neither be read nor fetched.
    """

    def __init__(self, *, blip: str, clip: str, device: str = "cpu") -> None:
        try:
            from transformers import AutoTokenizer, BlipForConditionalGeneration, CLIPModel
        except ImportError as error:
            raise ImportError(
                "distill: `describer.kind` pretrained must find transformers, got none installed. Install "
                "msgnn_plugin[distill-models]."
            ) from error
        self.device = torch.device(device)
        self.blip = BlipForConditionalGeneration.from_pretrained(blip).to(self.device).eval()
        self.blip_words = AutoTokenizer.from_pretrained(blip)
        self.clip = CLIPModel.from_pretrained(clip).to(self.device).eval()
        self.clip_words = AutoTokenizer.from_pretrained(clip)

    @torch.inference_mode()
    def __call__(self, images: list[NDArray[np.uint8]]) -> list[Description]:
        """Describe RGB pictures, each (H, W, 3), uint8; embeddings have length 1."""
        tokens = self.blip.generate(
            pixel_values=self._pixels(images, self.blip.config.vision_config.image_size), max_new_tokens=_MOST_WORDS
        )
        captions = [caption.strip() for caption in self.blip_words.batch_decode(tokens, skip_special_tokens=True)]
        limit = self.clip.config.text_config.max_position_embeddings
        words = self.clip_words(captions, padding=True, truncation=True, max_length=limit, return_tensors="pt")
        texts = self._embed(self.clip.get_text_features(**words.to(self.device)))
        pixels = self._pixels(images, self.clip.config.vision_config.image_size)
        features = self._embed(self.clip.get_image_features(pixel_values=pixels))
        return [Description(*parts) for parts in zip(captions, texts, features, strict=True)]

    def _pixels(self, images: list[NDArray[np.uint8]], side: int) -> torch.Tensor:
        """Return pictures as both networks were trained on: whole, bicubic to a square, by CLIP's mean and spread."""
        squares = [
            np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)) for image in images
        ]
        values = np.stack(squares).astype(np.float32) / 255
        values = (values - (0.48145466, 0.4578275, 0.40821073)) / (0.26862954, 0.26130258, 0.27577711)
        return torch.from_numpy(values.astype(np.float32)).permute(0, 3, 1, 2).to(self.device)

    @staticmethod
    def _embed(output: object) -> NDArray[np.float32]:
        """Return embeddings of length 1; newer releases of the library wrap them."""
        values = output if isinstance(output, torch.Tensor) else output.pooler_output
        return torch.nn.functional.normalize(values.float(), dim=1).cpu().numpy()
