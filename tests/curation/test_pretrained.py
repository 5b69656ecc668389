import numpy as np
import pytest

pytest.importorskip("transformers", reason="needs transformers, of the extra [distill-models]")
from msgnn_plugin.adapters import torchvision_operators

# The library imports torchvision, which on some machines cannot load its own operators beside a CPU's torch.
if torchvision_operators.needed():
    torchvision_operators.apply()
from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration, CLIPConfig, CLIPModel, CLIPTokenizer

from msgnn_plugin.curation.describe import make_describer

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "street", "in", "the", "rain", "at", "night"]


@pytest.fixture
def tiny_networks(tmp_path):
    """Write randomly initialised networks of the true architectures: folders of BLIP and CLIP."""
    import json

    import torch

    torch.manual_seed(0)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = {**small, "image_size": 32, "patch_size": 16}
    blip = tmp_path / "blip"
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS))
    BertTokenizer(str(tmp_path / "vocab.txt")).save_pretrained(blip)
    text = {**small, "vocab_size": len(WORDS)}
    text |= {"bos_token_id": 2, "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0}
    config = BlipConfig(text_config={**text, "encoder_hidden_size": 16}, vision_config=vision, projection_dim=8)
    BlipForConditionalGeneration(config).save_pretrained(blip)

    clip = tmp_path / "clip"
    letters = [chr(code) for code in range(33, 127)]
    tokens = letters + [letter + "</w>" for letter in letters] + ["<|startoftext|>", "<|endoftext|>"]
    (tmp_path / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    CLIPTokenizer(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt")).save_pretrained(clip)
    last = len(tokens) - 1
    text = {**small, "vocab_size": len(tokens), "eos_token_id": last, "bos_token_id": last - 1, "pad_token_id": last}
    CLIPModel(
        CLIPConfig(text_config={**text, "max_position_embeddings": 20}, vision_config=vision, projection_dim=8)
    ).save_pretrained(clip)
    return str(blip), str(clip)


def test_captions_and_embeddings_come_from_local_networks(tiny_networks):
    blip, clip = tiny_networks
    describer = make_describer({"kind": "pretrained", "blip": blip, "clip": clip})
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, size, dtype=np.uint8) for size in ((40, 64, 3), (33, 20, 3))]
    together = describer(images)
    for image, one in zip(images, together):
        assert isinstance(one.caption, str)
        assert one.text.shape == one.feature.shape == (8,)
        assert one.text.dtype == one.feature.dtype == np.float32
        assert np.linalg.norm(one.text) == pytest.approx(1, abs=1e-5)
        assert np.linalg.norm(one.feature) == pytest.approx(1, abs=1e-5)
        (alone,) = describer([image])
        assert alone.caption == one.caption
        assert alone.feature == pytest.approx(one.feature, abs=1e-5)
    assert np.abs(together[0].feature - together[1].feature).max() > 1e-3


def test_a_network_that_is_not_there(tmp_path):
    missing = str(tmp_path / "none")
    with pytest.raises(OSError, match="none"):
        make_describer({"kind": "pretrained", "blip": missing, "clip": missing})
