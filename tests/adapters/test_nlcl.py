"""NLCL's training: who learns, exact resume, what is logged, kept and refused."""

import copy
from itertools import pairwise

import cv2
import numpy as np
import pytest
import torch

from msgnn_plugin.adapters.basicsr import pipelines, register
from tests.adapters.tiny_run import make_project, run, write_options

GENERATOR = {"type": "NLCLGenerator", "num_feat": 4, "num_blocks": 2}


def nlcl_options(**train) -> dict:
    return {
        "name": "tiny",
        "model_type": "NLCLModel",
        "num_gpu": 0,
        "manual_seed": 7,
        "network_g": dict(GENERATOR),
        "network_r": dict(GENERATOR),
        "network_d": {"type": "NLCLDiscriminator", "num_feat": 2},
        "datasets": {
            "train": {
                "type": "UnpairedRainDataset",
                "dataroot_lq": "data/train",
                "dataroot_clean": "data/clean",
                "gt_size": 40,
                "batch_size_per_gpu": 2,
                "dataset_enlarge_ratio": 1,
            },
            "val": {"type": "PairedExemplarDataset", "name": "first", "dataroot": "data/test"},
        },
        "train": {
            "total_iter": 4,
            "optim_g": {"type": "Adam", "lr": 1e-3, "betas": [0.5, 0.999]},
            "scheduler": {"type": "LinearDecayLR", "constant": 2, "decay": 4},
            "location_opt": {"type": "LocationContrastiveLoss", "num_patches": 16},
            "location_places": [0, 2],
            "layer_opt": {"type": "LayerContrastiveLoss", "num_background": 3, "num_rain": 9},
            "dimension_freq": 2,
            "ema_decay": 0.5,
            **train,
        },
        "val": {"val_freq": 2, "save_img": False, "metrics": {"psnr": {"type": "calculate_psnr", "crop_border": 0}}},
        "logger": {"print_freq": 1, "save_checkpoint_freq": 1},
    }


def make_nlcl_project(folder, options=None):
    generator = np.random.default_rng(0)
    (folder / "data/clean").mkdir(parents=True)
    for number in range(3):
        picture = cv2.resize(generator.integers(0, 255, (6, 6, 3), dtype=np.uint8), (50, 44))
        cv2.imwrite(str(folder / f"data/clean/{number}.png"), picture)
    return make_project(folder, options or nlcl_options())


def contents(folder, iteration):
    """Return every tensor that a checkpoint holds, by file and name."""
    home = folder / "experiments/tiny"
    found = {}
    for label in "grd":
        for key, weights in torch.load(home / f"models/net_{label}_{iteration}.pth", weights_only=True).items():
            found |= {f"{label} {key} {name}": value for name, value in weights.items()}
    state = torch.load(home / f"training_states/{iteration}.state", weights_only=True)
    found |= {f"heads {name}": value for name, value in state["heads"].items()}
    found |= {
        f"optimizer {n} {p} {k}": v
        for n, o in enumerate(state["optimizers"])
        for p, s in o["state"].items()
        for k, v in s.items()
    }
    return found | {f"loss {name}": value for name, value in state["layer_loss"].items()}


def unchanged(before, after):
    return {name for name, value in before.items() if torch.equal(value, after[name])}


def parts(names):
    """Return "g", "r", "d", "heads.location", ...: the first words of names of weights."""
    return {name.split(".")[0].replace("heads ", "heads.") if name.startswith("heads") else name[0] for name in names}


@pytest.mark.parametrize("faults", [False, True])
def test_every_network_and_head_learns_but_the_released_faults(tmp_path, faults):
    run("train", make_nlcl_project(tmp_path, nlcl_options(official_faults=faults)))
    steps = [contents(tmp_path, iteration) for iteration in (1, 2, 3)]
    learning = [name for name in steps[0] if name[:2] in ("g ", "r ", "d ") or name.startswith("heads")]
    for before, after in pairwise(steps):
        # A convolution's bias in front of an instance norm has no effect and so no gradient worth the name.
        same = {name for name in unchanged(before, after) if name in learning and name.endswith("weight")}
        assert parts(same) == ({"heads.location", "heads.background"} if faults else set())
    assert parts(learning) == {"g", "r", "d", "heads.location", "heads.background", "heads.rain"}


