"""How compiled ops are found: absent, broken, and required."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "msgnn_plugin"
CODE = "import msgnn_plugin.ops; from msgnn_plugin import _extension; print(_extension.status())"


@pytest.fixture
def run(tmp_path):
    """Import a copy of the ops beside which a library can be put."""
    home = tmp_path / "msgnn_plugin"
    home.mkdir()
    shutil.copytree(PACKAGE / "ops", home / "ops")
    for name in ("__init__.py", "_extension.py"):
        shutil.copy(PACKAGE / name, home)

    def call(library: bytes | None, required: str, disabled: str = "0") -> subprocess.CompletedProcess:
        if library is not None:
            (home / "_C.so").write_bytes(library)
        switches = {"MSGNN_REQUIRE_OPS": required, "MSGNN_DISABLE_OPS": disabled}
        environment = {"PYTHONPATH": str(tmp_path), "PATH": "", **switches}
        return subprocess.run(
            [sys.executable, "-c", CODE], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    return call


def test_absent_ops_are_no_fault(run):
    result = run(None, "0")
    assert result.returncode == 0
    assert result.stdout.strip() == "not built, plain PyTorch runs"
    assert "did not load" not in result.stderr


def test_a_broken_library_warns_once_with_the_reason(run):
    result = run(b"no library", "0")
    assert result.returncode == 0
    assert result.stderr.count("compiled ops did not load, plain PyTorch runs instead") == 1
    assert "built but not loadable" in result.stdout


@pytest.mark.parametrize("library", [None, b"no library"])
def test_required_ops_that_do_not_load_are_an_error(run, library):
    result = run(library, "1")
    assert result.returncode != 0
    assert "ImportError: msgnn_plugin: compiled ops must" in result.stderr


def test_disabled_ops_are_not_even_opened(run):
    result = run(b"no library", "0", disabled="1")
    assert result.returncode == 0
    assert result.stdout.strip() == "left out by MSGNN_DISABLE_OPS=1, plain PyTorch runs"
    assert "did not load" not in result.stderr


def test_ops_cannot_be_both_required_and_disabled(run):
    result = run(b"no library", "1", disabled="1")
    assert result.returncode != 0
    assert "ImportError: msgnn_plugin: `MSGNN_DISABLE_OPS` must not be 1 with MSGNN_REQUIRE_OPS=1" in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("op", ["patch_difference", "patch_aggregate", "self_similar"])
def test_plain_pytorch_passes_the_tests_of_the_compiled_ops(op):
    command = [sys.executable, "-m", "pytest", "-q", f"tests/ops/test_{op}.py"]
    environment = {**os.environ, "MSGNN_DISABLE_OPS": "1", "MSGNN_REQUIRE_OPS": "0", "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, cwd=PACKAGE.parent, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
