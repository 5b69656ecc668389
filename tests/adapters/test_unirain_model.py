"""UniRain inside BasicSR: the loss by type, its weights, metrics by type, exact resume, two processes."""

import copy
import csv
import logging

import pytest
import torch

from msgnn_plugin.adapters.basicsr import register
from msgnn_plugin.adapters.basicsr.options import plan_options
from msgnn_plugin.losses import MultiObjectiveBalancer
from tests.adapters.test_kill import finish
from tests.adapters.tiny_run import assert_same_weights, run, start, weights_of, write_options
from tests.adapters.unirain_run import TYPES, make_typed_project, typed_options


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def states_of(project, iteration):
    return torch.load(project / f"experiments/tiny/training_states/{iteration}.state", weights_only=True)


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A model that is ready to train."""
    register()
    option_file = make_typed_project(tmp_path)
    from basicsr.models import build_model

    opt = plan_options(option_file, None, tmp_path)
    opt |= {"is_train": True, "dist": False, "rank": 0, "world_size": 1}
    for phase, dataset in opt["datasets"].items():
        dataset |= {"phase": phase, "seed": 7}
    return build_model(opt)


def batch(count=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    lq, gt = torch.rand(2, count, 3, 16, 16, generator=generator)
    return {"lq": lq, "gt": gt, "type_id": torch.tensor([3, 0, 0, 1, 3, 0][:count])}


def test_trains_measures_by_type_and_tests(tmp_path):
    run("train", make_typed_project(tmp_path))
    home = tmp_path / "experiments/tiny"
    rows = table(home / "metrics/four/8.csv")
    counts = {"drs": 2, "drd": 3, "nrs": 2, "nrd": 3}
    assert [row["image"] for row in rows] == [f"{t}_{n}" for t in TYPES for n in range(1, counts[t] + 1)] + ["mean"]
    by_type = {row["type"]: row for row in table(home / "metrics/four/8_by_type.csv")}
    assert list(by_type) == [*TYPES, "mean"]
    for name in TYPES:
        own = [float(row["psnr"]) for row in rows if row["image"].startswith(name)]
        assert int(by_type[name]["images"]) == len(own) == counts[name]
        assert float(by_type[name]["psnr"]) == pytest.approx(sum(own) / len(own), abs=1e-5)
    mean = sum(float(by_type[name]["psnr"]) for name in TYPES) / 4
    # Of the types and not of the images; this is also what decides about the best weights.
    assert float(rows[-1]["psnr"]) == pytest.approx(mean, abs=1e-5) == float(by_type["mean"]["psnr"])
    assert weights_of(tmp_path, "net_g_best.pth")["best"]["value"] >= mean - 1e-4
    # Types share names, their pictures must not overwrite each other.
    assert {path.name for path in (home / "visualization").iterdir()} == {row["image"] for row in rows[:-1]}

    options = {
        **{"name": "measured", "model_type": "UniRainModel", "num_gpu": 0, "network_g": {"type": "UniRainArch"}},
        "datasets": {"test": {"type": "TypedPairDataset", "name": "four", "dataroot": "data/test"}},
        "path": {"pretrain_network_g": "experiments/tiny/models/net_g_latest.pth", "param_key_g": "params_ema"},
        "val": {"metrics": {"psnr": {"type": "calculate_psnr", "crop_border": 0}}, "save_img": False},
    }
    run("test", write_options(tmp_path / "options/test.yml", options))
    tested = table(tmp_path / "results/measured/metrics/four_by_type.csv")
    assert [row["psnr"] for row in tested] == [row["psnr"] for row in by_type.values()]


def test_loss_is_weighted_by_type(model):
    model.type_weights = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    data = batch()
    model.feed_data(data)
    model.net_g.eval()
    with torch.no_grad():
        errors = (model.net_g(data["lq"]) - data["gt"]).abs().mean((1, 2, 3))
    model.optimize_parameters(1)
    # Two samples of the fourth type, three of the first, one of the second, none of the third.
    expected = {"l_drs": 0.1 * errors[[1, 2, 5]].sum(), "l_drd": 0.2 * errors[3], "l_nrs": 0.0}
    expected |= {"l_nrd": 0.4 * errors[[0, 4]].sum()}
    for name, value in expected.items():
        # Training adds the routers' noise.
        assert model.log_dict[name] == pytest.approx(float(value) / 6, rel=0.02, abs=1e-9)
    assert model.log_dict["w_nrd"] > 0


def test_equal_weights_are_a_quarter_of_plain_l1(model):
    for module in model.net_g.modules():
        module.noise_std = 0.0
    data = batch()
    model.feed_data(data)
    with torch.no_grad():
        plain = (model.net_g(data["lq"]) - data["gt"]).abs().mean().item()
    model.optimize_parameters(1)
    assert sum(model.log_dict[f"l_{name}"] for name in TYPES) == pytest.approx(plain / 4, rel=1e-5)


def test_weights_follow_the_measured_losses(model):
    balancer = MultiObjectiveBalancer(window=2)
    for step in range(1, 5):
        model.feed_data(batch(seed=step))
        model.optimize_parameters(step)
        expected = balancer.update(model.type_losses())
        assert torch.equal(model.type_weights, expected)
    assert (expected - 0.25).abs().max() > 1e-4
    assert model.net_g.training


def test_type_losses_are_of_centre_crops(model):
    sums = {}
    from basicsr.data import build_dataset

    dataset = build_dataset(model.opt["datasets"]["val"])
    for sample in (dataset[i] for i in range(len(dataset))):
        lq, gt = (sample[key][None, :, 4:20, 4:20] for key in ("lq", "gt"))
        with torch.no_grad():
            loss = (model.net_g.eval()(lq) - gt).abs().mean().item()
        sums.setdefault(sample["type_id"], []).append(loss)
    expected = [sum(sums[number]) / len(sums[number]) for number in range(4)]
    assert model.type_losses().tolist() == pytest.approx(expected, rel=1e-5)


def test_type_losses_are_of_the_averaged_network_where_there_is_one(model):
    plain = model.type_losses()
    model.net_g_ema = copy.deepcopy(model.net_g).eval()
    for parameter in model.net_g.parameters():
        parameter.data.zero_()
    assert torch.equal(model.type_losses(), plain)
    assert not model.net_g_ema.training


def test_warns_once_of_experts_that_nobody_chooses(model, monkeypatch):
    said = []
    for level in ("info", "warning"):
        monkeypatch.setattr(logging.getLogger("basicsr"), level, said.append)
    mixture = model.net_g.refinement[-1].feed_forward
    with torch.no_grad():
        mixture.load.copy_(torch.tensor([0.98, 0.019, 0.001]))
        mixture.router.linear.bias.copy_(torch.tensor([50.0, 0.0, 0.0]))
    for step in (1, 2):
        model.feed_data(batch())
        model.optimize_parameters(step)
    warned = [line for line in said if "Router collapse" in line]
    assert len(warned) == 2
    assert "refinement.0, expert 1 gets less than 2%" in warned[0]
    assert model.log_dict["least_load"] < 0.001
    assert [line for line in said if line.startswith("Recent loads of the experts: encoder.0.0 0.3")]


def test_resumes_bit_identically_with_the_balancer(tmp_path):
    run("train", make_typed_project(tmp_path / "whole"))
    option_file = make_typed_project(tmp_path / "broken")
    for stop in (2, 6):
        run("train", option_file, "--auto_resume", "--force_yml", f"train:total_iter={stop}")
    run("train", option_file, "--auto_resume")
    assert_same_weights(weights_of(tmp_path / "whole"), weights_of(tmp_path / "broken"))
    one, other = states_of(tmp_path / "whole", 8)["balancer"], states_of(tmp_path / "broken", 8)["balancer"]
    assert one["losses"].shape == (8, 4)
    assert torch.equal(one["losses"], other["losses"])


def test_accumulation_equals_the_whole_batch(tmp_path):
    options = typed_options()
    options["network_g"]["noise_std"] = 0.0
    options["train"]["total_iter"] = 2
    run("train", make_typed_project(tmp_path / "one", options))
    options["train"]["accumulate"] = 2
    run("train", make_typed_project(tmp_path / "two", options))
    one, two = weights_of(tmp_path / "one")["params"], weights_of(tmp_path / "two")["params"]
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=1e-3, rtol=1e-2)


def test_trains_with_all_extras(tmp_path):
    options = typed_options()
    options |= {"channels_last": True}
    options["train"] |= {"amp": "bf16", "grad_clip": 1.0, "extra_pixel_opt": {"type": "NegSSIMLoss"}, "total_iter": 4}
    options["train"]["balancing"] = {"mode": "released", "window": 2, "warmup": 2, "freq": 1, "crop": 12, "limit": 1}
    options["datasets"]["train"] = {
        **{"type": "SyntheticTypedDataset", "dataroot": "data/train", "subset": "train", "gt_size": 16},
        "batch_size_per_gpu": 2,
    }
    run("train", make_typed_project(tmp_path, options))
    assert states_of(tmp_path, 4)["balancer"]["losses"].shape == (4, 4)


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path):
    options = typed_options()
    # Hard experts throughout: a process whose images never choose one must not stop the other.
    options["network_g"] |= {"noise_std": 0.0, "encoder_routing": "hard"}
    options["train"]["total_iter"] = 4
    finish(start("train", make_typed_project(tmp_path / "one", options)))
    options["datasets"]["train"]["batch_size_per_gpu"] = 2
    finish(start("train", make_typed_project(tmp_path / "two", options), processes=2))
    one, two = weights_of(tmp_path / "one")["params"], weights_of(tmp_path / "two")["params"]
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=1e-3, rtol=1e-2)
    losses = [states_of(tmp_path / name, 4)["balancer"]["losses"] for name in ("one", "two")]
    torch.testing.assert_close(*losses, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"datasets.train.type": "PairedExemplarDataset", "datasets.train.sampling": None}, "with types of rain"),
        ({"datasets.val.types": ["drs", "drd"]}, r"`datasets.val` must be a set of the types .* got one of \('drs'"),
        ({"datasets.val": None}, "`datasets.val` must be a set of the types .* got none"),
        ({"train.balancing.freq": None}, "`train.balancing.freq` must say every how many iterations"),
        ({"train.balancing.freq": 0}, "`train.balancing.freq` must be at least 1, got 0"),
        ({"train.balancing.window": 1}, "`window` must be at least 2, got 1"),
        ({"train.balancing.mode": "some"}, "`train.balancing.mode` must be one of paper, released"),
        ({"train.pixel_opt": None}, "`train.pixel_opt` must be given"),
        ({"datasets.train.gt_size": None}, "`train.balancing.crop` must be given"),
        ({"network_g.top_k": 9}, "`top_k` must be in"),
    ],
)
def test_refuses_options_before_anything_is_made(tmp_path, change, message):
    register()
    options = typed_options()
    for key, value in change.items():
        *path, last = key.split(".")
        section = options
        for part in path:
            section = section[part]
        section.pop(last, None) if value is None else section.update({last: value})
    option_file = make_typed_project(tmp_path, options)
    with pytest.raises((ValueError, TypeError), match=message):
        plan_options(option_file, None, tmp_path)
    assert not (tmp_path / "experiments").exists()
