"""A training run small enough for tests: made-up rain on made-up pictures, a network of a few hundred weights."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import torch
import yaml

from msgnn_plugin.adapters.basicsr import arguments, pipelines

METRICS = {
    "psnr": {"type": "calculate_psnr", "crop_border": 0},
    "ssim": {"type": "calculate_ssim", "crop_border": 0},
}
NETWORK = {
    "type": "MSGNNArch",
    "num_feat": 4,
    "num_blocks": 1,
    "num_groups": 2,
    "scales": [1],
    "num_neighbors": 2,
    "window_size": 3,
}


def make_pairs(folder: Path, count: int, side: int = 24) -> None:
    """Write ``count`` pairs of smooth noise and the same with bright streaks."""
    generator = np.random.default_rng(count)
    for number in range(1, count + 1):
        clean = cv2.resize(generator.integers(0, 200, (4, 4, 3), dtype=np.uint8), (side, side))
        rainy = clean.copy()
        rainy[:, generator.integers(0, side, 5)] = 240
        for name, picture in (("norain", clean), ("rain", rainy)):
            path = folder / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), picture)


def tiny_options() -> dict:
    dataset = {"type": "PairedExemplarDataset"}
    return {
        "name": "tiny",
        "model_type": "MSGNNModel",
        "num_gpu": 0,
        "manual_seed": 7,
        "network_g": dict(NETWORK),
        "datasets": {
            "train": {
                **dataset,
                "dataroot": "data/train",
                "gt_size": 12,
                "use_hflip": True,
                "batch_size_per_gpu": 2,
                "dataset_enlarge_ratio": 1,
            },
            "val": {**dataset, "name": "first", "dataroot": "data/test"},
        },
        "train": {
            "total_iter": 8,
            "optim_g": {"type": "Adam", "lr": 1e-2},
            "scheduler": {"type": "MultiStepLR", "milestones": [5], "gamma": 0.1},
            "pixel_opt": {"type": "NegSSIMLoss"},
            "ema_decay": 0.5,
        },
        "val": {"val_freq": 4, "save_img": False, "metrics": METRICS},
        "logger": {"print_freq": 1, "save_checkpoint_freq": 2},
    }


def make_project(folder: Path, options: dict | None = None) -> Path:
    """Write data and options into a folder; return the option file."""
    make_pairs(folder / "data" / "train", 5)
    make_pairs(folder / "data" / "test", 2)
    return write_options(folder / "options" / "tiny.yml", options or tiny_options())


def write_options(path: Path, options: dict) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(options))
    return path


def measuring_options(weights: str = "experiments/tiny/models/net_g_latest.pth") -> dict:
    options = {key: value for key, value in tiny_options().items() if key in ("model_type", "num_gpu")}
    return options | {
        "name": "measured",
        "network_g": {"type": "MSGNNArch"},
        "datasets": {"test": {"type": "PairedExemplarDataset", "name": "first", "dataroot": "data/test"}},
        "path": {"pretrain_network_g": weights, "param_key_g": "params_ema"},
        "val": {"metrics": METRICS, "input_metrics": True},
    }


def run(command: str, option_file: Path, *more: str) -> None:
    """Run `basicsr train` or `basicsr test` in this process."""
    parser = arguments.argparse.ArgumentParser()
    arguments.add_arguments(parser)
    getattr(pipelines, command)(parser.parse_args(["-opt", str(option_file), *more]))


def start(command: str, option_file: Path, *more: str, processes: int = 1, cwd: Path | None = None) -> subprocess.Popen:
    """Start the command in processes of its own, in a process group that can be killed at once."""
    launcher = [sys.executable, "-m"]
    if processes > 1:
        launcher += ["torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", "-m"]
    command_line = [*launcher, "msgnn_plugin.cli", command, "-opt", str(option_file), *more]
    return subprocess.Popen(
        command_line,
        cwd=cwd,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def weights_of(project: Path, file: str = "net_g_latest.pth", name: str = "tiny") -> dict:
    return torch.load(project / "experiments" / name / "models" / file, weights_only=True)


def assert_same_weights(one: dict, other: dict) -> None:
    """Compare bit by bit."""
    for key in ("params", "params_ema"):
        assert one[key].keys() == other[key].keys()
        different = [name for name, value in one[key].items() if not torch.equal(value, other[key][name])]
        assert different == []
