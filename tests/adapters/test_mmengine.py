"""mmengine's Runner with everything of ours in it: trains, measures, resumes, and takes MMagic's configs."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.hooks import EMAHook
from mmengine.registry import DATA_SAMPLERS, DATASETS, HOOKS, METRICS, MODELS, DefaultScope, Registry

import msgnn_plugin.adapters.mmengine.sampler as sampler_module
from msgnn_plugin.adapters.basicsr import register
from msgnn_plugin.adapters.basicsr.options import load_options
from msgnn_plugin.adapters.mmengine import pipelines
from msgnn_plugin.adapters.mmengine.registration import register_all
from msgnn_plugin.archs import MSGNNArch, from_state_dict
from msgnn_plugin.cli.main import main
from msgnn_plugin.data import PairedExemplarDataset
from tests.adapters import tiny_run
from tests.adapters.mmengine_run import (
    CONFIGS,
    NETWORK,
    KillHook,
    assert_same,
    make_project,
    make_rain800,
    read,
    train,
)

# What a stopped run leaves behind must equal the whole run's, bit by bit.
STATE = ("state_dict", "optimizer", "param_schedulers", "ema_state_dict")


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return make_project(tmp_path)


def scalars(work_dir) -> list[dict]:
    """What was logged, in all runs of a folder."""
    files = sorted(work_dir.glob("*/vis_data/scalars.json"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def test_everything_of_ours_is_in_the_root_registries():
    before = dict(MODELS.module_dict)
    register_all()
    assert MODELS.module_dict == before
    for registry, names in (
        (MODELS, "MSGNNArch NLCLGenerator NLCLDiscriminator UniRainArch GraphAggregator MSGNNModel DataPreprocessor"),
        (MODELS, "NegSSIMLoss L1Loss LocationContrastiveLoss LayerContrastiveLoss AsymmetricLayerContrastiveLoss"),
        (DATASETS, "PairedExemplarDataset SyntheticRainDataset TypedPairDataset SyntheticTypedDataset"),
        (DATASETS, "UnpairedRainDataset RainyExemplarDataset"),
        (DATA_SAMPLERS, "SampleNumberSampler"),
        (METRICS, "PSNR SSIM"),
        (HOOKS, "ExactResumeHook"),
    ):
        assert all(registry.get(name).__module__.startswith("msgnn_plugin.") for name in names.split())


def test_trains_validates_and_keeps_the_best(project, tmp_path):
    train(project, tmp_path / "run")
    names = {path.name for path in (tmp_path / "run").glob("*.pth")}
    validated = [row for row in scalars(tmp_path / "run") if "PSNR" in row]
    best = max(validated, key=lambda row: row["PSNR"])
    assert names == {"iter_4.pth", "iter_6.pth", "iter_8.pth", f"best_PSNR_iter_{best['step']}.pth"}
    assert [row["step"] for row in validated] == [4, 8]
    assert {"SSIM", "Y/PSNR", "Y/SSIM"} < set(best)
    losses = [row["loss"] for row in scalars(tmp_path / "run") if "loss" in row]
    assert len(losses) == 8
    # The steps of the learning rate are those of the config.
    rates = [row["lr"] for row in scalars(tmp_path / "run") if "lr" in row]
    assert rates == pytest.approx([1e-3] * 5 + [1e-4] * 3)


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_killed_run_resumes_bit_identically(project, tmp_path, workers, monkeypatch):
    loader = [f"train_dataloader.num_workers={workers}", f"train_dataloader.persistent_workers={workers > 0}"]
    averaged = "{'type': 'EMAHook', 'momentum': 0.5}"
    hooks = f"custom_hooks=[{{'type': 'ExactResumeHook'}}, {averaged}]"
    train(project, tmp_path / "whole", *loader, hooks)
    if "KillHook" not in HOOKS.module_dict:
        HOOKS.register_module(module=KillHook)
    # Iteration 5 lies amid the second pass through five pictures in batches of two; 4 was saved, 5 is lost.
    kill = "{'type': 'KillHook', 'at': 5}"
    with pytest.raises(KeyboardInterrupt):
        train(
            project, tmp_path / "broken", *loader, f"custom_hooks=[{{'type': 'ExactResumeHook'}}, {averaged}, {kill}]"
        )
    # The folder is moved, and the kill came while the newest checkpoint's name was noted down.
    shutil.move(tmp_path / "broken", tmp_path / "moved")
    (tmp_path / "moved" / "last_checkpoint").write_text("")
    read_indices = []
    getitem = PairedExemplarDataset.__getitem__
    monkeypatch.setattr(
        PairedExemplarDataset, "__getitem__", lambda self, item: read_indices.append(item) or getitem(self, item)
    )
    train(project, tmp_path / "moved", *loader, hooks, resume=True)
    whole, resumed = read(tmp_path / "whole/iter_8.pth"), read(tmp_path / "moved/iter_8.pth")
    for key in STATE:
        assert_same(whole[key], resumed[key], key)
    assert whole["message_hub"]["runtime_info"]["best_score"] == resumed["message_hub"]["runtime_info"]["best_score"]
    if workers == 0:
        # Nothing that was trained on is read again: four batches of two remain.
        assert [number for _, number in filter(lambda item: isinstance(item, tuple), read_indices)] == [*range(8, 16)]


def test_an_unseeded_run_goes_on_with_its_own_seed(project, tmp_path):
    train(project, tmp_path / "whole", "randomness.seed=None")
    shutil.copytree(tmp_path / "whole", tmp_path / "broken")
    (tmp_path / "broken" / "last_checkpoint").write_text("iter_4.pth")
    train(project, tmp_path / "broken", "randomness.seed=None", resume=True)
    assert_same(read(tmp_path / "whole/iter_8.pth")["state_dict"], read(tmp_path / "broken/iter_8.pth")["state_dict"])


@pytest.mark.slow
def test_two_hundred_iterations_on_rain800_resume_bit_identically(shared, tmp_path):
    config = tmp_path / "rain800.py"
    config.write_text(
        f"""
