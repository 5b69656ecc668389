"""Every mend next to the fault it is for, as the published package shows it in a process of its own."""

import importlib
import json
import os
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist

from msgnn_plugin.adapters import torchvision_operators
from msgnn_plugin.adapters.basicsr import compat, register
from msgnn_plugin.adapters.basicsr.compat import ddp_device, functional_tensor, init_dist
from tests.adapters.tiny_run import make_project, run, tiny_options, weights_of

without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="the fault shows only without a GPU")


@pytest.fixture(scope="module")
def stock(tmp_path_factory) -> dict:
    """What BasicSR as published does."""
    folder = tmp_path_factory.mktemp("stock")
    script = Path(__file__).with_name("stock_faults.py")
    done = subprocess.run(
        [sys.executable, str(script), str(folder)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULTS ")]
    assert lines, done.stdout + done.stderr
    return json.loads(lines[0].removeprefix("RESULTS "))


@pytest.fixture(scope="module", autouse=True)
def mended():
    register()


def test_every_mend_reports():
    rows = compat.status()
    assert len(rows) == 10
    assert all(state in ("applied", "not needed") for _, _, state in rows)


def test_applying_twice_is_harmless():
    before = importlib.import_module("basicsr.train").parse_options
    compat.apply()
    register()
    assert importlib.import_module("basicsr.train").parse_options is before


def test_torchvision_imports(stock):
    if stock["torchvision"] == "imported":
        pytest.skip("this torchvision can load its own library")
    assert "operator torchvision::nms does not exist" in stock["torchvision"]
    assert importlib.import_module("torchvision").__version__
    assert not torchvision_operators.needed()


def test_functional_tensor_is_found(stock):
    assert "No module named 'torchvision.transforms.functional_tensor'" in stock["functional_tensor"]
    assert importlib.import_module("torchvision.transforms.functional_tensor").rgb_to_grayscale
    assert not functional_tensor.needed()


def test_forced_options_are_data(stock, tmp_path, monkeypatch):
    assert stock["force_yml"] == "yes"
    monkeypatch.delenv("RAN", raising=False)
    code = "name=[__import__('os').environ.setdefault('RAN', 'yes')]"
    with pytest.raises((TypeError, ValueError), match=r"name|plain YAML"):
        run("train", make_project(tmp_path), "--force_yml", code)
    assert "RAN" not in os.environ


def test_both_spellings_of_local_rank(stock):
    assert stock["local_rank"].startswith("SystemExit")
    from msgnn_plugin.adapters.basicsr import arguments

    parser = arguments.argparse.ArgumentParser()
    arguments.add_arguments(parser)
    for spelling in ("--local-rank", "--local_rank"):
        assert parser.parse_args(["-opt", "x.yml", spelling, "1"]).local_rank == 1


def launched_alone(monkeypatch, processes: int) -> None:
    """Set what torchrun tells the first of so many processes."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    told = {"RANK": "0", "WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    for name, value in told.items():
        monkeypatch.setenv(name, value)


@without_gpu
def test_distributed_training_starts_without_gpu(stock, monkeypatch):
    assert stock["init_dist"].startswith("ZeroDivisionError")
    assert "CUDA" in stock["ddp_device"] or "NVIDIA" in stock["ddp_device"]
    launched_alone(monkeypatch, processes=1)
    init_dist.start("pytorch")
    try:
        assert dist.get_backend() == "gloo"
        assert learns_wrapped()
    finally:
        init_dist.leave()
    assert not dist.is_initialized()


def learns_wrapped() -> bool:
    """Whether a network with an empty buffer gets gradients as BasicSR wraps it here; nothing of it is left."""
    model = SimpleNamespace(opt={"dist": True}, device=torch.device("cpu"))
    net = torch.nn.Sequential(torch.nn.Linear(1, 1))
    net.register_buffer("empty", torch.zeros(0, 3, dtype=torch.uint8))
    wrapped = ddp_device.model_to_device(model, net)
    wrapped(torch.ones(1, 1)).sum().backward()
    return net[0].weight.grad is not None


def test_process_that_never_comes_is_told_of(monkeypatch):
    launched_alone(monkeypatch, processes=2)
    monkeypatch.setattr(init_dist, "JOIN_TIMEOUT", timedelta(seconds=1))
    with pytest.raises(
        ConnectionError, match=r"all 2 processes must meet at 127.0.0.1:\d+ within 1 seconds, got .*1/2"
    ):
        init_dist.start("pytorch")


def test_launcher_without_its_environment_is_one_sentence(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(ValueError, match="must be started by torchrun"):
        init_dist.start("pytorch")
    with pytest.raises(ValueError, match="must run inside srun"):
        init_dist.start("slurm")


@pytest.mark.parametrize(
    ("nodes", "first"), [("a", "a"), ("a,b", "a"), ("node[03-07,9],b", "node03"), ("n[1,4]", "n1"), ("a,n[1-2]", "a")]
)
def test_first_host_of_slurm(nodes, first):
    assert init_dist._first_host(nodes) == first


@without_gpu
def test_resume_finds_its_state_without_gpu_and_from_elsewhere(stock, tmp_path, monkeypatch):
    assert stock["resume_elsewhere"] is None
    assert "CUDA" in stock["resume_here"] or "NVIDIA" in stock["resume_here"]
    option_file = make_project(tmp_path)
    run("train", option_file, "--force_yml", "train:total_iter=2")
    monkeypatch.chdir("/")
    run("train", option_file, "--auto_resume", "--force_yml", "train:total_iter=4")
    assert not list((tmp_path / "experiments").glob("tiny_archived_*"))


def sampler_of(dataset: object, **opt: int) -> object:
    """Build the sampler by the name that BasicSR's training pipeline calls, for five pictures, thrice an epoch."""
    dataset.opt = {"batch_size_per_gpu": 4, **opt}
    return importlib.import_module("basicsr.train").EnlargedSampler(dataset, 1, 0, 3)


class Five:
    def __len__(self) -> int:
        return 5


class NumberedFive(Five):
    numbered_samples = True


def test_epochs_are_whole_and_go_on(stock):
    # 15 samples in batches of 4: the pipeline counts 4 iterations, the loader would give 3.
    assert len(stock["sampler"]) == 15
    assert len(list(sampler_of(Five()))) == 16
    whole = list(sampler_of(NumberedFive()))
    assert sorted(number for _, number in whole) == list(range(16))
    assert list(sampler_of(NumberedFive(), start_iteration=3)) == whole[12:]
    assert list(sampler_of(Five(), start_iteration=3)) == [index for index, _ in whole[12:]]


def test_checkpoints_run_no_code(stock, tmp_path, monkeypatch):
    assert stock["load_network"] == "yes"
    monkeypatch.delenv("LOADED", raising=False)
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")

    class Code:
        def __reduce__(self):
            return exec, ("import os; os.environ['LOADED'] = 'yes'",)

    torch.save({"params": {"weight": Code()}}, tmp_path / "code.pth")
    with pytest.raises(ValueError, match="refused"):
        run("train", make_project(tmp_path), "--force_yml", f"path:pretrain_network_g={tmp_path / 'code.pth'}")
    assert "LOADED" not in os.environ


def test_weights_of_another_shape_name_the_setting(tmp_path):
    option_file = make_project(tmp_path)
    run("train", option_file, "--force_yml", "train:total_iter=2")
    weights = tmp_path / "experiments/tiny/models/net_g_latest.pth"
    with pytest.raises(ValueError, match=r"do not fit `network_g`.*num_feat"):
        run(
            "train",
            option_file,
            "--force_yml",
            "name=wider",
            "network_g:num_feat=8",
            f"path:pretrain_network_g={weights}",
        )


def test_option_copy_is_whole(stock, tmp_path):
    assert "_base_" in stock["option_copy"]
    option_file = make_project(tmp_path)
    run("train", option_file, "--force_yml", "train:total_iter=2")
    assert "total_iter: 2" in (tmp_path / "experiments/tiny/tiny.yml").read_text()


def test_foreign_model_of_basicsr_still_runs(tmp_path):
    options = tiny_options()
    options["model_type"] = "SRModel"
    options["val"]["metrics"] = {"psnr": options["val"]["metrics"]["psnr"]}
    run("train", make_project(tmp_path, options), "--force_yml", "train:total_iter=4")
    assert weights_of(tmp_path, "net_g_4.pth")["params"]
