"""spandrel's own loader on our weights, and on those that are not ours."""

import importlib
import importlib.util
import re
import sys
from functools import partial
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from msgnn_plugin.adapters.spandrel import install
from msgnn_plugin.archs import MSGNNArch, NLCLDiscriminator, NLCLGenerator, UniRainArch, from_state_dict, load_weights
from msgnn_plugin.cli.main import main
from msgnn_plugin.data.image_file import Picture
from msgnn_plugin.memory import estimate_bytes
from msgnn_plugin.restoration import Restorer

needs_spandrel = pytest.mark.skipif(
    importlib.util.find_spec("spandrel") is None, reason="needs spandrel: pip install 'msgnn_plugin[spandrel]'"
)
SIZES = ((21, 30), (37, 19), (5, 1))


def msgnn(**settings):
    small = {"num_feat": 8, "num_blocks": 2, "num_groups": 2, "num_neighbors": 2, "window_size": 4}
    return MSGNNArch(**small | settings)


def unirain(**settings):
    small = {"num_feat": 4, "num_blocks": (1, 1, 0, 1), "num_refinement": 1, "num_heads": (1, 2, 2, 2)}
    return UniRainArch(**small | settings)


# Every family, its forms, and widths: what the tags must say of it.
NETWORKS = {
    "MSGNN 4": (lambda: msgnn(num_feat=4), ["4nf", "2nb", "2ng", "paper"]),
    "MSGNN 16, one group": (lambda: msgnn(num_feat=16, num_groups=1), ["16nf", "2nb", "1ng", "paper"]),
    "MSGNN 32, official": (lambda: msgnn(num_feat=32, variant="official"), ["32nf", "2nb", "2ng", "official"]),
    "MSGNN, no attention, no exemplar": (
        lambda: msgnn(channel_attention=None, use_exemplar=False, scales=(1, 8)),
        ["8nf", "2nb", "2ng", "paper"],
    ),
    "MSGNN, all patches": (
        lambda: msgnn(channel_attention="se", window_size=None, stride=2, patch_size=4),
        ["8nf", "2nb", "2ng", "paper"],
    ),
    "MSGNN, no graph": (lambda: msgnn(channel_attention="eca", graph=False), ["8nf", "2nb", "2ng", "paper"]),
    "NLCL 4": (lambda: NLCLGenerator(num_feat=4, num_blocks=3), ["4nf", "3nb"]),
    "NLCL 32, reversible": (
        lambda: NLCLGenerator(num_feat=32, num_blocks=1, reversible_norm=True),
        ["32nf", "1nb", "reversible norm"],
    ),
    "UniRain 4": (unirain, ["4nf", "3e"]),
    "UniRain 8, no experts": (lambda: unirain(num_feat=8, expert_blocks=0, ffn_factor=1.5), ["8nf", "3e"]),
    "UniRain, two of four": (
        lambda: unirain(num_experts=4, top_k=2, encoder_routing="hard", decoder_routing="soft"),
        ["4nf", "4e"],
    ),
}


def perturbed(make, seed=0):
    """Build a network whose every weight differs from what construction gives, for gates start at 1 and so on."""
    torch.manual_seed(seed)
    network = make().eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter += 0.05 * torch.randn_like(parameter)
    return network


@pytest.fixture
def spandrel():
    """spandrel, made importable, without anything of ours added."""
    if importlib.util.find_spec("spandrel") is None:
        pytest.skip("needs spandrel: pip install 'msgnn_plugin[spandrel]'")
    install(registry=SimpleNamespace(add=lambda *added, ignore_duplicates: None))
    return importlib.import_module("spandrel")


