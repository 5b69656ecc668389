"""A run that is killed at any moment and resumed ends exactly like one that was not."""

import contextlib
import os
import random
import signal
import subprocess
import time

import pytest
import torch

from tests.adapters.tiny_run import (
    assert_same_weights,
    make_project,
    measuring_options,
    start,
    tiny_options,
    weights_of,
    write_options,
)

pytestmark = pytest.mark.slow
ITERATIONS = 60


def options() -> dict:
    options = tiny_options()
    options["train"]["total_iter"] = ITERATIONS
    options["train"]["scheduler"]["milestones"] = [30, 45]
    # A checkpoint at every iteration, so that many kills fall into the writing of one.
    options["logger"]["save_checkpoint_freq"] = 1
    options["val"]["val_freq"] = 7
    options["datasets"]["train"]["dataset_enlarge_ratio"] = 3
    return options


def finish(process: subprocess.Popen) -> None:
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output


def kill_group(process: subprocess.Popen) -> None:
    """SIGKILL the launcher, its ranks and their loader workers at once."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)


@pytest.mark.parametrize(("processes", "workers"), [(1, 0), (1, 2), (2, 0), (2, 2)])
def test_killed_five_times_ends_bit_identically(tmp_path, processes, workers):
    forced = ["--force_yml", f"datasets:train:num_worker_per_gpu={workers}"]
    if processes == 2:
        forced.append("datasets:train:batch_size_per_gpu=1")
    finish(start("train", make_project(tmp_path / "whole", options()), *forced, processes=processes))

    option_file = make_project(tmp_path / "killed", options())
    states = tmp_path / "killed/experiments/tiny/training_states"
    moments = random.Random(processes * 10 + workers)
    (tmp_path / "elsewhere").mkdir()
    for number in range(1, 6):
        process = start("train", option_file, "--auto_resume", *forced, processes=processes, cwd=tmp_path / "elsewhere")
        wanted = number * ITERATIONS // 7
        while newest(states) < wanted and process.poll() is None:
            time.sleep(0.002)
        assert process.poll() is None, process.communicate()[0]
        time.sleep(moments.uniform(0, 0.15))
        kill_group(process)
        for file in (*states.glob("*.state"), *(states.parent / "models").glob("*.pth")):
            torch.load(file, weights_only=True)
    finish(start("train", option_file, "--auto_resume", *forced, processes=processes, cwd=tmp_path / "elsewhere"))

    assert_same_weights(weights_of(tmp_path / "whole"), weights_of(tmp_path / "killed"))
    best = [weights_of(tmp_path / name, "net_g_best.pth") for name in ("whole", "killed")]
    assert_same_weights(*best)
    assert best[0]["best"] == best[1]["best"]
    left = [path.name for path in (states.parent / "models").iterdir() if path.name.startswith(".")]
    assert left == []
    # One experiment, never put aside and begun anew.
    assert [path.name for path in (tmp_path / "killed/experiments").iterdir()] == ["tiny"]


def test_two_processes_equal_one(tmp_path):
    finish(start("train", make_project(tmp_path / "one", options()), "--force_yml", "train:total_iter=3"))
    forced = ["--force_yml", "train:total_iter=3", "datasets:train:batch_size_per_gpu=1"]
    finish(start("train", make_project(tmp_path / "two", options()), *forced, processes=2))
    one, two = weights_of(tmp_path / "one")["params"], weights_of(tmp_path / "two")["params"]
    for name, value in one.items():
        # The same samples, summed in another order.
        torch.testing.assert_close(two[name], value, atol=1e-3, rtol=1e-2)


def newest(states) -> int:
    return max((int(path.stem) for path in states.glob("*.state") if path.stem.isdigit()), default=0)


BREAKING_LOSS = '''
"""A loss that is not finite in the second process alone, from its third call on."""

import os

from basicsr.utils.registry import LOSS_REGISTRY
from torch import nn


@LOSS_REGISTRY.register()
class BreakingLoss(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, derained, clean):
        self.calls += 1
        broken = self.calls > 2 and os.environ["RANK"] == "1"
        return (derained - clean).abs().mean() * (float("nan") if broken else 1)
'''


def test_a_loss_that_breaks_in_one_process_stops_both(tmp_path, monkeypatch):
    (tmp_path / "breaking.py").write_text(BREAKING_LOSS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    broken = options() | {"plugins": ["breaking"]}
    broken["train"]["pixel_opt"] = {"type": "BreakingLoss"}
    process = start("train", make_project(tmp_path, broken), processes=2)
    output, _ = process.communicate(timeout=300)
    assert process.returncode != 0
    assert "`l_pix` must be finite, got nan at iteration 3" in output
    assert newest(tmp_path / "experiments/tiny/training_states") == 2


def test_tests_in_two_processes(tmp_path):
    finish(start("train", make_project(tmp_path, options()), "--force_yml", "train:total_iter=2"))
    test_file = write_options(tmp_path / "options/test.yml", measuring_options())
    finish(start("test", test_file, processes=2))
    assert (tmp_path / "results/measured/metrics/first.csv").read_text().count("\n") == 4
