"""MSGNNArch: sizes, settings, gradients, weights. Parity with the authors' network is in test_golden.py."""

import pytest
import torch

from msgnn_plugin.archs import MSGNNArch, from_state_dict
from msgnn_plugin.layers import gaussian_pyramid
from msgnn_plugin.losses import NegSSIMLoss
from msgnn_plugin.ops import centred_window_origin
from msgnn_plugin.ops.grid import grid_length

SMALL = {"num_feat": 8, "num_blocks": 2, "num_groups": 2}


def image(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("num_groups", "with_exemplar", "without_exemplar", "without_graph"),
    [
        (1, 1_059_051, 1_091_593, 338_211),
        (2, 1_393_227, 1_547_625, 666_179),
        (3, 1_727_403, 2_003_657, 994_147),
        (4, 2_061_579, 2_459_689, 1_322_115),
        (6, 2_729_931, 3_371_753, 1_978_051),
        (8, 3_398_283, 4_283_817, 2_633_987),
    ],
)
def test_official_parameter_counts(num_groups, with_exemplar, without_exemplar, without_graph):
    def build(**settings):
        return count(MSGNNArch(variant="official", num_groups=num_groups, **settings))

    assert build() == with_exemplar
    assert build(use_exemplar=False) == without_exemplar
    assert build(graph=False) == without_graph


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"num_groups": 1},
        {"num_groups": 3, "num_blocks": 1},
        {"use_exemplar": False},
        {"graph": False},
        {"fusion_connection": False},
        {"channel_attention": None},
        {"channel_attention": "eca"},
        {"channel_attention": "se"},
        {"scales": (1,)},
        {"scales": (2,)},
        {"scales": (1, 2, 4, 8)},
        {"scales": ()},
        {"stride": 1, "patch_size": 3},
        {"stride": 2, "patch_size": 5, "num_neighbors": 3},
        {"window_size": None},
        {"window_size": 4, "num_neighbors": 7},
    ],
)
def test_every_parameter_of_the_paper_variant_gets_a_finite_gradient(settings):
    network = MSGNNArch(**{**SMALL, **settings})
    output = network(image(2, 3, 37, 29), image(2, 3, 37, 29, seed=1))
    (output - image(2, 3, 37, 29, seed=2)).square().mean().backward()
    missing = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert missing == []


def test_the_default_paper_network_learns_everywhere():
    network = MSGNNArch()
    network(image(1, 3, 48, 48), image(1, 3, 48, 48, seed=1)).square().mean().backward()
    idle = {n for n, p in network.named_parameters() if p.grad is None or p.grad.abs().max() == 0}
    # The gate's alpha waits for its gamma, which starts at 0.
    assert {name.rsplit(".", 1)[1] for name in idle} == {"alpha"}


@pytest.mark.parametrize("variant", ["paper", "official"])
@pytest.mark.parametrize("size", [(1, 1), (2, 50), (7, 5), (37, 53), (24, 25)])
def test_any_size(variant, size):
    network = MSGNNArch(**SMALL, variant=variant).eval()
    rainy = image(1, 3, *size)
    with torch.no_grad():
        for exemplar in (None, image(1, 3, 40, 31, seed=1), image(1, 3, 2, 3, seed=1)):
            output = network(rainy, exemplar)
            assert output.shape == rainy.shape
            assert output.isfinite().all()


@pytest.mark.parametrize("variant", ["paper", "official"])
def test_a_batch_gives_what_its_images_give(variant):
    network = MSGNNArch(**SMALL, variant=variant, window_size=5).eval()
    rainy, exemplar = image(2, 3, 40, 36), image(2, 3, 30, 33, seed=1)
    with torch.no_grad():
        together = network(rainy, exemplar)
        for b in range(2):
            alone = network(rainy[b : b + 1], exemplar[b : b + 1])
            torch.testing.assert_close(together[b : b + 1], alone, rtol=0, atol=1e-5)
        shared = network(rainy, exemplar[:1])
        torch.testing.assert_close(shared[:1], together[:1], rtol=0, atol=1e-5)