@pytest.fixture
def loader(spandrel):
    registry = spandrel.MAIN_REGISTRY.copy()
    install(registry)
    return spandrel.ModelLoader(registry=registry)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_family_and_width_opens_and_gives_our_results(name, loader, tmp_path):
    make, tags = NETWORKS[name]
    plain, averaged = perturbed(make, 1), perturbed(make, 2)
    module = {f"module.{key}": value for key, value in averaged.state_dict().items()}
    best = {"dataset": "Set", "metric": "psnr", "value": 1.5, "iter": 2}
    files = {
        "bare.pth": averaged.state_dict(),
        "module.pth": module,
        "params.pth": {"params": averaged.state_dict()},
        "net_g_best.pth": {"params": plain.state_dict(), "params_ema": module, "best": best},
    }
    for file, content in files.items():
        torch.save(content, tmp_path / file)
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_file(averaged.state_dict(), tmp_path / "bare.safetensors")
    safetensors.save_file(module, tmp_path / "module.safetensors")
    for file in (*files, "bare.safetensors", "module.safetensors"):
        model = loader.load_from_file(tmp_path / file)
        assert model.architecture.id == name.split(" ")[0].strip(",")
        assert model.tags == tags
        loaded = model.model.state_dict()
        assert all(torch.equal(value, loaded[key]) for key, value in averaged.state_dict().items())
    for size in SIZES:
        rainy = torch.rand(1, 3, *size)
        with torch.inference_mode():
            expected = averaged(rainy).clamp(0, 1)
        torch.testing.assert_close(model(rainy), expected, rtol=0, atol=1e-5)


def test_what_programs_are_told(loader, spandrel):
    for make, tiling in (
        (msgnn, spandrel.ModelTiling.INTERNAL),
        (NLCLGenerator, spandrel.ModelTiling.INTERNAL),
        (unirain, spandrel.ModelTiling.DISCOURAGED),
    ):
        model = loader.load_from_state_dict(make().state_dict())
        assert (model.purpose, model.scale, model.input_channels, model.output_channels) == ("Restoration", 1, 3, 3)
        assert model.size_requirements.none
        assert model.tiling is tiling


@pytest.mark.parametrize("name", ["MSGNN 16, one group", "MSGNN, all patches", "NLCL 32, reversible", "UniRain 4"])
@pytest.mark.parametrize(("dtype", "levels"), [(torch.float16, 0.5), (torch.bfloat16, 4)])
def test_half_precisions_are_supported_as_told(name, dtype, levels, loader):
    model = loader.load_from_state_dict(perturbed(NETWORKS[name][0]).state_dict())
    rainy = torch.rand(1, 3, 18, 23)
    expected = model(rainy)
    derained = model.to(dtype)(rainy.to(dtype))
    assert derained.dtype == dtype
    assert (derained.float() - expected).abs().max() < levels / 255


@pytest.mark.parametrize("layer", ["Back", "Rain"])
def test_the_authors_nlcl_weights_give_their_results(layer, loader, shared, tmp_path):
    golden = shared / "golden/nlcl"
    weights = golden / f"latest_net_{layer}.pth"
    assert main(["convert", str(weights), str(tmp_path / "a.safetensors")]) == 0
    expected = torch.from_numpy(np.load(golden / f"cropA_{layer.lower()}.npy"))
    cv2 = importlib.import_module("cv2")
    rainy = cv2.cvtColor(cv2.imread(str(golden / "cropA_input.png")), cv2.COLOR_BGR2RGB)
    rainy = torch.from_numpy(rainy).permute(2, 0, 1)[None].float() / 255
    for file in (weights, tmp_path / "a.safetensors"):
        model = loader.load_from_file(file)
        assert (model.architecture.id, model.tags) == ("NLCL", ["32nf", "16nb"])
        assert (2 * model(rainy) - 1 - expected.reshape(rainy.shape).clamp(-1, 1)).abs().max() < 1e-4


def test_the_authors_msgnn_weights_open(loader, shared):
    stored = np.load(shared / "golden/msgnn/C_nograph_48.npz")
    weights = {f"module.{name[3:]}": torch.from_numpy(stored[name]) for name in stored if name.startswith("sd/")}
    model = loader.load_from_state_dict({"net": weights})
    assert (model.architecture.id, model.tags[-1]) == ("MSGNN", "official")
    rainy = torch.rand(1, 3, 33, 29)
    with torch.inference_mode():
        expected = MSGNNArch.from_official(weights)(rainy).clamp(0, 1)
    torch.testing.assert_close(model(rainy), expected, rtol=0, atol=1e-5)


