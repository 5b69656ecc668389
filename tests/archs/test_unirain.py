"""UniRain: size as published, any picture size, routing, weights that tell their settings."""

import copy

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from msgnn_plugin.archs import UniRainArch, from_state_dict
from msgnn_plugin.layers.experts import ExpertMixture

TINY = {"num_feat": 4, "num_blocks": (1, 1, 1, 1), "num_refinement": 1, "num_heads": (1, 1, 2, 2)}


def tiny(seed=0, **settings):
    torch.manual_seed(seed)
    return UniRainArch(**{**TINY, **settings})


def multiply_adds(network, side):
    """Convolutions and addmm; attention products are left out, as in the published numbers."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.rand(1, 3, side, side))
    counts = counter.get_flop_counts()["Global"]
    return sum(count for op, count in counts.items() if "conv" in str(op) or "addmm" in str(op)) / 2


def test_default_has_the_published_size():
    network = UniRainArch().eval()
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(24.4e6, rel=0.02)
    # Work grows with the area, but for the routers' thousands.
    assert multiply_adds(network, 64) * 16 == pytest.approx(126.5e9, rel=0.02)


def test_without_experts_it_is_restormer():
    # Restormer's published size, and the hidden channels it has there.
    network = UniRainArch(expert_blocks=0, ffn_factor=2.66).eval()
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(26.13e6, rel=0.004)
    assert multiply_adds(network, 64) * 16 == pytest.approx(140.99e9, rel=0.004)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 3), (8, 8), (13, 24), (17, 31)])
@pytest.mark.parametrize("batch", [1, 2, 8])
def test_any_size(size, batch):
    rainy = torch.rand(batch, 3, *size)
    derained = tiny().eval()(rainy)
    assert derained.shape == rainy.shape
    assert derained.isfinite().all()


def test_padding_is_reflection_then_replication():
    network = tiny().eval()
    rainy = torch.rand(1, 3, 3, 6)
    rows, columns = [0, 1, 2, 1, 0, 0, 0, 0], [0, 1, 2, 3, 4, 5, 4, 3]
    torch.testing.assert_close(network(rainy), network(rainy[:, :, rows][:, :, :, columns])[:, :, :3, :6])


def test_images_of_a_batch_do_not_touch_each_other():
    network = tiny().eval()
    rainy = torch.rand(4, 3, 16, 16)
    torch.testing.assert_close(network(rainy), torch.cat([network(image[None]) for image in rainy]), atol=1e-6, rtol=0)


def test_is_deterministic_in_evaluation_and_takes_no_exemplar():
    network = tiny(noise_std=1.0).eval()
    rainy = torch.rand(2, 3, 16, 24)
    derained = network(rainy)
    assert torch.equal(network(rainy), derained)
    assert torch.equal(network(rainy, torch.rand(2, 3, 9, 9)), derained)


@pytest.mark.parametrize("encoder", ["soft", "hard"])
@pytest.mark.parametrize("decoder", ["soft", "hard"])
def test_every_routing_trains_every_parameter(encoder, decoder):
    network = tiny(encoder_routing=encoder, decoder_routing=decoder)
    network(torch.rand(1, 3, 16, 16)).square().sum().backward()
    missing = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert missing == []
    mixtures = {name: m for name, m in network.named_modules() if isinstance(m, ExpertMixture)}
    assert {name.split(".")[0] for name in mixtures} == {"encoder", "decoder", "refinement"}
    for name, made in mixtures.items():
        routing = encoder if name.startswith("encoder") else decoder
        assert made.top_k == (3 if routing == "soft" else 1)


def test_all_experts_kept_is_soft():
    hard = tiny(decoder_routing="hard", top_k=3).eval()
    soft = tiny(decoder_routing="soft").eval()
    rainy = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(hard(rainy), soft(rainy))


def test_last_blocks_have_the_experts():
    network = tiny(num_blocks=(3, 1, 2, 2), num_refinement=0, expert_blocks=2)
    kinds = [[isinstance(block.feed_forward, ExpertMixture) for block in stage] for stage in network.encoder]
    assert kinds == [[False, True, True], [True], [True, True]]
    assert not any(isinstance(block.feed_forward, ExpertMixture) for block in network.lowest)
    assert set(network.expert_loads()) == {
        *("encoder.0.1", "encoder.0.2", "encoder.1.0", "encoder.2.0", "encoder.2.1"),
        *("decoder.0.1", "decoder.0.2", "decoder.1.0", "decoder.2.0", "decoder.2.1"),
    }
    assert all(sum(load) == pytest.approx(1) for load in network.expert_loads().values())


def test_noise_depends_on_the_seed_alone():
    network = tiny(noise_std=5.0)
    rainy = torch.rand(2, 3, 16, 16)
    derained = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        derained.append(network(rainy))
    assert torch.equal(derained[0], derained[1])
    assert not torch.equal(derained[0], derained[2])


def test_weights_tell_their_settings():
    settings = {
        **{"num_feat": 8, "num_blocks": (1, 0, 2, 1), "num_refinement": 2, "num_heads": (2, 4, 1, 8)},
        **{"ffn_factor": 1.375, "num_experts": 4, "top_k": 2, "expert_blocks": 2},
        **{"encoder_routing": "hard", "decoder_routing": "soft"},
    }
    network = UniRainArch(**settings, noise_std=0.3).eval()
    rainy = torch.rand(1, 3, 10, 10)
    wrapped = {"params": {f"module.{name}": value for name, value in network.state_dict().items()}}
    for rebuilt in (UniRainArch.from_state_dict(wrapped), from_state_dict(network.state_dict())):
        assert rebuilt.settings == settings
        assert torch.equal(rebuilt.eval()(rainy), network(rainy))


def test_weights_of_other_settings_are_refused():
    weights = tiny().state_dict()
    with pytest.raises(RuntimeError, match=r"`decoder_routing` must be 'hard' as in the weights, got 'soft'"):
        tiny(decoder_routing="soft").load_state_dict(weights)
    with pytest.raises(RuntimeError, match=r"`decoder_routing` must be 'hard' as in the weights, got 'soft'"):
        torch.nn.Sequential(tiny(decoder_routing="soft")).load_state_dict(torch.nn.Sequential(tiny()).state_dict())
    other = tiny(seed=1, decoder_routing="soft")
    other.load_state_dict(weights, strict=False)
    assert UniRainArch.from_state_dict(other.state_dict()).settings["decoder_routing"] == "soft"
    with pytest.raises(ValueError, match=r"must hold our settings buffer `hyper`, got weights without it"):
        UniRainArch.from_state_dict({"embed.weight": torch.zeros(1)})
    for hyper in (torch.tensor([9]), torch.zeros(2, 2), weights["hyper"] + torch.eye(17, dtype=torch.int64)[0]):
        with pytest.raises(ValueError, match=r"`hyper` must hold version 1 and 16 numbers"):
            UniRainArch.from_state_dict({**weights, "hyper": hyper})
    broken = weights["hyper"].clone()
    broken[14] = 7
    with pytest.raises(ValueError, match=r"`encoder_routing` in `hyper` must be 0 or 1, got 7"):
        UniRainArch.from_state_dict({**weights, "hyper": broken})


def test_bfloat16_autocast_is_close():
    network = tiny().eval()
    rainy = torch.rand(2, 3, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        low = network(rainy)
    torch.testing.assert_close(low.float(), network(rainy), atol=0.03, rtol=0)
    network.train()
    with torch.autocast("cpu", torch.bfloat16):
        loss = network(rainy).float().square().mean()
    loss.backward()
    assert all(p.grad.isfinite().all() for p in network.parameters())


def test_copies_and_layouts_agree():
    network = tiny().eval()
    rainy = torch.rand(2, 3, 16, 16)
    other = copy.deepcopy(network).to(memory_format=torch.channels_last)
    layout = rainy.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(other(layout), network(rainy), atol=1e-6, rtol=0)


def test_exports_for_any_batch():
    # Hard routing depends on the data, so an exported network runs every expert and gives the same numbers.
    network = tiny().eval()
    rainy = torch.rand(3, 3, 16, 16)
    exported = torch.export.export(network, (rainy,), dynamic_shapes=({0: torch.export.Dim("B")},))
    other = torch.rand(5, 3, 16, 16)
    torch.testing.assert_close(exported.module()(other), network(other), atol=1e-6, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("decoder", ["soft", "hard"])
def test_compiles_whole_and_trains(decoder):
    network = tiny(decoder_routing=decoder)
    rainy = torch.rand(3, 3, 16, 16)
    network.eval()
    expected = network(rainy)
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(rainy), expected, atol=1e-5, rtol=0)
    network.train()
    compiled(rainy).sum().backward()
    assert all(p.grad is not None for p in network.parameters())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_feat": 5}, "`num_feat` must be even and at least 2, got 5"),
        ({"num_blocks": (1, 1, 1)}, r"`num_blocks` must be 4 numbers of at least 0, got \(1, 1, 1\)"),
        ({"num_heads": (1, 2, 4, 0)}, r"`num_heads` must be 4 numbers of at least 1"),
        ({"num_heads": (3, 1, 1, 1)}, r"`num_heads` must be divisors of the levels' channels, 4 in level 1, got"),
        ({"num_refinement": -1}, "`num_refinement` must be at least 0, got -1"),
        ({"expert_blocks": -1}, "`expert_blocks` must be at least 0, got -1"),
        ({"num_experts": 0, "top_k": 0}, "`num_experts` must be at least 1, got 0"),
        ({"top_k": 4}, r"`top_k` must be in \[1, num_experts = 3\], got 4"),
        ({"ffn_factor": 0.0}, "`ffn_factor` must be above 0 with at most three decimals, got 0.0"),
        ({"ffn_factor": 2.66666}, "at most three decimals, got 2.66666"),
        ({"encoder_routing": "top"}, "`encoder_routing` must be soft or hard, got 'top'"),
        ({"noise_std": -0.5}, "`noise_std` must be at least 0 and finite, got -0.5"),
    ],
)
def test_refuses_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        tiny(**settings)


def test_refuses_other_shapes():
    for shape in ((3, 8, 8), (1, 4, 8, 8), (1, 3, 0, 8)):
        with pytest.raises(ValueError, match=r"`rainy` must have shape \(B, 3, H, W\), got"):
            tiny()(torch.rand(shape))
