"""NLCL's networks: against the authors' numbers, on any size, and what they refuse."""

import copy
import errno

import cv2
import numpy as np
import pytest
import torch

from msgnn_plugin.archs import NLCLDiscriminator, NLCLGenerator, from_state_dict, load_weights, nlcl_lean
from tests.ops.trunk import needs_compiled


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
def test_reversible_norm_follows_exposure_and_contrast():
    kept = NLCLGenerator(num_feat=8, num_blocks=3, reversible_norm=True)
    missing, unknown = kept.load_state_dict(NLCLGenerator(num_feat=8, num_blocks=3).state_dict(), strict=False)
    assert (missing, unknown) == (["reversible_norm"], [])
    blind = NLCLGenerator(num_feat=8, num_blocks=3)
    blind.load_state_dict({name: value for name, value in kept.state_dict().items() if name != "reversible_norm"})
    scaled = 2 * torch.rand(2, 3, 31, 45, generator=torch.Generator().manual_seed(3)) - 1
    gain, offset = torch.tensor([0.3, 0.6, 0.9]).view(3, 1, 1), torch.tensor([-0.1, 0.2, 0.05]).view(3, 1, 1)
    # By hand, and by what it is for.
    mean, deviation = scaled.mean((2, 3), keepdim=True), scaled.std((2, 3), correction=0, keepdim=True)
    expected = blind.translate((scaled - mean) / deviation) * deviation + mean
    torch.testing.assert_close(kept.translate(scaled), expected, rtol=0, atol=1e-3)
    torch.testing.assert_close(
        kept.translate(gain * scaled + offset), gain * kept.translate(scaled) + offset, rtol=0, atol=1e-3
    )
    # All ways through the network agree, and weights alone tell the form.
    rainy = (scaled + 1) / 2
    again = from_state_dict(kept.state_dict())
    with torch.enable_grad():
        plain = again.translate_with_features(scaled, (0, 2))
    torch.testing.assert_close(plain[0], kept.translate(scaled), rtol=0, atol=1e-4)
    for map_inside, alone in zip(plain[1], kept.features(scaled, (0, 2)), strict=True):
        torch.testing.assert_close(alone, map_inside, rtol=0, atol=1e-5)
    torch.testing.assert_close(kept.forward_tiled(rainy, 16), kept(rainy), rtol=0, atol=1e-5)
    flat = torch.full((1, 3, 40, 40), 0.7)
    assert (kept(flat) - flat).abs().max() < 0.01


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


@torch.no_grad()
def test_released_weights_give_the_authors_bytes_but_for_rounding(golden):
    network = from_state_dict(load_weights(golden / "latest_net_Back.pth"))
    scaled = scaled_picture(golden / "cropA_input.png")
    expected = cv2.cvtColor(cv2.imread(str(golden / "cropA_back_u8.png")), cv2.COLOR_BGR2RGB)
    for derained in (network((scaled + 1) / 2), network.forward_tiled((scaled + 1) / 2, 40)):
        written = (derained * 255).byte()[0].permute(1, 2, 0).numpy()
        difference = np.abs(written.astype(int) - expected)
        assert difference.max() <= 1
        assert difference.mean() < 1e-4  # a value next to a step may fall on either side


@pytest.fixture(scope="module")
def generator():
    torch.manual_seed(0)
    return NLCLGenerator(num_blocks=3).eval()


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (31, 33), (90, 67)])
def test_inference_equals_what_training_computes(generator, size):
    scaled = torch.rand(2, 3, *size) * 2 - 1
    trained = generator.translate(scaled)
    assert trained.requires_grad
    for layout in (torch.contiguous_format, torch.channels_last):
        with torch.no_grad():
            inferred = generator.translate(scaled.contiguous(memory_format=layout))
        torch.testing.assert_close(inferred, trained, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (1, 70), (70, 1), (31, 33), (67, 131)])
@pytest.mark.parametrize("kind", ["compiled", "plain", "other width", "double"])
def test_tiles_give_the_whole_result(generator, monkeypatch, size, kind):
    network = NLCLGenerator(num_feat=8, num_blocks=2) if kind == "other width" else generator
    rainy = torch.rand(2, 3, *size)
    if kind == "plain":
        monkeypatch.setattr("msgnn_plugin._extension.LOADED", False)
    if kind == "double":
        network, rainy = copy.deepcopy(network).double(), rainy.double()
    with torch.no_grad():
        whole = network(rainy)
    for tile in (1, 20, 64, 1000):
        tiled = network.forward_tiled(rainy, tile)
        assert not tiled.requires_grad
        torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-5)


@torch.no_grad()
def test_flat_pictures_give_numbers_in_tiles_too(generator):
    for value in (0.0, 0.4, 1.0):
        rainy = torch.full((1, 3, 37, 45), value)
        for derained in (generator(rainy), generator.forward_tiled(rainy, 16)):
            assert torch.isfinite(derained).all()
            assert 0 <= derained.min() <= derained.max() <= 1


@needs_compiled
@torch.no_grad()
def test_the_op_runs_where_it_can_and_plain_operations_elsewhere(generator, monkeypatch):
    calls = []
    real = nlcl_lean.norm_conv
    monkeypatch.setattr(nlcl_lean, "norm_conv", lambda *args, **more: (calls.append(1), real(*args, **more))[1])
    rainy = torch.rand(1, 3, 20, 24)
    whole = generator(rainy)
    assert len(calls) == 2 * 3 + 2
    with torch.autocast("cpu", torch.bfloat16):
        low = generator(rainy)
    assert (low - whole).abs().mean() < 0.05
    exported = torch.export.export(generator, (rainy,)).module()(rainy)
    torch.testing.assert_close(exported, whole, rtol=0, atol=1e-5)
    compiled = torch.compile(generator, fullgraph=True, backend="aot_eager")(rainy)
    torch.testing.assert_close(compiled, whole, rtol=0, atol=1e-5)
    assert len(calls) == 2 * 3 + 2


def test_no_room_for_a_tiled_run_is_told(generator, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(OSError, match=r"must have room for 8 MiB, got: No space left on device; free some, or set TMP"):
        generator.forward_tiled(torch.rand(1, 3, 256, 256), 64)


def test_the_estimate_grows_with_what_costs_memory(generator):
    sizes = [(1, 1), (64, 64), (512, 512), (3072, 4096)]
    whole = [generator.estimate_bytes(size) for size in sizes]
    tiled = [generator.estimate_bytes((3072, 4096), tile=tile) for tile in (64, 256, 1024, 5000)]
    assert whole == sorted(set(whole))
    assert tiled == sorted(set(tiled))
    assert tiled[-1] == whole[-1]
    assert generator.double().estimate_bytes((512, 512)) > 2 * whole[2]
    generator.float()


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
        NLCLGenerator.from_state_dict(broken)


def test_settings_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"num_blocks.*at least 1, got 0"):
        NLCLGenerator(num_blocks=0)
    with pytest.raises(ValueError, match=r"num_feat.*at least 1, got 0"):
        NLCLDiscriminator(num_feat=0)
    with pytest.raises(ValueError, match="at least 32 pixels, got 40 x 31"):
        NLCLDiscriminator(num_feat=4)(torch.rand(1, 3, 31, 40))
    with pytest.raises(ValueError, match="increase and lie in"):
        NLCLGenerator(num_feat=4, num_blocks=2).features(torch.rand(1, 3, 8, 8), (0, 3))
