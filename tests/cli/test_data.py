"""`basicsr data` as a user types it."""

import importlib
import json
import resource
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
import torch

from msgnn_plugin.cli import data
from msgnn_plugin.cli.main import main
from msgnn_plugin.data import PairedExemplarDataset


def _command(*arguments):
    return [sys.executable, "-m", "msgnn_plugin.cli", "data", *map(str, arguments)]


@pytest.fixture
def run(capsys):
    """Run a sub-command in this process."""

    def run_command(*arguments):
        capsys.readouterr()
        code = main(["data", *map(str, arguments)])
        return subprocess.CompletedProcess(arguments, code, *capsys.readouterr())

    return run_command


@pytest.fixture
def write_set(tmp_path, make_pair):
    """Write one-file pairs, left half clean, and a manifest for them; return the manifest's and the set's path."""

    def write(count=3, size=(48, 64)):
        folder = tmp_path / "set"
        folder.mkdir()
        for number in range(count):
            rainy, clean = make_pair(number, size)
            image = np.hstack([clean, rainy])[:, :, ::-1]
            (folder / f"{number}.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())
        (tmp_path / "mine.yml").write_text(f"title: Mine\nsplits: {{train: {{pairs: {count}}}}}\n")
        return tmp_path / "mine.yml", folder

    return write


def _same(one, other):
    return all(torch.equal(one[key], other[key]) for key in ("lq", "gt", "exemplar"))


def test_list(capsys):
    assert main(["data", "list"]) == 0
    table = capsys.readouterr().out
    assert "rain800    train 700, test 100" in table
    assert main(["data", "list", "rain1200"]) == 0
    assert "left half rainy, right half clean" in capsys.readouterr().out
    assert main(["data", "list", "--json"]) == 0
    sets = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert sets["rain12"]["splits"][0]["pairs"] == [12]


def test_errors_name_the_whole_command(capsys):
    assert main(["data", "list", "rain900"]) == 2
    assert capsys.readouterr().err.startswith("basicsr data list: error: Manifest: `NAME` must be one of")
    assert main(["data", "verify", "rain800", "absent"]) == 2
    assert capsys.readouterr().err.endswith("must be a folder that holds rain800, got absent.\n")
    with pytest.raises(SystemExit) as exit_info:
        main(["data", "verfy"])
    assert exit_info.value.code == 2


def test_every_sub_command_has_its_file():
    for name in data.SUBCOMMANDS:
        assert name == importlib.import_module(f"msgnn_plugin.cli.data.{name}").NAME


def test_verify_tells_and_exits_by_the_verdict(write_set, tmp_path, run):
    manifest, folder = write_set()
    done = run("verify", manifest, folder, "--json", tmp_path / "report.json")
    assert done.returncode == 0
    assert "train: 3 of 3, one file a pair, left half clean" in done.stdout
    assert done.stdout.endswith("Faults found: none.\n")
    assert done.stderr == ""  # no bar where there is no terminal
    assert json.loads((tmp_path / "report.json").read_text())["verdict"] == "fine"
    (folder / "1.png").write_bytes(b"")
    done = run("verify", manifest, folder, "--json")
    assert done.returncode == 1
    faults = json.loads(done.stdout)["faults"]
    assert [(fault["part"], fault["kind"]) for fault in faults] == [("train", "unreadable")]


def test_a_long_list_is_cut_and_says_so(write_set, run):
    manifest, folder = write_set(count=10)
    for path in folder.iterdir():
        path.write_bytes(b"")
    lines = run("verify", manifest, folder).stdout.splitlines()
    assert "  train, unreadable: 10 pairs or pictures cannot be read" in lines
    assert "    and 2 more, all of them with --json" in lines
    assert lines[-1] == "Faults found: 1."


@pytest.mark.parametrize("form", ["folder", "png-lmdb", "raw-lmdb"])
def test_prepare(write_set, tmp_path, form, run, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal: with the bar
    manifest, folder = write_set()
    done = run("prepare", manifest, folder, "-o", tmp_path / "out", "--form", form)
    assert done.returncode == 0
    assert done.stdout == f"{tmp_path / 'out' / 'train'}: 3 pairs.\n"
    assert "3/3" in done.stderr
    files, prepared = PairedExemplarDataset(root=folder), PairedExemplarDataset(root=tmp_path / "out" / "train")
    assert all(_same(files[place], prepared[place]) for place in range(3))
    again = run("prepare", manifest, folder, "-o", tmp_path / "out", "--form", form)
    assert again.returncode == 2
    assert again.stderr.startswith("basicsr data prepare: error: Data set: `-o` must have a part left to make")


def test_prepare_the_other_half_and_without_a_picture(write_set, tmp_path, run):
    manifest, folder = write_set()
    assert run("prepare", manifest, folder, "-o", tmp_path / "out", "--left", "rainy", "--exclude", "1").returncode == 0
    prepared = PairedExemplarDataset(root=tmp_path / "out" / "train")
    assert [pair.name for pair in prepared.pairs] == ["0", "2"]
    assert torch.equal(prepared[1]["lq"], PairedExemplarDataset(root=folder, left="rainy")[2]["lq"])


def test_a_bad_picture_is_one_line_and_exit_code_1(write_set, tmp_path, run):
    manifest, folder = write_set()
    (folder / "1.png").write_bytes((folder / "1.png").read_bytes()[:80])
    (folder / "odd.png").write_bytes(cv2.imencode(".png", np.zeros((3, 5, 3), np.uint8))[1].tobytes())
    for form in ("folder", "png-lmdb"):
        out = tmp_path / form
        done = run("prepare", manifest, folder, "-o", out, "--form", form)
        assert done.returncode == 1
        errors = [line for line in done.stderr.splitlines() if line.startswith("basicsr data prepare: error:")]
        assert len(errors) == 3
        assert "1.png` must be a whole picture" in errors[0]
        assert "odd.png` must have an even width" in errors[1]
        assert f"2 of 4 pairs could not be read, so {out / 'train'} is not finished" in errors[2]
        assert not (out / "train").exists()
        assert run("prepare", manifest, folder, "-o", out, "--form", form, "--exclude", "1", "odd").returncode == 0
        assert len(PairedExemplarDataset(root=out)) == 2


@pytest.mark.parametrize("form", ["folder", "png-lmdb"])
def test_a_full_disk_is_one_sentence_and_loses_nothing(write_set, tmp_path, form, run):
    manifest, folder = write_set(count=24, size=(60, 80))
    # Stands in for a full disk: a write beyond this many bytes of a file fails.
    limit = 6_000 if form == "folder" else 150_000
    full = subprocess.run(
        _command("prepare", manifest, folder, "-o", tmp_path / "out", "--form", form),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert full.returncode == 2
    assert full.stderr.splitlines()[-1].startswith("basicsr data prepare: error: ")
    assert "Traceback" not in full.stderr
    assert not (tmp_path / "out" / "train").exists()
    assert run("prepare", manifest, folder, "-o", tmp_path / "out", "--form", form).returncode == 0
    assert len(PairedExemplarDataset(root=tmp_path / "out")) == 24


def test_preview(write_set, tmp_path, run):
    _, folder = write_set()
    done = run("preview", folder, "-o", tmp_path / "sheet.jpg")
    assert done.returncode == 0
    assert done.stdout == f"{tmp_path / 'sheet.jpg'}: 3 of 3 pairs or pictures.\n"
    assert cv2.imread(str(tmp_path / "sheet.jpg")).shape[0] == 8 + 20 + 140 + 8
    (folder / "1.png").write_bytes(b"")
    done = run("preview", folder, "-o", tmp_path / "sheet.jpg")
    assert done.returncode == 1
    assert done.stderr.startswith("basicsr data preview: error: Image: ")


@pytest.mark.slow
@pytest.mark.parametrize("form", ["folder", "png-lmdb", "raw-lmdb"])
def test_killed_at_any_moment_it_goes_on(write_set, tmp_path, form):
    manifest, folder = write_set(count=120, size=(120, 160))
    command = _command("prepare", manifest, folder, "-o", tmp_path / "out", "--form", form)
    for delay in (0.4, 0.6, 0.8, 1.0, 1.2):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if (tmp_path / "out" / "train").exists():
            break
    if not (tmp_path / "out" / "train").exists():
        assert subprocess.run(command, check=False).returncode == 0
    files, prepared = PairedExemplarDataset(root=folder), PairedExemplarDataset(root=tmp_path / "out" / "train")
    assert len(prepared) == 120
    assert all(_same(files[place], prepared[place]) for place in range(120))


@pytest.mark.slow
@pytest.mark.parametrize("form", ["folder", "png-lmdb", "raw-lmdb"])
def test_real_one_file_pairs(tmp_path, shared, form, run):
    root = shared / "data" / "rain800" / "test"
    assert run("prepare", "rain800", root, "-o", tmp_path / "out", "--form", form).returncode == 0
    files = PairedExemplarDataset(root=root, crop_size=64)
    prepared = PairedExemplarDataset(root=tmp_path / "out" / "test", crop_size=64)
    assert len(prepared) == 50
    assert all(_same(files[place], prepared[place]) for place in range(50))


def test_a_name_that_is_nearly_right_gets_a_suggestion(run):
    assert "Did you mean rain800?" in run("list", "rain80").stderr
    assert run("list", "absent.yml").stderr.endswith("must be a set's name or a file, got absent.yml, which is none.\n")


def test_a_part_of_any_size_reads_as_a_sentence(run):
    assert "test: any number of pictures, no clean side" in run("list", "real_rain").stdout


def test_a_report_that_cannot_be_written_is_printed_all_the_same(write_set, tmp_path, run):
    manifest, folder = write_set()
    (tmp_path / "file").write_text("")
    done = run("verify", manifest, folder, "--json", tmp_path / "file" / "report.json")
    assert done.returncode == 2
    assert "Faults found: none." in done.stdout
    assert "[Errno" not in done.stderr
    assert f"{tmp_path / 'file'}" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("below", [".", "inner"])
def test_prepare_writes_nothing_into_its_source(write_set, run, below):
    manifest, folder = write_set()
    before = sorted(folder.rglob("*"))
    done = run("prepare", manifest, folder, "-o", folder / below)
    assert done.returncode == 2
    assert "`-o` must lie outside PATH" in done.stderr
    assert sorted(folder.rglob("*")) == before


def test_prepare_without_a_picture_in_any_part(tmp_path, run):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "5.png").write_bytes(cv2.imencode(".png", np.zeros((8, 16, 3), np.uint8))[1].tobytes())
    (tmp_path / "mine.yml").write_text("splits: {train: {numbers: [1, 2]}, test: {numbers: [3, 4]}}")
    done = run("prepare", tmp_path / "mine.yml", tmp_path / "set", "-o", tmp_path / "out")
    assert done.returncode == 2
    assert "must hold pictures, got none" in done.stderr


def test_preview_refuses_a_form_that_is_none_before_it_reads(write_set, tmp_path, run):
    _, folder = write_set()
    for name in ("sheet", "sheet.xyz"):
        assert f"got {tmp_path / name}." in run("preview", folder, "-o", tmp_path / name).stderr


def test_a_warning_is_one_sentence_without_a_line_of_code(write_set, tmp_path):
    manifest, folder = write_set()
    done = subprocess.run(
        _command("prepare", manifest, folder, "-o", tmp_path / "out", "--exclude", "absent"),
        capture_output=True,
        text=True,
    )
    assert done.stderr == "basicsr: warning: Data set: `exclude` names absent, which the set does not hold.\n"