def test_a_querys_own_patch_is_its_nearest_neighbour_at_scale_1():
    graph = MSGNNArch(**SMALL).graphs["scale1"]
    index, distance = graph.search(image(2, 3, 81, 121))
    assert torch.equal(index[..., 0], torch.arange(index.shape[1]).expand(2, -1))
    assert (distance[..., 0] == 0).all()


def test_windows_of_an_81x121_image_contain_each_querys_own_place_at_every_scale():
    network = MSGNNArch(window_size=6)
    query_grid = (27, 41)
    for scale in network.scales:
        sides = [-(-side // scale) for side in (81, 121)]
        grid = tuple(grid_length(side, 3, 3) for side in sides)
        origin = centred_window_origin(query_grid, grid, 6)
        # The pixel in the middle of a query patch, on the smaller map, lies in this patch of its grid.
        own = [((3 * torch.arange(n) + 1) // scale // 3).clamp(max=g - 1) for n, g in zip(query_grid, grid)]
        own = torch.cartesian_prod(*own)
        assert ((own >= origin) & (own < origin + min(6, *grid))).all()


def test_a_pyramid_is_read_by_scale():
    network = MSGNNArch(**{**SMALL, "scales": (2, 4)})
    rainy = image(1, 3, 41, 40)
    with torch.no_grad():
        assert torch.equal(network(rainy), network(rainy, None, gaussian_pyramid(rainy, (1, 2, 4))))


@pytest.mark.parametrize("variant", ["paper", "official"])
def test_a_region_differs_from_the_whole_by_what_the_sub_networks_see_alone(variant):
    network = MSGNNArch(**SMALL, variant=variant, window_size=5, channel_attention=None).eval().double()
    rainy, exemplar = image(2, 3, 61, 83).double(), image(2, 3, 40, 90, seed=1).double()
    # 2 x 2 blocks of two 3x3 convolutions, stem, head, and a fusion of two 5x5 ("paper") reach 14 pixels.
    reach = 14
    with torch.no_grad():
        for levels in (None, gaussian_pyramid(rainy, (1, 2, 4))):
            whole = network(rainy, exemplar)
            part = network(rainy, exemplar, levels, region=((12, 61), (0, 70)))
            assert part.shape == (2, 3, 49, 70)
            torch.testing.assert_close(part[:, :, reach:, :-reach], whole[:, :, 12 + reach :, : 70 - reach])
            # What the tile's own end changes is seen, so the reach above is no idle allowance.
            assert not torch.allclose(part[:, :, 0], whole[:, :, 12, :70], rtol=0, atol=1e-6)


def test_the_output_has_the_layout_of_the_input():
    network = MSGNNArch(**SMALL)
    rainy = image(2, 3, 40, 36)
    assert network(rainy).is_contiguous()
    assert network(rainy.to(memory_format=torch.channels_last)).is_contiguous(memory_format=torch.channels_last)


def test_float64_is_computed_in_float64():
    network = MSGNNArch(num_feat=4, num_blocks=1, num_groups=2, scales=(1,), use_exemplar=False).double()
    parameter = network.groups[0].units[0].attention.gamma.detach()
    rainy = image(1, 3, 12, 12).double()

    def loss(gamma):
        changed = {"groups.0.units.0.attention.gamma": gamma}
        return torch.func.functional_call(network, changed, (rainy,)).square().sum()

    assert torch.autograd.gradcheck(loss, (parameter.clone().requires_grad_(),))


def test_settings_are_checked_inside_another_module_and_survive_averaging():
    network = MSGNNArch(**SMALL)
    other = torch.nn.Sequential(MSGNNArch(**SMALL, window_size=None))
    with pytest.raises(RuntimeError, match="`window_size` must be 30 as in the weights, got None"):
        other.load_state_dict(torch.nn.Sequential(network).state_dict())
    averaged = torch.optim.swa_utils.AveragedModel(network, use_buffers=True)
    for _ in range(3):
        averaged.update_parameters(network)
    assert torch.equal(from_state_dict(averaged.state_dict()).hyper, network.hyper)


def test_a_bank_of_another_kind_is_refused():
    weights = MSGNNArch(**SMALL).state_dict()
    weights["exemplar_bank"] = image(1, 3, 8, 8)
    with pytest.raises(RuntimeError, match="exemplar bank must be uint8"):
        from_state_dict(weights)


def test_an_exemplar_changes_the_output_only_of_a_network_with_that_branch():
    rainy, first, second = image(1, 3, 40, 40), image(1, 3, 40, 40, seed=1), image(1, 3, 40, 40, seed=2)
    for use_exemplar in (True, False):
        network = MSGNNArch(**SMALL, use_exemplar=use_exemplar)
        with torch.no_grad():
            assert torch.equal(network(rainy, first), network(rainy, second)) is not use_exemplar


def test_without_exemplar_the_bank_is_used_and_else_the_image_itself():
    network = MSGNNArch(**SMALL)
    rainy = image(2, 3, 40, 40)
    bank = (image(3, 3, 33, 35, seed=1) * 255).to(torch.uint8)
    with torch.no_grad():
        assert torch.equal(network(rainy), network(rainy, rainy))
        network.set_exemplar_bank(bank)
        torch.testing.assert_close(network(rainy), network(rainy, bank[:1].float() / 255))
    again = from_state_dict({"params_ema": network.state_dict()})
    assert torch.equal(again.exemplar_bank, bank)
    plain = MSGNNArch(**SMALL)
    plain.load_state_dict(network.state_dict(), strict=True)
    assert torch.equal(plain.exemplar_bank, bank)
    with pytest.raises(ValueError, match=r"exemplar bank must be uint8 of shape \(E, 3, h, w\), got torch.float32"):
        network.set_exemplar_bank(rainy)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"variant": "official"},
        {"scales": (1, 4), "window_size": None, "stride": 2, "num_neighbors": 3, "patch_size": 5},
        {"graph": False, "channel_attention": None, "fusion_connection": False},
        {"use_exemplar": False, "channel_attention": "eca"},
    ],
)
def test_weights_alone_rebuild_the_network(settings):
    network = MSGNNArch(**{**SMALL, **settings})
    again = from_state_dict({"params": {f"module.{name}": value for name, value in network.state_dict().items()}})
    rainy = image(1, 3, 33, 40)
    with torch.no_grad():
        assert torch.equal(network(rainy), again(rainy))


def test_weights_of_other_settings_are_refused_by_name():
    network = MSGNNArch(**SMALL)
    for change in ({"stride": 1}, {"window_size": None}, {"num_feat": 16}, {"channel_attention": "se"}):
        (field,) = change
        with pytest.raises(RuntimeError, match=f"`{field}` must be .* as in the weights, got "):
            MSGNNArch(**{**SMALL, **change}).load_state_dict(network.state_dict())
    other_window = MSGNNArch(**SMALL, window_size=None)
    other_window.load_state_dict(network.state_dict(), strict=False)
    assert torch.equal(other_window.hyper, MSGNNArch(**SMALL, window_size=None).hyper)


def test_foreign_and_broken_weights_are_refused():
    with pytest.raises(ValueError, match="must hold weights of MSGNN"):
        from_state_dict({"conv.weight": torch.zeros(1)})
    with pytest.raises(ValueError, match="must map names to tensors"):
        from_state_dict({"epoch": 3})
    with pytest.raises(ValueError, match="unknown tensor 'strange'"):
        MSGNNArch.from_official({"strange": torch.zeros(1)})
    weights = MSGNNArch(**SMALL).state_dict()
    weights["hyper"] = weights["hyper"] + 1
    with pytest.raises(ValueError, match="come from another version"):
        from_state_dict(weights)
    with pytest.raises(ValueError, match=r"use MSGNNArch\.from_official"):
        MSGNNArch.from_state_dict({"convert_rainy.weight": torch.zeros(1)})


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"num_neighbors": 901}, r"`num_neighbors` must be in \[1, window_size\*\*2 = 900\], got 901"),
        ({"num_neighbors": 0}, "`num_neighbors` must be at least 1, got 0"),
        ({"window_size": 0}, "`window_size` must be at least 1, got 0"),
        ({"num_feat": 0}, "`num_feat` must be at least 1, got 0"),
        ({"num_blocks": 0}, "`num_blocks` must be at least 1, got 0"),
        ({"num_groups": -1}, "`num_groups` must be at least 1, got -1"),
        ({"scales": (1, 3)}, r"`scales` must be increasing powers of two such as \(1, 2, 4\), got \(1, 3\)"),
        ({"scales": (2, 1)}, "`scales` must be increasing"),
        ({"scales": (), "use_exemplar": False}, "`scales` must name at least one scale"),
        ({"channel_attention": "cbam"}, "`channel_attention` must be one of .*got 'cbam'"),
        ({"variant": "mine"}, "`variant` must be one of .*got 'mine'"),
        ({"variant": "official", "stride": 1}, '`stride` must equal `patch_size` = 3 with variant "official", got 1'),
    ],
)
def test_rejects_settings(settings, match):
    with pytest.raises(ValueError, match=match):
        MSGNNArch(**settings)


