"""Every option file that ships is right: it parses, validates, and its network builds and runs."""

from pathlib import Path

import pytest
import torch

from msgnn_plugin.adapters.basicsr import register
from msgnn_plugin.adapters.basicsr.components import registered
from msgnn_plugin.adapters.basicsr.options import load_options

OPTIONS = Path(__file__).parents[2] / "options"
FILES = sorted(path for path in OPTIONS.rglob("*.yml") if "_base_" not in path.parts and "mmengine" not in path.parts)
TRAINING = [path for path in FILES if path.name.startswith("train")]


@pytest.fixture(scope="module", autouse=True)
def mended():
    register()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_option_file_validates_and_its_network_runs(path):
    opt = load_options(path)
    # A run is told by its name; files that share one would put each other aside.
    assert opt["name"] == path.stem
    settings = dict(opt["network_g"])
    arch = registered("arch")[settings.pop("type")]
    net = arch(**{**settings, "num_feat": 8})
    assert net(torch.rand(1, 3, 16, 20)).shape == (1, 3, 16, 20)


@pytest.mark.parametrize("path", TRAINING, ids=lambda path: path.stem)
def test_learning_rate_falls_at_three_and_four_fifths(path):
    train = load_options(path)["train"]
    assert train["scheduler"]["milestones"] == [train["total_iter"] * 3 // 5, train["total_iter"] * 4 // 5]


def test_full_trainings_are_the_papers():
    for name, pairs in (("rain200h", 1800), ("rain800", 700)):
        opt = load_options(OPTIONS / f"train_msgnn_{name}.yml")
        assert opt["network_g"].keys() >= {"num_feat", "num_blocks", "num_groups", "scales", "window_size"}
        built = registered("arch")["MSGNNArch"]
        assert {key: built.__init__.__kwdefaults__[key] for key in opt["network_g"] if key != "type"} == {
            key: tuple(value) if key == "scales" else value for key, value in opt["network_g"].items() if key != "type"
        }
        dataset = opt["datasets"]["train"]
        assert (dataset["batch_size_per_gpu"], dataset["gt_size"]) == (8, 64)
        assert opt["train"]["optim_g"]["lr"] == 5e-4
        assert opt["train"]["total_iter"] * 8 == pairs * 500


def test_small_training_leaves_out_the_shared_background():
    opt = load_options(OPTIONS / "train_msgnn_rain200h_cpu.yml")
    assert opt["datasets"]["train"]["exclude"] == ["norain-1"]
    assert opt["num_gpu"] == 0