_base_ = {str(CONFIGS / "train_msgnn_rain800_cpu.py")!r}
model = dict(generator=dict({", ".join(f"{name}={value!r}" for name, value in NETWORK.items())}))
train_dataloader = dict(
    batch_size=1, dataset=dict(root={str(shared / "data/rain800/train")!r}, crop_size=24)
)
train_cfg = dict(max_iters=200, val_interval=1000)
param_scheduler = dict(milestones=[120, 160], end=200)
default_hooks = dict(checkpoint=dict(interval=100))
val_dataloader, val_evaluator, val_cfg = None, None, None
"""
    )
    train(config, tmp_path / "whole")
    (tmp_path / "half").mkdir()
    shutil.copy(tmp_path / "whole/iter_100.pth", tmp_path / "half")
    train(config, tmp_path / "half", resume=True)
    whole, resumed = read(tmp_path / "whole/iter_200.pth"), read(tmp_path / "half/iter_200.pth")
    for key in STATE[:3]:
        assert_same(whole[key], resumed[key], key)


def test_samples_are_the_same_for_any_number_of_processes(monkeypatch):
    class Numbered:
        numbered_samples = True

        def __len__(self):
            return 5

    def stream(rank, world_size, start=0, count=24):
        monkeypatch.setattr(sampler_module, "get_dist_info", lambda: (rank, world_size))
        sampler = sampler_module.SampleNumberSampler(Numbered(), seed=3)
        sampler.start = start
        samples = iter(sampler)
        return [next(samples) for _ in range(count)]

    alone = stream(0, 1)
    assert [number for _, number in alone] == [*range(24)]
    for epoch in range(4):
        assert sorted(index for index, _ in alone[5 * epoch : 5 * epoch + 5]) == [*range(5)]
    halves = [stream(rank, 2, count=12) for rank in (0, 1)]
    assert [sample for pair in zip(*halves) for sample in pair] == alone
    for start in (4, 5, 13):
        assert stream(0, 1, start, count=24 - start) == alone[start:]


def test_psnr_and_ssim_agree_with_basicsr_on_the_same_weights(project, tmp_path):
    torch.manual_seed(0)
    network = MSGNNArch(**NETWORK)
    torch.save({"params": network.state_dict()}, tmp_path / "weights.pth")
    tiny_run.make_pairs(tmp_path / "data" / "four", 4, side=31)
    measured = pipelines.test(
        str(project),
        str(tmp_path / "weights.pth"),
        settings=["test_dataloader.dataset.root=data/four"],
        work_dir=str(tmp_path / "run"),
    )
    options = tiny_run.measuring_options(str(tmp_path / "weights.pth"))
    options["manual_seed"] = 0
    options["path"]["param_key_g"] = "params"
    options["datasets"]["test"]["dataroot"] = "data/four"
    plain, luma = ({"crop_border": 0, "test_y_channel": luma} for luma in (False, True))
    options["val"]["metrics"] = {
        "PSNR": {"type": "calculate_psnr", **plain},
        "SSIM": {"type": "calculate_ssim", **plain},
        "Y/PSNR": {"type": "calculate_psnr", **luma},
        "Y/SSIM": {"type": "calculate_ssim", **luma},
    }
    tiny_run.run("test", tiny_run.write_options(tmp_path / "options" / "test.yml", options))
    table = (tmp_path / "results/measured/metrics/first.csv").read_text().splitlines()
    basicsr = dict(zip(table[0].split(",")[1:], map(float, table[-1].split(",")[1:])))
    for name, value in measured.items():
        assert value == pytest.approx(basicsr[name], abs=1e-3 if "PSNR" in name else 1e-4)


@pytest.mark.parametrize("border", [0, 3])
@pytest.mark.parametrize("luma", [False, True])
def test_metrics_are_basicsrs(make_pair, border, luma):
    register()
    from basicsr.metrics import calculate_psnr, calculate_ssim

    sample, pictures = {}, make_pair(4, size=(40, 37))
    for key, picture in zip(("gt_img", "pred"), pictures):
        sample[key] = torch.from_numpy(picture.transpose(2, 0, 1).copy()).float()
    # Predictions are rounded to 8 bits, as what is written to disk would be.
    sample["output"] = {"pred_img": sample.pop("pred") + 0.3}
    for kind, theirs, tolerance in (("PSNR", calculate_psnr, 1e-6), ("SSIM", calculate_ssim, 1e-6)):
        metric = METRICS.build({"type": kind, "crop_border": border, "convert_to": "Y" if luma else None})
        metric.process(None, [sample])
        bgr = [picture[:, :, ::-1] for picture in (pictures[1], pictures[0])]
        assert metric.results == [pytest.approx(theirs(*bgr, border, test_y_channel=luma), abs=tolerance)]


def test_metrics_of_odd_pictures():
    picture = torch.full((3, 8, 8), 7.0)
    psnr, ssim = METRICS.build({"type": "PSNR"}), METRICS.build({"type": "SSIM"})
    same = {"gt_img": picture, "output": {"pred_img": picture}}
    psnr.process(None, [same])
    assert psnr.compute_metrics(psnr.results) == {"PSNR": float("inf")}
    # Its window does not fit into the first one; the second one alone counts.
    ssim.process(None, [same])
    assert np.isnan(ssim.compute_metrics(ssim.results)["SSIM"])
    large = torch.rand(3, 20, 20) * 255
    ssim.process(None, [{"gt_img": large, "output": {"pred_img": large}}])
    assert ssim.compute_metrics(ssim.results)["SSIM"] == pytest.approx(1)
    with pytest.raises(ValueError, match=r"`gt_img` must have the shape \(8, 8, 3\), got \(8, 7, 3\)"):
        psnr.process(None, [{"gt_img": picture[:, :, 1:], "output": {"pred_img": picture}}])
    with pytest.raises(ValueError, match="`gt_img` must be in every sample to measure by"):
        psnr.process(None, [{"output": {"pred_img": picture}}])
    with pytest.raises(ValueError, match="`crop_border` must leave some of every picture, got 4"):
        METRICS.build({"type": "PSNR", "crop_border": 4}).process(None, [same])


def test_the_matlab_luma_is_rounded():
    # Y of (255, 255, 255) is 235, that of (1, 0, 0) is 16.257, rounded 16.
    clean, derained = torch.zeros(3, 4, 4), torch.zeros(3, 4, 4)
    derained[0] = 1
    values = {}
    for convert_to in ("Y", "Y-matlab"):
        metric = METRICS.build({"type": "PSNR", "convert_to": convert_to})
        metric.process(None, [{"gt_img": clean, "output": {"pred_img": derained}}])
        values[convert_to] = metric.results[0]
    assert values == {"Y": pytest.approx(20 * np.log10(255 / 0.256788), abs=1e-3), "Y-matlab": float("inf")}


# The model section of a config for MMagic's BaseEditModel, all of its keywords given.
MMAGIC_STYLE = {
    "type": "BaseEditModel",
    "generator": {"type": "MSGNNArch", **NETWORK},
    "pixel_loss": {"type": "L1Loss", "loss_weight": 1.0, "reduction": "mean"},
    "train_cfg": {},
    "test_cfg": {"metrics": ["PSNR"], "crop_border": 4},
    "data_preprocessor": {"type": "DataPreprocessor", "mean": [0.0, 0.0, 0.0], "std": [255.0, 255.0, 255.0]},
}


@pytest.mark.parametrize("scope", ["mmagic", "mmengine"])
def test_an_mmagic_config_switches_by_type_alone(scope):
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(scope):
        model = MODELS.build({**MMAGIC_STYLE, "type": "MSGNNModel"})
    assert isinstance(model.generator, MSGNNArch)
    check_modes(model)


def check_modes(model):
    """Three modes on a batch as MMagic's pipelines pack it: pixels in [0, 255], the clean one in the data sample."""
    from mmengine.structures import BaseDataElement

    generator = np.random.default_rng(0)
    rainy, clean = (torch.from_numpy(generator.integers(0, 256, (2, 3, 16, 13), dtype=np.uint8)) for _ in range(2))

    def batch():
        samples = [BaseDataElement(gt_img=picture, metainfo={"sample_idx": n}) for n, picture in enumerate(clean)]
        return {"inputs": list(rainy), "data_samples": samples}

    expected = model.generator(rainy / 255)
    data = model.data_preprocessor(batch(), training=True)
    losses = model(**data, mode="loss")
    assert losses.keys() == {"loss"}
    torch.testing.assert_close(losses["loss"], (expected - clean / 255).abs().mean())
    assert torch.equal(model(**data, mode="tensor"), expected)
    with torch.no_grad():
        predictions = model.val_step(batch())
    assert [sample.sample_idx for sample in predictions] == [0, 1]
    for number, sample in enumerate(predictions):
        torch.testing.assert_close(sample.output.pred_img, expected[number].detach().clamp(0, 1) * 255)
        torch.testing.assert_close(sample.input, rainy[number].float())
        assert torch.equal(sample.gt_img, clean[number])