def test_resumes_bit_identically(tmp_path):
    options = nlcl_options(
        layer_opt={"type": "AsymmetricLayerContrastiveLoss", "num_background": 3, "num_rain": 9, "direction": "auto"}
    )
    run("train", make_nlcl_project(tmp_path / "whole", options))
    option_file = make_nlcl_project(tmp_path / "broken", copy.deepcopy(options))
    for stop in (1, 3, 4):
        run("train", option_file, "--auto_resume", "--force_yml", f"train:total_iter={stop}")
    whole, broken = contents(tmp_path / "whole", 4), contents(tmp_path / "broken", 4)
    assert whole.keys() == broken.keys()
    assert unchanged(whole, broken) == whole.keys()


def test_layers_dimensions_are_logged_and_turn_the_asymmetric_loss(tmp_path, monkeypatch):
    register()
    from msgnn_plugin.adapters.basicsr import nlcl_model

    found = []

    def measure(background, rain, *, seed):
        assert background.shape == rain.shape == (2, 3, 40, 40)
        found.append(seed)
        return 3.0, 5.0

    monkeypatch.setattr(nlcl_model, "layer_dimensions", measure)
    layer = {"type": "AsymmetricLayerContrastiveLoss", "num_background": 3, "num_rain": 9, "direction": "auto"}
    run("train", make_nlcl_project(tmp_path, nlcl_options(layer_opt=layer)))
    assert len(found) == 2
    state = torch.load(tmp_path / "experiments/tiny/training_states/4.state", weights_only=True)
    assert state["dimensions"] == pytest.approx([3, 5])
    assert state["layer_loss"]["exchanged"]
    log = next((tmp_path / "experiments/tiny").glob("*.log")).read_text()
    assert "dimension_background: 3.0000e+00 dimension_rain: 5.0000e+00" in log


@pytest.mark.parametrize(
    ("left_out", "gone"),
    [
        ({"adversarial_weight": 0}, "l_adversarial"),
        ({"location_opt": None}, "l_location"),
        ({"layer_opt": None}, "l_layer"),
        ({"consistency_weight": 0}, "l_consistency"),
        ({"sparsity_weight": 0}, "l_sparsity"),
    ],
)
def test_each_term_can_be_left_out(tmp_path, left_out, gone):
    run("train", make_nlcl_project(tmp_path, nlcl_options(total_iter=1, **left_out)))
    log = next((tmp_path / "experiments/tiny").glob("*.log")).read_text()
    terms = {"l_adversarial", "l_location", "l_layer", "l_consistency", "l_sparsity"}
    assert {term for term in terms if f"{term}: " in log} == terms - {gone}
    assert ("d_made: " in log) == (gone != "l_adversarial")


def test_the_intended_feature_layers_and_half_precision(tmp_path):
    options = nlcl_options(layer_features="intended", amp="bf16", grad_clip=1.0)
    options["channels_last"] = True
    run("train", make_nlcl_project(tmp_path, options))
    heads = [
        name for name in contents(tmp_path, 4) if name.startswith("heads background") or "background.heads" in name
    ]
    assert len(heads) == 16
    state = torch.load(tmp_path / "experiments/tiny/training_states/4.state", weights_only=True)
    widths = [state["heads"][f"background.heads.{number}.0.weight"].shape[1] for number in range(4)]
    assert widths == [2, 4, 8, 16]


