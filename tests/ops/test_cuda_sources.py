"""The CUDA sources compile without a GPU or a CUDA build of torch; nobody gets the kernels before a GPU proves them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
REPORT = "import msgnn_plugin.ops; from msgnn_plugin import _extension; print(_extension.cuda_status())"
# As if torch had found a GPU.
WITH_GPU = "import torch; torch.cuda.is_available = lambda: True; "


@pytest.fixture
def package(tmp_path):
    """A copy of the ops beside which a library can be put."""
    home = tmp_path / "msgnn_plugin"
    shutil.copytree(ROOT / "msgnn_plugin/ops", home / "ops")
    for name in ("__init__.py", "_extension.py"):
        shutil.copy(ROOT / "msgnn_plugin" / name, home)
    return home


def report(package, code=REPORT, path="", **environment):
    environment = {"PYTHONPATH": str(package.parent), "PATH": path, **environment}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=package.parent, env=environment, capture_output=True, text=True, check=True
    )


def test_absent_kernels_say_what_builds_them(package):
    assert report(package).stdout.strip() == "not built (no nvcc)"
    nvcc = package.parent / "nvcc"
    nvcc.touch(mode=0o755)
    said = report(package, path=str(package.parent)).stdout.strip()
    assert said == "not built (MSGNN_BUILD_CUDA=1 builds them)"


def test_compiled_kernels_wait_to_be_asked_for(package):
    (package / "_cuda.so").write_bytes(b"no library")
    result = report(package, WITH_GPU + REPORT)
    assert result.stdout.strip() == "compiled, never run on a GPU, not registered (MSGNN_UNPROVEN_CUDA=1 loads them)"
    assert result.stderr == ""
    said = report(package, WITH_GPU + REPORT, MSGNN_UNPROVEN_CUDA="1", MSGNN_DISABLE_OPS="1").stdout
    assert said.strip() == "left out by MSGNN_DISABLE_OPS=1, plain PyTorch runs"


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is at hand")
def test_no_gpu_no_kernels(package):
    (package / "_cuda.so").write_bytes(b"no library")
    assert "but torch finds no GPU" in report(package, MSGNN_UNPROVEN_CUDA="1").stdout


def test_a_library_that_does_not_load_warns_once_with_the_reason(package):
    (package / "_cuda.so").write_bytes(b"no library")
    result = report(package, WITH_GPU + REPORT, MSGNN_UNPROVEN_CUDA="1")
    assert result.stderr.count("msgnn_plugin: CUDA kernels did not load, plain PyTorch runs instead: ") == 1
    assert result.stdout.startswith("built but not loadable (")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc")
def test_sources_compile_for_both_generations(package):
    """One library for sm_80 and sm_90; a CPU build of torch, which lacks the GPU's shims, refuses it and goes on."""
    build = [sys.executable, "setup.py", "build_cuda", "--build-lib", str(package.parent)]
    result = subprocess.run(build, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert ": warning" not in result.stderr
    code = (package / "_cuda.so").read_bytes()
    for generation in (b"sm_80", b"sm_90"):
        assert generation in code
    if torch.version.cuda is None:
        result = report(package, WITH_GPU + REPORT, MSGNN_UNPROVEN_CUDA="1")
        assert result.stdout.startswith("built but not loadable (")
        assert "undefined symbol: aoti_torch_get_current_cuda_stream" in result.stdout