@pytest.mark.parametrize("settings", [{"num_feat": "32"}, {"num_blocks": 2.0}, {"num_neighbors": 2.5}, {"scales": 4}])
def test_rejects_kinds(settings):
    (field,) = settings
    with pytest.raises(TypeError, match=f"`{field}` must be .*, got {settings[field]!r}"):
        MSGNNArch(**settings)


def test_rejects_inputs():
    network = MSGNNArch(**SMALL)
    with pytest.raises(ValueError, match=r"`rainy` must have shape \(B, 3, H, W\), got \(3, 40, 40\)"):
        network(image(3, 40, 40))
    with pytest.raises(ValueError, match="`exemplar` must have batch 1 or 3 as `rainy`, got 2"):
        network(image(3, 3, 40, 40), image(2, 3, 40, 40))
    for region in (((0, 41), (0, 41)), ((-1, 3), (0, 3)), ((0, 3), (3, 3))):
        with pytest.raises(ValueError, match=r"`region` must be rows in \[0, 40\] and columns in \[0, 40\], .*got"):
            network(image(1, 3, 40, 40), region=region)
    rainy = image(1, 3, 41, 40)
    with pytest.raises(ValueError, match=r"`pyramid` must have 3 images, halved from one to the next, .* got 1"):
        network(rainy, None, [rainy])
    with pytest.raises(ValueError, match=r"`pyramid\[1\]` must have shape \(1, 3, 21, 20\), got \(1, 3, 20, 20\)"):
        network(rainy, None, [rainy, image(1, 3, 20, 20), image(1, 3, 10, 10)])