def test_parts_are_sought_in_the_configs_own_scope_first():
    class L1Loss(torch.nn.Module):
        """Stands for the one of MMagic, whose registry is a child of mmengine's."""

        def __init__(self, loss_weight, reduction):
            super().__init__()

    child = Registry("model", parent=MODELS, scope="child_of_tests")
    child.register_module(module=L1Loss)
    child.register_module(name="DataPreprocessor", module=torch.nn.Identity)
    config = {key: value for key, value in MMAGIC_STYLE.items() if key != "data_preprocessor"}
    try:
        with DefaultScope.overwrite_default_scope("child_of_tests"):
            model = MODELS.build({**config, "type": "MSGNNModel"})
    finally:
        MODELS._children.pop("child_of_tests")
    assert isinstance(model.pixel_loss[0], L1Loss)
    assert isinstance(model.data_preprocessor, MODELS.get("DataPreprocessor"))


def test_takes_the_stacked_sample_that_mmagic_makes():
    from mmengine.structures import BaseDataElement

    class Stacked(BaseDataElement):
        def split(self):
            return [Stacked(gt_img=picture) for picture in self.gt_img]

    model = MODELS.build({**MMAGIC_STYLE, "type": "MSGNNModel"})
    rainy, clean = torch.rand(2, 3, 12, 12), torch.rand(2, 3, 12, 12)
    stacked = Stacked(gt_img=clean)
    loss = model(rainy, stacked, mode="loss")["loss"]
    torch.testing.assert_close(loss, (model.generator(rainy) - clean).abs().mean())
    predictions = model(rainy, stacked, mode="predict")
    assert [type(sample.output) for sample in predictions] == [Stacked, Stacked]


