"""A training by mmengine small enough for tests: the shipped small config, with a tiny network on made-up pictures."""

import secrets
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.hooks import Hook

from msgnn_plugin.adapters.mmengine import pipelines
from msgnn_plugin.adapters.mmengine.compat.checkpoint_loading import load_from_local
from tests.adapters.tiny_run import make_pairs

CONFIGS = Path(__file__).parents[2] / "options" / "mmengine"
NETWORK = {"num_feat": 4, "num_blocks": 1, "num_groups": 2, "scales": (1,), "num_neighbors": 2, "window_size": 3}
TINY = f"""
_base_ = {str(CONFIGS / "train_msgnn_rain800_cpu.py")!r}
model = dict(generator=dict({", ".join(f"{name}={value!r}" for name, value in NETWORK.items())}))
train_dataloader = dict(
    batch_size=2, num_workers=0, persistent_workers=False, dataset=dict(root="data/train", crop_size=12)
)
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(root="data/test"))
test_dataloader = val_dataloader
train_cfg = dict(max_iters=8, val_interval=4)
param_scheduler = dict(milestones=[5], end=8)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=2))
"""


class KillHook(Hook):
    """Stops a run amid an iteration, as Ctrl-C does."""

    def __init__(self, at: int) -> None:
        self.at = at

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if batch_idx == self.at:
            raise KeyboardInterrupt


def make_project(folder: Path) -> Path:
    """Write pairs and a config into a folder, which is to be the working directory; return the config."""
    make_pairs(folder / "data" / "train", 5)
    make_pairs(folder / "data" / "test", 2)
    config = folder / "tiny.py"
    config.write_text(TINY)
    return config


def make_rain800(folder: Path, count: int = 3) -> None:
    """Write pictures in Rain800's form, the clean half on the left, where the shipped configs look for them."""
    make_pairs(folder / "halves", count)
    for part in ("train", "test"):
        home = folder / "datasets" / "rain800" / part
        home.mkdir(parents=True)
        for number in range(1, count + 1):
            halves = [cv2.imread(str(folder / "halves" / side / f"{number}.png")) for side in ("norain", "rain")]
            cv2.imwrite(str(home / f"{number}.jpg"), np.concatenate(halves, axis=1))


def train(config: Path, work_dir: Path, *settings: str, resume: bool = False) -> None:
    # mmengine names a run by the second it began in, and runs of one name share their records.
    settings = [f"experiment_name=run_{secrets.token_hex(4)}", *settings]
    pipelines.train(str(config), settings=settings, work_dir=str(work_dir), resume=resume)


def read(path: Path) -> dict:
    return load_from_local(str(path), "cpu")


def assert_same(one, other, place="") -> None:
    """Compare nested states bit by bit."""
    assert type(one) is type(other), place
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), place
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), place
        for key in one:
            assert_same(one[key], other[key], f"{place}.{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), place
        for number, pair in enumerate(zip(one, other)):
            assert_same(*pair, f"{place}[{number}]")
    else:
        assert one == other, place
