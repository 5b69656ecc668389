"""`basicsr lmdb` as a user types it."""

import resource
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
import torch

from msgnn_plugin.data import PairedExemplarDataset


def _command(*arguments):
    code = (
        "import argparse, sys; from msgnn_plugin.cli import lmdb;"
        "parser = argparse.ArgumentParser(); lmdb.add_arguments(parser); sys.exit(lmdb.run(parser.parse_args()))"
    )
    return [sys.executable, "-c", code, *map(str, arguments)]


def _run(*arguments):
    return subprocess.run(_command(*arguments), capture_output=True, text=True, timeout=120, check=False)


def _write_set(folder, count=3, size=(8, 12)):
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for number in range(count):
        image = generator.integers(256, size=(*size, 3), dtype=np.uint8)
        (folder / f"{number}.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())
    return folder


def _same(one, other):
    return all(torch.equal(one[key], other[key]) for key in ("lq", "gt", "exemplar"))


def test_builds_a_cache(tmp_path):
    root = _write_set(tmp_path / "set")
    done = _run(root, "-o", tmp_path / "set.lmdb", "--left", "rainy")
    assert done.returncode == 0
    assert done.stdout == f"{tmp_path / 'set.lmdb'}: 3 pairs in lq.lmdb and gt.lmdb.\n"
    assert "3/3" in done.stderr
    files, cached = PairedExemplarDataset(root=root, left="rainy"), PairedExemplarDataset(root=tmp_path / "set.lmdb")
    assert all(_same(files[place], cached[place]) for place in range(3))


def test_two_folders_and_exclude(tmp_path):
    _write_set(tmp_path / "wet")
    _write_set(tmp_path / "dry")
    done = _run(tmp_path / "wet", tmp_path / "dry", "-o", tmp_path / "set.lmdb", "--exclude", "1")
    assert done.returncode == 0
    assert [pair.name for pair in PairedExemplarDataset(root=tmp_path / "set.lmdb").pairs] == ["0", "2"]


def test_a_bad_picture_is_one_line_and_exit_code_1(tmp_path):
    root = _write_set(tmp_path / "set")
    (root / "1.png").write_bytes((root / "1.png").read_bytes()[:80])
    (root / "odd.png").write_bytes(cv2.imencode(".png", np.zeros((3, 5, 3), np.uint8))[1].tobytes())
    done = _run(root, "-o", tmp_path / "set.lmdb")
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith("basicsr lmdb: error:")]
    assert len(errors) == 3
    assert "1.png` must be a whole picture" in errors[0]
    assert "odd.png` must have an even width" in errors[1]
    assert f"2 of 4 pairs could not be stored, so {tmp_path / 'set.lmdb'} is not finished" in errors[2]
    assert not (tmp_path / "set.lmdb").exists()
    assert _run(root, "-o", tmp_path / "set.lmdb", "--exclude", "1", "odd").returncode == 0
    assert len(PairedExemplarDataset(root=tmp_path / "set.lmdb")) == 2


def test_a_full_disk_is_one_sentence_and_loses_nothing(tmp_path):
    root = _write_set(tmp_path / "set", count=40, size=(60, 80))
    full = subprocess.run(
        _command(root, "-o", tmp_path / "set.lmdb"),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        # Stands in for a full disk: a write beyond this many bytes of a file fails.
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000)),
    )
    assert full.returncode != 0
    assert "OSError: LMDB: " in full.stderr
    assert "must be on a disk with room that can be written" in full.stderr
    assert not (tmp_path / "set.lmdb").exists()
    assert _run(root, "-o", tmp_path / "set.lmdb").returncode == 0
    assert len(PairedExemplarDataset(root=tmp_path / "set.lmdb")) == 40


def test_refuses_three_folders(tmp_path):
    assert "ROOT must be one folder, or a rainy and a clean one, got 3" in _run("a", "b", "c", "-o", "d").stderr


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on(tmp_path):
    root = _write_set(tmp_path / "set", count=120, size=(120, 160))
    out = tmp_path / "set.lmdb"
    for delay in (0.4, 0.6, 0.8, 1.0, 1.2):
        process = subprocess.Popen(_command(root, "-o", out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if out.exists():
            break
    if not out.exists():
        assert _run(root, "-o", out).returncode == 0
    files, cached = PairedExemplarDataset(root=root), PairedExemplarDataset(root=out)
    assert len(cached) == 120
    assert all(_same(files[place], cached[place]) for place in range(120))


@pytest.mark.slow
def test_real_one_file_pairs(tmp_path, shared):
    root = shared / "data" / "rain800" / "test"
    assert _run(root, "-o", tmp_path / "set.lmdb").returncode == 0
    files = PairedExemplarDataset(root=root, crop_size=64)
    cached = PairedExemplarDataset(root=tmp_path / "set.lmdb", crop_size=64)
    assert len(cached) == 50
    assert all(_same(files[place], cached[place]) for place in range(50))