def test_mmagics_own_parts_around_the_model():
    try:
        from mmagic.models import DataPreprocessor
        from mmagic.registry import MODELS as MMAGIC_MODELS
    except Exception as error:  # its releases fail in many ways on today's libraries, not only by ImportError
        pytest.skip(f"mmagic cannot be imported: {type(error).__name__}: {error}")
    model = MMAGIC_MODELS.build({**MMAGIC_STYLE, "type": "MSGNNModel"})
    assert isinstance(model.data_preprocessor, DataPreprocessor)


def test_the_exemplar_reaches_the_network_and_sizes_may_differ():
    model = MODELS.build(
        {"type": "MSGNNModel", "generator": MMAGIC_STYLE["generator"], "pixel_loss": {"type": "L1Loss"}}
    )
    rainy, clean, exemplar = torch.rand(3, 20, 17), torch.rand(3, 20, 17), torch.rand(3, 15, 22)
    sample = {"lq": [rainy], "gt": [clean], "exemplar": [exemplar], "lq_path": ["1.png"]}
    with torch.no_grad():
        (prediction,) = model.val_step(sample)
        expected = model.generator(rainy[None], exemplar[None])[0].clamp(0, 1) * 255
        alone = model.generator(rainy[None])[0].clamp(0, 1) * 255
    torch.testing.assert_close(prediction.output.pred_img, expected, atol=1e-3, rtol=0)
    assert (prediction.output.pred_img - alone).abs().max() > 1e-2
    assert prediction.lq_path == "1.png"


