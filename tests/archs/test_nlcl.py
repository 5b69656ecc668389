"""NLCL's networks: against the authors' numbers, on any size, and what they refuse."""

import cv2
import numpy as np
import pytest
import torch

from msgnn_plugin.archs import NLCLDiscriminator, NLCLGenerator, from_state_dict, load_weights


@pytest.fixture
def golden(shared):
    return shared / "golden" / "nlcl"


def scaled_picture(path):
    """Return a picture as the authors scale it: (1, 3, H, W), RGB in [-1, 1]."""
    rgb = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    return (torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255 - 0.5) / 0.5


@torch.no_grad()
@pytest.mark.parametrize("layer", ["Back", "Rain"])
def test_released_weights_give_the_authors_outputs(golden, layer):
    network = from_state_dict(load_weights(golden / f"latest_net_{layer}.pth"))
    scaled = scaled_picture(golden / "cropA_input.png")
    expected = torch.from_numpy(np.load(golden / f"cropA_{layer.lower()}.npy"))
    assert (network.translate(scaled) - expected).abs().max() < 1e-4
    outside = network((scaled + 1) / 2)
    assert (outside - (expected.clamp(-1, 1) + 1) / 2).abs().max() < 1e-4


@torch.no_grad()
def test_features_are_the_authors(golden):
    network = from_state_dict(load_weights(golden / "latest_net_Back.pth"))
    scaled = torch.from_numpy(np.load(golden / "feat64_input.npy"))
    output, maps = network.translate_with_features(scaled, (0, 4, 12))
    for place, image, alone in zip((0, 4, 12), maps, network.features(scaled, (0, 4, 12)), strict=True):
        expected = torch.from_numpy(np.load(golden / f"feat64_back_layer{place}.npy"))
        assert (image - expected).abs().max() < 1e-4 * expected.abs().max()
        torch.testing.assert_close(alone, image, rtol=0, atol=1e-4)
    assert (output - torch.from_numpy(np.load(golden / "feat64_back_out.npy"))).abs().max() < 1e-4


def test_sizes_are_the_papers():
    assert sum(value.numel() for value in NLCLGenerator().parameters()) == 316_195
    critic = NLCLDiscriminator()
    assert sum(value.numel() for value in critic.parameters()) == 2_764_737
    image = torch.rand(1, 3, 256, 256)
    assert critic(image).shape == (1, 1, 30, 30)
    shapes = [tuple(feature.shape[1:]) for feature in critic.features(2 * image - 1)]
    assert shapes == [(64, 255, 255), (128, 127, 127), (256, 63, 63), (512, 31, 31)]


def test_ours_are_built_from_weights_alone():
    network = NLCLGenerator(num_feat=8, num_blocks=3)
    rebuilt = from_state_dict({"params_ema": {f"module.{name}": value for name, value in network.state_dict().items()}})
    rainy = torch.rand(2, 3, 9, 14)
    assert torch.equal(rebuilt(rainy), network(rainy))


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (31, 33)])
def test_any_size_and_flat_pictures_give_numbers(size):
    network = NLCLGenerator(num_feat=8, num_blocks=2)
    for rainy in (torch.rand(1, 3, *size), torch.zeros(1, 3, *size), torch.full((1, 3, *size), 0.4)):
        derained = network(rainy, exemplar=torch.rand(1, 3, 5, 5))
        assert derained.shape == rainy.shape
        assert torch.isfinite(derained).all()
        assert 0 <= derained.min() <= derained.max() <= 1


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ({"gen.0.weight": torch.zeros(4, 3, 3, 3), "gen.zero": torch.zeros(1)}, "gen.zero"),
        ({"gen.0.weight": torch.zeros(4, 3, 3, 3)}, "blocks"),
        (
            {"neck.0.weight": torch.zeros(1), "stem.weight": torch.zeros(4, 3, 3, 3), "blocks.0.x": torch.zeros(1)},
            "Miss",
        ),
    ],
)
def test_other_weights_are_refused(broken, words):
    with pytest.raises(ValueError, match=words):
        from_state_dict(broken)


def test_settings_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"num_blocks.*at least 1, got 0"):
        NLCLGenerator(num_blocks=0)
    with pytest.raises(ValueError, match=r"num_feat.*at least 1, got 0"):
        NLCLDiscriminator(num_feat=0)
    with pytest.raises(ValueError, match="at least 32 pixels, got 40 x 31"):
        NLCLDiscriminator(num_feat=4)(torch.rand(1, 3, 31, 40))
    with pytest.raises(ValueError, match="increase and lie in"):
        NLCLGenerator(num_feat=4, num_blocks=2).features(torch.rand(1, 3, 8, 8), (0, 3))