def test_of_a_bank_the_exemplar_is_the_one_that_restore_takes(loader, make_pair):
    network = perturbed(msgnn)
    bank = np.stack([make_pair(seed, (40, 40))[index] for seed, index in ((1, 1), (2, 0), (3, 1))])
    network.set_exemplar_bank(torch.from_numpy(bank).permute(0, 3, 1, 2))
    weights = network.state_dict()
    rainy = make_pair(2, (41, 35))[0].astype(np.float32) / 255
    expected = Restorer(from_state_dict(weights), torch.device("cpu"))(Picture(rainy))
    image = torch.from_numpy(rainy).permute(2, 0, 1)[None]
    derained = loader.load_from_state_dict(weights)(image)
    np.testing.assert_allclose(derained[0].permute(1, 2, 0).numpy(), expected, rtol=0, atol=1e-5)
    with torch.inference_mode():
        assert (network(image).clamp(0, 1) - derained).abs().max() > 1e-4  # the bank's first is another one


@pytest.mark.parametrize("make", [NLCLGenerator, msgnn])
def test_where_the_memory_is_short_the_network_tiles_by_itself(make, loader, monkeypatch):
    architectures = importlib.import_module("msgnn_plugin.adapters.spandrel.architectures")
    network = perturbed(lambda: make(num_feat=8, num_blocks=2))
    rainy = torch.rand(1, 3, 150, 170)
    whole = loader.load_from_state_dict(network.state_dict())(rainy)
    estimate = getattr(network, "estimate_bytes", None) or partial(estimate_bytes, network)
    memory = sum(estimate((150, 170), tile=tile) for tile in (None, 64)) / 2
    tiling = architectures.Tiling(tile="auto", memory=memory / 2**30)
    assert 64 <= tiling.settle(network, rainy) < 170
    monkeypatch.setattr(architectures, "TILING", tiling)
    tiled = loader.load_from_state_dict(network.state_dict())(rainy)
    assert not torch.equal(tiled, whole)
    assert (tiled - whole).abs().mean() < (1e-6 if make is NLCLGenerator else 1e-2)


@pytest.mark.parametrize(
    "weights",
    [
        {"conv.weight": torch.zeros(3, 3, 3, 3)},
        {"hyper": torch.zeros(14, dtype=torch.int64), "stem.weight": torch.zeros(8, 3, 3, 3)},
        {"gen.0.weight": torch.zeros(8, 3, 7, 7), "gen.1.model.0.weight": torch.zeros(8, 8, 3, 3)},
        {"stem.weight": torch.zeros(8, 3, 3, 3), "blocks.0.conv1.weight": torch.zeros(8, 8, 3, 3)},
        NLCLDiscriminator(num_feat=2).state_dict(),
        {"model": "of another kind"},
        {"epoch": 3, "state": [1, 2]},
    ],
)
def test_unknown_weights_stay_unclaimed(weights, loader, spandrel):
    with pytest.raises(spandrel.UnsupportedModelError):
        loader.load_from_state_dict(weights)


def test_weights_of_spandrels_own_networks_stay_theirs(loader, spandrel):
    compact = importlib.import_module("spandrel.architectures.Compact.__arch.SRVGG")
    weights = compact.SRVGGNetCompact(num_feat=8, num_conv=2, upscale=2).state_dict()
    assert loader.load_from_state_dict(weights).architecture.id == "Compact"


def test_damaged_and_foreign_versions_say_what_is_wrong(loader):
    weights = msgnn().state_dict()
    del weights["head.0.bias"]
    with pytest.raises(RuntimeError, match=r"head\.0\.bias"):
        loader.load_from_state_dict(weights)
    weights = msgnn().state_dict() | {"hyper": torch.full((14,), 9)}
    with pytest.raises(ValueError, match="come from another version of msgnn_plugin"):
        loader.load_from_state_dict(weights)
    weights = NLCLGenerator(num_feat=4).state_dict()
    del weights["head.bias"]
    with pytest.raises(ValueError, match=r"must be complete, got.*head\.bias"):
        loader.load_from_state_dict(weights)