@pytest.mark.parametrize("variant", ["paper", "official"])
def test_autocast_bfloat16_trains_close_to_float32(variant):
    torch.manual_seed(0)
    network = MSGNNArch(**SMALL, variant=variant)
    # A network without pretence: gates and biases away from where they start.
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1 if parameter.dim() < 4 else parameter[0].numel() ** -0.5)
    rainy, clean = image(2, 3, 40, 40), image(2, 3, 40, 40, seed=1)

    def outcome(enabled):
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            output = network(rainy)
            loss = NegSSIMLoss()(output, clean)
        loss.backward()
        return output, loss, {name: p.grad for name, p in network.named_parameters() if p.grad is not None}

    (low, low_loss, low_grads), (full, full_loss, full_grads) = outcome(True), outcome(False)
    assert low_loss.dtype == torch.float32
    assert (low - full).norm() < 0.03 * (full - rainy).norm()
    assert abs(low_loss - full_loss) < 0.01
    assert low_grads.keys() == full_grads.keys()
    assert all(grad.isfinite().all() and grad.dtype == torch.float32 for grad in low_grads.values())
    for name in ("stem.weight", "groups.0.units.1.body.0.weight", "groups.1.merges.0.0.weight", "head.2.weight"):
        assert (low_grads[name] - full_grads[name]).norm() < 0.25 * full_grads[name].norm(), name