def test_terms_are_the_sheets(tmp_path):
    """One iteration beside the formulas, written out with autograd and nothing of the model's."""
    register()
    from basicsr.models import build_model

    from msgnn_plugin.adapters.basicsr.options import complete_options

    options = nlcl_options(location_opt=None, layer_opt=None, dimension_freq=0, ema_decay=0)
    opt = complete_options(make_nlcl_project(tmp_path, options))
    opt |= {"is_train": True, "dist": False, "rank": 0, "world_size": 1}
    opt["path"] |= {"training_states": str(tmp_path), "models": str(tmp_path)}
    with pipelines._left_clean():  # BasicSR's logger, which this opens without a file
        model = build_model(opt)
    back, rain, critic = (copy.deepcopy(net) for net in (model.net_g, model.net_r, model.net_d))
    generator = torch.Generator().manual_seed(1)
    batch = {key: torch.rand(2, 3, 40, 40, generator=generator) for key in ("lq", "clean")}
    model.feed_data(batch)
    model.optimize_parameters(1)

    rainy, clean = (2 * batch[key] - 1 for key in ("lq", "clean"))
    made = back.translate(rainy)
    judged = 0.5 * (critic.judge(made.detach()).square().mean() + (critic.judge(clean) - 1).square().mean())
    judge_step = torch.optim.Adam(critic.parameters(), 1e-3, (0.5, 0.999))
    judged.backward()
    judge_step.step()
    loss = (critic.judge(made) - 1).square().mean()
    loss = loss + (made + rain.translate(rainy) - rainy).square().mean() + 0.1 * (rainy - made).abs().mean()
    step = torch.optim.Adam([*back.parameters(), *rain.parameters()], 1e-3, (0.5, 0.999))
    step.zero_grad()
    loss.backward()
    step.step()
    total = sum(model.log_dict[f"l_{name}"] for name in ("adversarial", "consistency", "sparsity"))
    assert total == pytest.approx(loss.item(), rel=1e-5)
    for ours, expected in ((model.net_g, back), (model.net_r, rain), (model.net_d, critic)):
        for (name, value), other in zip(ours.named_parameters(), expected.parameters()):
            if "stem" in name or "head" in name or "convs.4" in name:
                torch.testing.assert_close(value, other, atol=2e-5, rtol=1e-3)


def test_learning_rate_falls_linearly(tmp_path):
    run("train", make_nlcl_project(tmp_path, nlcl_options(total_iter=6, location_opt=None, dimension_freq=0)))
    log = next((tmp_path / "experiments/tiny").glob("*.log")).read_text()
    rates = [line.split("lr:(")[1].split(",")[0] for line in log.splitlines() if "lr:(" in line]
    assert rates == ["1.000e-03"] * 3 + ["7.500e-04", "5.000e-04", "2.500e-04"]


def test_weights_derain_by_the_test_pipeline(tmp_path):
    run("train", make_nlcl_project(tmp_path))
    weights = "experiments/tiny/models/net_g_latest.pth"
    options = {key: value for key, value in nlcl_options().items() if key in ("model_type", "num_gpu")} | {
        "name": "measured",
        "network_g": {"type": "NLCLGenerator"},
        "datasets": {"test": {"type": "PairedExemplarDataset", "name": "first", "dataroot": "data/test"}},
        "path": {"pretrain_network_g": weights, "param_key_g": "params_ema"},
        "val": {"metrics": nlcl_options()["val"]["metrics"]},
    }
    run("test", write_options(tmp_path / "options/test.yml", options))
    tested = (tmp_path / "results/measured/metrics/first.csv").read_text()
    assert tested == (tmp_path / "experiments/tiny/metrics/first/4.csv").read_text()


@pytest.mark.parametrize(
    ("forced", "words"),
    [
        ("train:location_places=[0,3]", r"location_places` must be increasing numbers in \[0, 2\].* got \[0, 3\]"),
        ("train:official_faults=1", "official_faults` must be true or false, got 1"),
        ("train:layer_features=all", "layer_features` must be one of official, intended, got 'all'"),
        ("network_r=none", "`network_r` must be given for training, got nothing"),
        ("train:sparsity_wieght=1", "unknown key `train.sparsity_wieght`. Did you mean `train.sparsity_weight`"),
        ("network_d:num_feat=0", "`network_d`: .*num_feat` must be at least 1, got 0"),
    ],
)
def test_wrong_options_are_named(tmp_path, forced, words):
    with pytest.raises((ValueError, TypeError), match=words):
        run("train", make_nlcl_project(tmp_path), "--force_yml", forced)
