"""A UniRain training small enough for tests: made-up rain of four types, a network of a few thousand weights."""

from pathlib import Path

from tests.adapters.tiny_run import METRICS, make_pairs, write_options

TYPES = ("drs", "drd", "nrs", "nrd")
NETWORK = {
    **{"type": "UniRainArch", "num_feat": 4, "num_blocks": [1, 1, 1, 1], "num_refinement": 1},
    **{"num_heads": [1, 1, 2, 2], "noise_std": 0.5},
}


def typed_options() -> dict:
    dataset = {"type": "TypedPairDataset"}
    return {
        "name": "tiny",
        "model_type": "UniRainModel",
        "num_gpu": 0,
        "manual_seed": 7,
        "network_g": dict(NETWORK),
        "datasets": {
            "train": {
                **dataset,
                **{"dataroot": "data/train", "gt_size": 16, "use_hflip": True},
                **{"batch_size_per_gpu": 4, "sampling": "balanced"},
            },
            "val": {**dataset, "name": "four", "dataroot": "data/test"},
        },
        "train": {
            "total_iter": 8,
            "optim_g": {"type": "AdamW", "lr": 1e-3, "weight_decay": 0.01},
            "scheduler": {"type": "CosineAnnealingRestartLR", "periods": [8], "eta_min": 1e-6},
            "pixel_opt": {"type": "L1Loss"},
            "ema_decay": 0.5,
            "balancing": {"mode": "paper", "window": 2, "freq": 1},
        },
        "val": {"val_freq": 4, "save_img": True, "input_metrics": True, "metrics": METRICS},
        "logger": {"print_freq": 1, "save_checkpoint_freq": 2},
    }


def make_typed_project(folder: Path, options: dict | None = None) -> Path:
    """Write four types of pairs, as many as their number, and options into a folder; return the option file."""
    for number, name in enumerate(TYPES, 1):
        for phase, count in (("train", number), ("test", 3 - number % 2)):
            home = folder / "data" / phase / name
            make_pairs(home, count)
            (home / "rain").rename(home / "input")
            (home / "norain").rename(home / "target")
    return write_options(folder / "options" / "tiny.yml", options or typed_options())