def test_checkpointing_changes_no_bit_and_is_no_part_of_the_weights():
    torch.manual_seed(0)
    network = MSGNNArch(**SMALL)
    again = MSGNNArch(**SMALL, checkpoint=True)
    again.load_state_dict(network.state_dict())
    assert torch.equal(again.hyper, network.hyper)
    assert from_state_dict(again.state_dict()).checkpoint is False
    kept = []
    for each in (network, again):
        saved = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x.numel()) or x, lambda x: x):  # noqa: B023
            each(image(2, 3, 36, 36)).square().mean().backward()
        kept.append(sum(saved))
    assert kept[1] < 0.75 * kept[0]
    for (name, a), b in zip(network.named_parameters(), again.parameters()):
        assert torch.equal(a.grad, b.grad), name
    with torch.no_grad():
        assert torch.equal(network(image(1, 3, 30, 30)), again(image(1, 3, 30, 30)))


@pytest.mark.parametrize("settings", [{}, {"variant": "official"}, {"checkpoint": True}])
def test_compiles_without_a_break_forward_and_backward(settings):
    torch.manual_seed(0)
    network = MSGNNArch(**{**SMALL, "scales": (2,), **settings})
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    rainy, exemplar = image(2, 3, 36, 36), image(2, 3, 30, 33, seed=1)
    outcomes = []
    for run in (compiled, network):
        network.zero_grad()
        output = run(rainy, exemplar)
        output.square().sum().backward()
        outcomes.append((output, {name: p.grad for name, p in network.named_parameters() if p.grad is not None}))
    (output, grads), (expected, expected_grads) = outcomes
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-5)
    assert grads.keys() == expected_grads.keys()
    for name in grads:
        error = (grads[name] - expected_grads[name]).abs().max()
        # Some biases cancel in the softmax: only rounding is left of their gradients.
        assert error < 1e-4 * expected_grads[name].abs().max() + 1e-7, name


@pytest.mark.parametrize("variant", ["paper", "official"])
def test_exports(variant):
    network = MSGNNArch(**{**SMALL, "scales": (2,)}, variant=variant).eval()
    rainy, exemplar = image(1, 3, 36, 36), image(1, 3, 30, 33, seed=1)
    program = torch.export.export(network, (rainy, exemplar))
    with torch.no_grad():
        torch.testing.assert_close(program.module()(rainy, exemplar), network(rainy, exemplar), rtol=0, atol=1e-5)


@pytest.mark.parametrize("settings", [{}, {"channel_attention": "se", "variant": "official"}])
@pytest.mark.parametrize(("dtype", "share"), [(torch.float16, 0.005), (torch.bfloat16, 0.03)])
def test_a_network_all_in_half_precision_is_close_to_float32(settings, dtype, share):
    torch.manual_seed(0)
    network = MSGNNArch(**SMALL, **settings).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1 if parameter.dim() < 4 else parameter[0].numel() ** -0.5)
    rainy = image(1, 3, 33, 27)
    with torch.inference_mode():
        full = network(rainy)
        low = network.to(dtype)(rainy.to(dtype))
    assert low.dtype == dtype
    assert (low.float() - full).norm() < share * (full - rainy).norm()