def test_scales_and_unscales_by_channel():
    preprocessor = MODELS.build({"type": "DataPreprocessor", "mean": [10, 20, 30], "std": [2, 4, 8]})
    pixels = torch.randint(0, 256, (3, 5, 4)).float()
    batch = preprocessor({"inputs": [pixels], "data_samples": []})
    for channel, (mean, std) in enumerate(zip((10, 20, 30), (2, 4, 8))):
        torch.testing.assert_close(batch["inputs"][0, channel], (pixels[channel] - mean) / std)
    torch.testing.assert_close(preprocessor.destruct(batch["inputs"])[0], pixels)


def test_a_loss_that_is_not_finite_stops_before_the_update(project, tmp_path):
    with pytest.raises(RuntimeError, match="`loss_0_NegSSIMLoss` must be finite, got nan; stopped before the update"):
        train(project, tmp_path / "run", "optim_wrapper.optimizer.lr=1e20")


BAD = {
    "model.generator.type=MSGNNArh": "`generator.type` must be a registered name, got 'MSGNNArh'",
    "model.generator.num_fet=3": "`generator` does not fit MSGNNArch: .* unexpected keyword argument 'num_fet'",
    "model.generator.num_neighbors=0": "`num_neighbors` must be at least 1, got 0",
    "model.generator=3": "`generator` must be a dictionary with a `type`, got 3",
    "model.pixel_loss=[]": "`pixel_loss` must be a loss or a list of some, got an empty list",
    "model.data_preprocessor.std=[0, 1, 1]": r"`std` must be one or three numbers above 0, got \[0, 1, 1\]",
    "model.data_preprocessor.mean=[0, 1]": r"`mean` must be one or three numbers, got \[0, 1\]",
    "train_dataloader.dataset.root=nowhere": "`root` must be a folder of image pairs, got nowhere",
    "train_dataloader.dataset.crop_size=99": "must be at least crop_size = 99 pixels a side, got 24x24",
    "train_dataloader.sampler.type=InfiniteSampler": "`train_dataloader.sampler.type` must be SampleNumberSampler",
    "randomness.diff_rank_seed=True": "`randomness.diff_rank_seed` must be False, got True",
    "train_cfg.max_iter=5": "unexpected keyword argument 'max_iter'",
    "custom_hooks=[{'type': 'Foo'}]": "`type` of a hook must be a registered name, got 'Foo'",
    "val_evaluator=[{'type': 'PSNR', 'convert_to': 'y'}]": "`convert_to` must be 'Y', 'Y-matlab' or None, got 'y'",
    "val_evaluator=[{'type': 'SSIM', 'crop_border': -1}]": "SSIM: `crop_border` must be at least 0, got -1",
    "=3": "`--cfg-options` must be KEY=VALUE, got '=3'",
}