def test_code_in_a_file_is_still_refused(loader, tmp_path):
    class Code:
        def __reduce__(self):
            return eval, ("1 + 1",)

    torch.save(msgnn().state_dict() | {"extra": Code()}, tmp_path / "a.pth")
    with pytest.raises(Exception, match="forbidden"):
        loader.load_from_file(tmp_path / "a.pth")


@needs_spandrel
def test_installing_twice_is_harmless_and_serves_every_loader():
    install()
    install()
    spandrel = importlib.import_module("spandrel")
    assert all(name in spandrel.MAIN_REGISTRY for name in ("MSGNN", "NLCL", "UniRain"))
    assert spandrel.ModelLoader().load_from_state_dict(msgnn().state_dict()).architecture.name == "MSGNN"


def test_without_spandrel_the_remedy_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(ImportError, match=r"`spandrel` is not installed. Run `pip install 'msgnn_plugin\[spandrel\]'`"):
        install()


@pytest.fixture
def comfyui(spandrel, monkeypatch):
    """A stand-in for what the node takes from ComfyUI; returns the node's module and what it was asked."""
    asked = []
    management, utils = ModuleType("comfy.model_management"), ModuleType("comfy.utils")
    management.get_torch_device = lambda: torch.device("cpu")
    management.unload_all_models = lambda: asked.append("unload")
    utils.ProgressBar = lambda total: SimpleNamespace(update=lambda count: asked.append((count, total)))
    package = ModuleType("comfy")
    package.model_management, package.utils = management, utils
    for module in (package, management, utils):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return importlib.import_module("msgnn_plugin.adapters.comfyui"), asked


def test_the_node_of_comfyui_takes_whole_pictures(comfyui, spandrel):
    module, asked = comfyui
    node = module.NODE_CLASS_MAPPINGS["DerainImage"]()
    assert list(node.INPUT_TYPES()["required"].values()) == [("UPSCALE_MODEL",), ("IMAGE",)]
    network = perturbed(lambda: NLCLGenerator(num_feat=4, num_blocks=1))
    model = spandrel.ModelLoader().load_from_state_dict(network.state_dict())
    image = torch.rand(2, 530, 40, 4)
    (derained,) = getattr(node, node.FUNCTION)(model, image)
    with torch.inference_mode():
        expected = torch.cat([network(one[None]) for one in image[..., :3].movedim(-1, 1)]).clamp(0, 1).movedim(1, -1)
    torch.testing.assert_close(derained[..., :3], expected, rtol=0, atol=1e-5)
    assert torch.equal(derained[..., 3], image[..., 3])
    assert asked == ["unload", (1, 2), (1, 2)]
    (derained,) = node.derain(model.bfloat16(), image[:1, :9, :, :3])
    assert derained.shape == (1, 9, 40, 3)
    assert derained.dtype == torch.float32


def test_the_node_of_comfyui_refuses_what_enlarges(comfyui):
    node = comfyui[0].DerainImage()
    with pytest.raises(ValueError, match=r"`model` must keep the size of pictures, got one of scale 4; use"):
        node.derain(SimpleNamespace(scale=4), torch.rand(1, 4, 4, 3))


@needs_spandrel
def test_the_commands_of_the_page(page_commands, repository, tmp_path, monkeypatch, comfyui):
    monkeypatch.chdir(tmp_path)
    torch.save({"params": msgnn(num_feat=4).state_dict()}, "net_g_best.pth")
    blocks = re.findall(
        r"^ *```(\w*)\n(.*?)^ *```$", (repository / "docs/spandrel.md").read_text(), re.DOTALL | re.MULTILINE
    )
    commands = page_commands("spandrel.md")
    assert len(commands) == 2
    for arguments in commands:
        assert main(arguments) == 0
    assert load_weights("net_g_again.pth").keys() == {"params"}
    scripts = [block for kind, block in blocks if kind == "python"]
    assert len(scripts) == 2
    for script in scripts:
        names = {}
        exec(compile("\n".join(line.strip() for line in script.splitlines()), "docs/spandrel.md", "exec"), names)
        assert "derained" not in names or names["derained"].shape == (1, 3, 81, 121)
    assert "DerainImage" in names["NODE_CLASS_MAPPINGS"]
