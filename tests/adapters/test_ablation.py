"""Ablation tables: rows are read, trained in turn, taken up again, refused under other settings, and reported."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from msgnn_plugin import MSGNNArch
from msgnn_plugin.adapters.basicsr import register
from msgnn_plugin.adapters.basicsr.ablation.settings import decisive_settings, differences
from msgnn_plugin.adapters.basicsr.ablation.training import scaled_schedule
from msgnn_plugin.cli.main import main
from tests.adapters.tiny_run import NETWORK, assert_same_weights, make_project, tiny_options, write_options

TABLE = "Table 5, neighbours k"
PAPER = {2: {"psnr": 29.5, "ssim": 0.9167}, 3: {"psnr": 29.6, "ssim": 0.9178}}


@pytest.fixture(scope="module", autouse=True)
def mended():
    register()


def make_table(project: Path, neighbours=(2, 3), **changes) -> list[Path]:
    """Write made-up pairs and one row file for each number of neighbours."""
    make_project(project)
    files = []
    for k in neighbours:
        options = tiny_options() | {"name": f"k{k}", "path": {"experiments_root": "runs"}}
        options["network_g"] |= {"num_neighbors": k}
        options["ablation"] = {"table": TABLE, "row": f"k = {k}", "train_pairs": 50, "test_images": 2}
        options["ablation"] |= {"paper": PAPER[k]} if k in PAPER else {}
        files.append(write_options(project / f"options/k{k}.yml", options | changes))
    return files


def leave_run(file: Path, total: int = 8, finished: bool = True, pairs: int = 5, **network) -> Path:
    """Leave what a run of a row leaves, without training."""
    options = yaml.safe_load(file.read_text())
    folder = file.parents[1] / "runs" / options["name"]
    options["train"]["total_iter"] = total
    options["train"]["scheduler"]["milestones"] = [round(5 * total / 8)]
    options["network_g"] |= network
    root = file.parents[1]
    for dataset in options["datasets"].values():
        dataset["dataroot"] = str(root / dataset["dataroot"])
    write_options(folder / file.name, options)
    (folder / "train_k_1.log").write_text(f"INFO: Training statistics:\n\tNumber of train images: {pairs}\n")
    (folder / "training_states").mkdir()
    (folder / "training_states" / "4.state").touch()
    if finished:
        (folder / "models").mkdir()
        (folder / "models" / "net_g_latest.pth").touch()
        (folder / "metrics/first").mkdir(parents=True)
        rows = (
            "image,psnr,ssim,input_psnr,input_ssim",
            "1,20,0.5,10,0.25",
            "2,22,0.75,12,0.5",
            "mean,21,0.625,11,0.375",
        )
        (folder / f"metrics/first/{total}.csv").write_text("\n".join(rows))
    return folder


def test_report_shows_ours_beside_the_papers(tmp_path, capsys):
    files = make_table(tmp_path, (2, 3, 4, 5))
    leave_run(files[0])
    leave_run(files[1])
    leave_run(files[2], finished=False)
    assert main(["report", "--ablation", *map(str, files)]) == 0
    shown = capsys.readouterr().out
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.splitlines() if "│" in line]
    assert [[line[0], *line[2:]] for line in lines] == [
        ["k = 2", "29.500", "21.000", "0.9167", "0.6250", "finished"],
        ["k = 3", "29.600", "21.000", "0.9178", "0.6250", "finished"],
        ["k = 4", "-", "-", "-", "-", "unfinished"],
        ["k = 5", "-", "-", "-", "-", "missing"],
    ]
    assert "- Trained for 8 iterations on 5 of 50 pairs.\n" in shown
    assert "- Measured on 2 pictures of first after the last iteration; the rainy input has 11.00 / 0.3750.\n" in shown
    assert "- k = 4: stopped or running at iteration 4 of 8\n" in shown
    assert "Differs" not in shown


def test_report_says_what_differs(tmp_path, capsys):
    files = make_table(tmp_path)
    leave_run(files[0], total=4, num_blocks=3)
    leave_run(files[1], total=4, num_blocks=2, pairs=50)
    assert main(["report", "--markdown", "--ablation", *map(str, files)]) == 0
    shown = capsys.readouterr().out
    assert f"### {TABLE}\n" in shown
    settings = {key: value for key, value in NETWORK.items() if key != "type"} | {"num_blocks": 3}
    count = sum(parameter.numel() for parameter in MSGNNArch(**settings).parameters())
    assert f"| k = 2 | {count:,} | 29.500 | 21.000 | 0.9167 | 0.6250 | finished |\n" in shown
    assert "- k = 2: Trained for 4 of 8 (schedule x 0.5) iterations on 5 of 50 pairs.\n" in shown
    assert "- k = 3: Trained for 4 of 8 (schedule x 0.5) iterations on 50 pairs.\n" in shown
    assert "- k = 2: Differs from the option file: network_g.num_blocks 1 -> 3.\n" in shown
    assert "- k = 3: Differs from the option file: network_g.num_blocks 1 -> 2.\n" in shown


def test_report_counts_another_set_on_its_own(tmp_path, capsys):
    (file,) = make_table(tmp_path, (2,), ablation={"table": TABLE, "row": "k = 2", "test_images": 200})
    folder = leave_run(file)
    assert main(["report", "--ablation", str(file)]) == 0
    assert "Measured on 2 of 200 pictures of first" in capsys.readouterr().out
    run = folder / file.name
    run.write_text(run.read_text().replace("name: first", "name: second"))
    (folder / "metrics/first").rename(folder / "metrics/second")
    assert main(["report", "--ablation", str(file)]) == 0
    assert "Measured on 2 pictures of second" in capsys.readouterr().out


def test_report_as_data(tmp_path, capsys):
    files = make_table(tmp_path)
    leave_run(files[0])
    assert main(["report", "--json", "--ablation", *map(str, files)]) == 0
    (table,) = json.loads(capsys.readouterr().out)
    assert table["rows"][0]["ours"] == {
        "params": table["rows"][0]["ours"]["params"],
        **{"psnr": 21.0, "ssim": 0.625, "input_psnr": 11.0, "input_ssim": 0.375},
    }
    assert table["rows"][1] == {
        **{"row": "k = 3", "file": "options/k3.yml", "status": "missing", "paper": PAPER[3]},
        **{"ours": {}, "differs": {}, "remarks": []},
    }
    assert main(["report", "--csv", "--ablation", *map(str, files)]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [(row["row"], row["status"], row["ours_psnr"], row["paper_ssim"]) for row in rows] == [
        ("k = 2", "finished", "21.0", "0.9167"),
        ("k = 3", "missing", "", "0.9178"),
    ]
    assert "5 of 50 pairs" in rows[0]["remarks"]
    assert rows[1]["remarks"] == ""


def test_rows_of_one_name_share_a_run(tmp_path, capsys):
    files = make_table(tmp_path)
    other = yaml.safe_load(files[0].read_text())
    other["ablation"] |= {"table": "Table 2", "row": "M6"}
    files.append(write_options(tmp_path / "options/m6.yml", other))
    leave_run(files[0])
    assert main(["report", "--json", "--ablation", *map(str, files)]) == 0
    tables = json.loads(capsys.readouterr().out)
    assert [[row["status"] for row in table["rows"]] for table in tables] == [["finished", "missing"], ["finished"]]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"ablation": {"row": "k = 2"}}, "k2.yml: `ablation.table` must be given"),
        ({"ablation": {"table": "T", "row": "k", "papers": {}}}, "Did you mean `ablation.paper`?"),
        ({"ablation": {"table": "T", "row": "k", "paper": {"psnr": "high"}}}, "`ablation.paper.psnr` must be a number"),
        ({"datasets": {"train": tiny_options()["datasets"]["train"]}}, "`datasets` must hold a `val` set"),
        ({"train": {}}, "`train.total_iter` must be given"),
    ],
)
def test_what_is_no_row_is_told_in_one_sentence(tmp_path, capsys, change, sentence):
    files = make_table(tmp_path, (2,), **change)
    for command in (["report", "--ablation"], ["ablate"]):
        assert main([*command, str(files[0])]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert sentence in line


def test_a_damaged_table_of_metrics_is_told(tmp_path, capsys):
    files = make_table(tmp_path)
    (leave_run(files[0]) / "metrics/first/8.csv").write_text("image,psnr\n1,20\n")
    assert main(["report", "--ablation", str(files[0])]) == 2
    assert "8.csv: a table of metrics must end with the row `mean`" in capsys.readouterr().err


@pytest.mark.parametrize("factor", ["0", "-1", "nan", "inf"])
def test_schedule_factor_must_be_a_positive_number(tmp_path, capsys, factor):
    assert main(["ablate", str(make_table(tmp_path)[0]), "--scale-schedule", factor]) == 2
    assert "`--scale-schedule` must be above 0" in capsys.readouterr().err


def test_every_count_of_iterations_is_scaled():
    options = {
        "train": {"total_iter": 112500, "warmup_iter": 300, "scheduler": {"milestones": [67500, 90000], "gamma": 0.1}},
        "val": {"val_freq": 5000},
        "logger": {"save_checkpoint_freq": 5, "print_freq": 100},
    }
    assert scaled_schedule(options, 0.01) == [
        "train:total_iter=1125",
        "train:warmup_iter=3",
        "train:scheduler:milestones=[675, 900]",
        "val:val_freq=50",
        "logger:save_checkpoint_freq=1",
    ]
    assert scaled_schedule(options, 1) == []
    options["train"]["warmup_iter"] = -1
    assert not any("warmup" in entry for entry in scaled_schedule(options, 2))


def test_settings_that_decide_nothing_may_change(tmp_path):
    one = {
        **{"name": "a", "num_gpu": 0, "logger": {"print_freq": 1}, "network_g": {"num_feat": 4, "window_size": None}},
        "datasets": {"train": {"dataroot": "data", "num_worker_per_gpu": 4}},
    }
    other = {
        **{"name": "b", "num_gpu": 1, "logger": {"print_freq": 2}, "network_g": {"num_feat": 4}},
        "datasets": {"train": {"dataroot": str(tmp_path / "data"), "num_worker_per_gpu": 0}},
    }
    one, other = decisive_settings(one, tmp_path), decisive_settings(other, tmp_path)
    assert differences(one, other) == {}
    assert differences(one, other | {"network_g.window_size": 30}) == {"network_g.window_size": (None, 30)}


def test_other_settings_than_the_run_has_are_refused(tmp_path, capsys):
    files = make_table(tmp_path)
    folder = leave_run(files[1], finished=False)
    for more, key in (
        (["--force_yml", "network_g:num_blocks=2"], "`network_g.num_blocks` must be 1"),
        (["--scale-schedule", "2"], "`train.scheduler.milestones` must be [5]"),
        (["--force_yml", "datasets:train:dataroot=data/test"], "`datasets.train.dataroot` must be"),
    ):
        assert main(["ablate", *map(str, files), *more]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"basicsr ablate: error: {files[1]}: {key}")
        assert "another `--out`" in line
    # Refused before anything was trained.
    assert [path.name for path in folder.parent.iterdir()] == ["k3"]


def test_rows_that_differ_may_not_share_a_run(tmp_path, capsys):
    files = make_table(tmp_path)
    other = yaml.safe_load(files[1].read_text()) | {"name": "k2"}
    write_options(files[1], other)
    assert main(["ablate", *map(str, files)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{files[1]}: `network_g.num_neighbors` must be 2 as in {files[0]}, which has the same `name`, got 3" in line
    assert not (tmp_path / "runs").exists()


def ablate(project: Path, files: list[Path], *more: str, **popen) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "msgnn_plugin.cli", "ablate", *map(str, files), *more],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **popen,
    )


def weights(folder: Path) -> dict:
    return torch.load(folder / "models/net_g_latest.pth", weights_only=True)


@pytest.mark.slow
def test_a_failed_row_is_told_and_the_rest_goes_on(tmp_path):
    files = make_table(tmp_path, (2, 3, 4))
    broken = yaml.safe_load(files[0].read_text())
    broken["datasets"]["train"]["dataroot"] = "data/gone"
    write_options(files[0], broken)
    # One that fails amid training, not before.
    late = yaml.safe_load(files[1].read_text())
    late["datasets"]["train"]["gt_size"] = 99
    write_options(files[1], late)
    out, err = ablate(tmp_path, files, "--scale-schedule", "0.5", "--force_yml", "network_g:num_feat=6").communicate()
    errors = [line for line in err.splitlines() if line.startswith("basicsr ablate: error: ")]
    assert len(errors) == 2, err
    assert "k2.yml: `datasets.train.dataroot`: there is no" in errors[0]
    assert "k3.yml: " in errors[1]
    assert "crop_size = 99" in errors[1]
    assert "- k = 4: " not in out
    assert "Trained for 4 of 8 (schedule x 0.5) iterations on 5 of 50 pairs." in out
    assert "num_feat 4 -> 6" in out
    states = [line.split("│")[-2].strip() for line in out.splitlines() if "│" in line]
    assert states == ["missing", "unfinished", "finished"]
    process = ablate(tmp_path, files, "--scale-schedule", "0.5", "--force_yml", "network_g:num_feat=6")
    _, err = process.communicate()
    assert process.returncode == 1
    assert "k = 4: finished before." in err


@pytest.mark.slow
def test_an_interrupted_table_ends_its_training(tmp_path):
    files = make_table(tmp_path, (2,))
    process = ablate(tmp_path, files, "--scale-schedule", "1000")
    while not (tmp_path / "runs/k2/training_states").is_dir():
        assert process.poll() is None
        time.sleep(0.02)
    process.terminate()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.endswith("basicsr ablate: interrupted.\n")
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


@pytest.mark.slow
def test_a_killed_table_is_taken_up_where_it_was(tmp_path):
    whole = make_table(tmp_path / "whole", (2,))
    cut = make_table(tmp_path / "cut", (2,))
    longer = ("--scale-schedule", "50", "--force_yml", "logger:save_checkpoint_freq=5", "val:val_freq=200")
    process = ablate(tmp_path, whole, *longer, "--out", str(tmp_path / "else: where"))
    assert process.communicate()[1].count("finished before") == 0
    assert process.returncode == 0

    states = tmp_path / "cut/runs/k2/training_states"
    process = ablate(tmp_path, cut, *longer)
    while not any(states.glob("[1-9]*.state")):
        assert process.poll() is None
        time.sleep(0.02)
    # SIGKILL for the table's process alone: the training it began goes on for a while and keeps the folder.
    process.kill()
    process.wait()
    second = ablate(tmp_path, cut, *longer)
    _, err = second.communicate()
    assert "another process is training here" in err
    assert second.returncode == 1
    os.killpg(process.pid, signal.SIGKILL)
    third = ablate(tmp_path, cut, *longer)
    out, err = third.communicate()
    assert third.returncode == 0, err
    assert "Trained for 400 of 8 (schedule x 50)" in out
    one, other = weights(tmp_path / "else: where/k2"), weights(tmp_path / "cut/runs/k2")
    assert_same_weights(one, other)
    # Never put aside and begun anew.
    assert sorted(path.name for path in (tmp_path / "cut/runs").iterdir()) == [".k2.lock", "k2"]