@pytest.mark.parametrize("setting", BAD)
def test_a_bad_config_is_told_in_one_sentence(project, tmp_path, capsys, setting):
    arguments = ["mmengine", "train", str(project), "--work-dir", str(tmp_path / "run"), "--cfg-options", setting]
    assert main(arguments) == 2
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("basicsr")]
    assert len(told) == 1
    assert re.match(f"basicsr mmengine: error: .*{BAD[setting]}", told[0])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "must be a file"),
        ("model = dict(", "must be a config of mmengine, got SyntaxError"),
        ("work_dir = 'run'", "`model` must be given, got nothing"),
        ("_base_ = 'none.py'", "none.py"),
    ],
)
def test_a_bad_config_file_is_told_in_one_sentence(tmp_path, capsys, content, told):
    config = tmp_path / "bad.py"
    if content is not None:
        config.write_text(content)
    assert main(["mmengine", "train", str(config)]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("basicsr")]
    assert told in line


def test_weights_travel_between_the_toolboxes(project, tmp_path, capsys):
    train(project, tmp_path / "run", "train_cfg.max_iters=2")
    checkpoint = tmp_path / "run/iter_2.pth"
    output = tmp_path / "weights.pth"
    assert main(["mmengine", "weights", str(checkpoint), "-o", str(output)]) == 0
    plain = torch.load(output, weights_only=True)
    trained = from_state_dict(plain).state_dict()
    assert_same(dict(trained), {n.removeprefix("generator."): v for n, v in read(checkpoint)["state_dict"].items()})
    # Weights to start from: one iteration without a step leaves them as they were.
    pipelines.train(
        str(project),
        settings=["train_cfg.max_iters=1", "optim_wrapper.optimizer.lr=0.0"],
        work_dir=str(tmp_path / "next"),
        weights=str(output),
    )
    assert_same(pipelines.read_generator(str(tmp_path / "next/iter_1.pth")), plain["params"])
    torch.save({"params": MSGNNArch(**{**NETWORK, "num_feat": 8}).state_dict()}, output)
    arguments = ["mmengine", "test", str(project), "--weights", str(output), "--work-dir", str(tmp_path / "run")]
    assert main(arguments) == 2
    assert "the weights do not fit `model.generator`: " in capsys.readouterr().err
    assert main(["mmengine", "weights", str(checkpoint), "-o", str(tmp_path / "weights.safetensors")]) == 0
    assert_same(pipelines.read_generator(str(tmp_path / "weights.safetensors")), plain["params"])
    assert main(["mmengine", "weights", str(checkpoint), "-o", str(tmp_path / "weights.txt")]) == 2
    assert "must end in .pth or .safetensors, got" in capsys.readouterr().err
    torch.save({"params": torch.nn.Linear(2, 2).state_dict()}, output)
    assert main(["mmengine", "weights", str(output), "-o", str(tmp_path / "none.pth")]) == 2
    assert "`state_dict` must hold weights of MSGNN" in capsys.readouterr().err
    assert not (tmp_path / "none.pth").exists()


