"""The command itself: what it prints where something goes wrong."""

import os
import re
import subprocess
import sys

import pytest

from msgnn_plugin.cli import doctor
from msgnn_plugin.cli.main import main


def fail_in_a_worker(args):
    from torch.utils.data import DataLoader

    class Broken:
        def __len__(self):
            return 1

        def __getitem__(self, index):
            raise ValueError("Broken: `size` must be at least 64, got 3: choose another.")

    next(iter(DataLoader(Broken(), num_workers=1)))


def test_an_error_of_a_loaders_worker_is_one_sentence(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "run", fail_in_a_worker)
    assert main(["doctor"]) == 2
    error = capsys.readouterr().err
    assert error == "basicsr doctor: error: Broken: `size` must be at least 64, got 3: choose another.\n"


def test_an_interrupt_ends_quietly(monkeypatch, capsys):
    def interrupted(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "run", interrupted)
    assert main(["doctor"]) == 130
    assert capsys.readouterr().err == "basicsr doctor: interrupted.\n"


def test_a_fault_of_ours_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr(doctor, "run", lambda args: {}["missing"])
    with pytest.raises(KeyError):
        main(["doctor"])


@pytest.mark.parametrize(
    "arguments", [[], ["trian"], ["restore"], ["restore", "a.png", "-o", "out", "--device", "tpu"], ["data", "verfy"]]
)
def test_wrong_usage_is_one_sentence_and_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    assert exit_info.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"basicsr( \w+)?: error: .*; `basicsr( \w+)? --help` tells what there is\.", line)


def test_help_loads_no_torch_and_lets_waiting_threads_sleep():
    code = (
        "import sys, os; from msgnn_plugin.cli.main import build_parser; build_parser();"
        "assert 'torch' not in sys.modules; assert os.environ['OMP_WAIT_POLICY'] == 'PASSIVE'"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