@pytest.mark.parametrize("name", ["train_msgnn_rain800", "train_msgnn_rain800_cpu"])
def test_shipped_configs_say_what_the_option_files_say(name):
    config = Config.fromfile(CONFIGS / f"{name}.py")
    options = load_options(CONFIGS.parent / f"{name}.yml")
    generator = {
        key: list(value) if isinstance(value, tuple) else value for key, value in config.model.generator.items()
    }
    assert generator == options["network_g"]
    assert isinstance(MODELS.build(config.model).generator, MSGNNArch)
    training = options["train"]
    losses = config.model.pixel_loss if isinstance(config.model.pixel_loss, list) else [config.model.pixel_loss]
    wanted = [training["pixel_opt"], training.get("extra_pixel_opt")]
    assert [loss.type for loss in losses] == [loss["type"] for loss in wanted if loss]
    assert all(loss.get("loss_weight", 1.0) == 1.0 for loss in losses)
    optimizer = dict(config.optim_wrapper.optimizer)
    assert {**optimizer, "betas": list(optimizer["betas"])} == yaml.safe_load(json.dumps(training["optim_g"]))
    scheduler = config.param_scheduler
    assert scheduler.milestones == training["scheduler"]["milestones"]
    assert scheduler.gamma == training["scheduler"]["gamma"]
    assert config.train_cfg.max_iters == scheduler.end == training["total_iter"]
    assert config.train_cfg.val_interval == options["val"]["val_freq"]
    assert config.randomness.seed == options["manual_seed"]
    assert config.default_hooks.checkpoint.interval == options["logger"]["save_checkpoint_freq"]
    for loader, section in (("train_dataloader", "train"), ("val_dataloader", "val")):
        ours, theirs = config[loader], options["datasets"][section]
        assert (ours.dataset.root, ours.dataset.left) == (theirs["dataroot"], theirs["left"])
        assert ours.dataset.exemplar == theirs["exemplar"]
    dataset, section = config.train_dataloader.dataset, options["datasets"]["train"]
    assert (dataset.crop_size, dataset.flip, dataset.rotate) == tuple(
        section[k] for k in ("gt_size", "use_hflip", "use_rot")
    )
    assert config.train_dataloader.batch_size == section["batch_size_per_gpu"]
    assert config.train_dataloader.num_workers == section["num_worker_per_gpu"]


def test_the_commands_of_the_page_run(page_commands, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make_rain800(tmp_path)
    shutil.copytree(CONFIGS, tmp_path / "options" / "mmengine")
    smaller = [f"model.generator.{name}={value}" for name, value in NETWORK.items()]
    smaller += ["train_cfg.max_iters=2", "train_cfg.val_interval=2", "train_dataloader.dataset.crop_size=12"]
    smaller += ["train_dataloader.num_workers=0", "train_dataloader.persistent_workers=False"]
    for loader in ("val_dataloader", "test_dataloader"):
        smaller += [f"{loader}.num_workers=0", f"{loader}.persistent_workers=False"]
    commands = page_commands("mmengine.md")
    assert len(commands) >= 5
    for words in commands:
        if "photos/" in words:
            shutil.copytree("halves/rain", "photos", dirs_exist_ok=True)
        if words[:2] in (["mmengine", "train"], ["mmengine", "test"]):
            words = [*words, "--cfg-options", *smaller]
        # The names of checkpoints tell the iteration of the full schedule.
        words = [word.replace("iter_1000", "iter_2") for word in words]
        assert main(words) == 0, (words, capsys.readouterr().err)
    assert len(list((tmp_path / "cleaned").iterdir())) == 3


def test_the_python_of_the_page_runs(repository, project, tmp_path):
    page = (repository / "docs" / "mmengine.md").read_text()
    blocks = [part.partition("```")[0] for part in page.split("```python\n")[1:]]
    model = next(block for block in blocks if "BaseEditModel" in block)
    namespace = {}
    exec(model, namespace)
    assert isinstance(MODELS.build(namespace["model"]).generator, MSGNNArch)
    runner = next(block for block in blocks if "Runner" in block)
    exec(runner.replace("options/mmengine/train_msgnn_rain800_cpu.py", str(project)), {})
    assert EMAHook is HOOKS.get("EMAHook")
