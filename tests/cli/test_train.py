import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from msgnn_plugin.cli.main import main
from tests.adapters.tiny_run import make_project, measuring_options, tiny_options, write_options


def test_trains_and_tests_from_the_command_line(tmp_path, capsys):
    option_file = make_project(tmp_path)
    assert main(["train", "-opt", str(option_file), "--force_yml", "train:total_iter=4"]) == 0
    test_file = write_options(tmp_path / "options/test.yml", measuring_options())
    assert main(["test", "-opt", str(test_file)]) == 0
    rows = list(csv.DictReader((tmp_path / "results/measured/metrics/first.csv").open()))
    assert [row["image"] for row in rows] == ["1", "2", "mean"]
    assert list(rows[0]) == ["image", "psnr", "ssim", "input_psnr", "input_ssim"]


def test_test_pictures_and_strips(tmp_path):
    option_file = make_project(tmp_path)
    main(["train", "-opt", str(option_file), "--force_yml", "train:total_iter=2"])
    options = measuring_options()
    options["val"].update(save_img=True, compare=True)
    assert main(["test", "-opt", str(write_options(tmp_path / "options/test.yml", options))]) == 0
    pictures = tmp_path / "results/measured/visualization/first"
    assert {path.name for path in pictures.iterdir()} == {
        f"{number}_{ending}.png" for number in (1, 2) for ending in ("measured", "compare")
    }


@pytest.mark.parametrize(
    ("forced", "sentence"),
    [
        ("datasets:train:dataroot=gone", "there is no"),
        ("train:total_itre=5", "Did you mean `train.total_iter`?"),
        ("train:total_iter=x", "must be a whole number"),
        ("datasets:train:gt_size=99", "crop_size = 99"),
    ],
)
def test_errors_are_one_line(tmp_path, capsys, forced, sentence):
    assert main(["train", "-opt", str(make_project(tmp_path)), "--force_yml", forced]) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("basicsr train: error: ")
    assert sentence in last


def test_missing_option_file(tmp_path, capsys):
    assert main(["train", "-opt", str(tmp_path / "none.yml")]) == 2
    assert "no such option file" in capsys.readouterr().err


def test_debug_looks_at_everything_apart_from_the_experiment(tmp_path):
    options = tiny_options()
    options["logger"]["print_freq"] = 100
    assert main(["train", "-opt", str(make_project(tmp_path, options)), "--debug"]) == 0
    home = tmp_path / "experiments" / "debug_tiny"
    assert (home / "models" / "net_g_8.pth").is_file()
    assert "iter:       3" in next(home.glob("train_*.log")).read_text()


def test_help_imports_no_toolbox():
    code = (
        "import sys; from msgnn_plugin.cli.main import build_parser; build_parser(); "
        "print({'basicsr', 'mmengine', 'torchvision', 'cv2', 'yaml'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.slow
def test_the_headline_command_on_real_rain(tmp_path, repository, shared):
    """The README's command, cut to 20 iterations, with the sample of Rain200H linked where the option file wants it."""
    for name in ("options", "datasets"):
        (tmp_path / name).mkdir()
    for path in (repository / "options").rglob("*.yml"):
        target = tmp_path / "options" / path.relative_to(repository / "options")
        target.parent.mkdir(exist_ok=True)
        target.write_text(path.read_text())
    (tmp_path / "datasets/rain200h").symlink_to(shared / "data/rain200h_sample")
    forced = ["train:total_iter=20", "val:val_freq=20", "logger:save_checkpoint_freq=10", "num_gpu=0"]
    # The full network takes minutes an iteration on a CPU; its data, losses and schedule are what is shown here.
    forced += ["network_g:num_feat=8", "network_g:num_blocks=1", "network_g:num_groups=2"]

    def command(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "msgnn_plugin.cli", *arguments],
            cwd=cwd,
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONPATH": str(repository)},
        )

    train = ["train", "-opt", str(tmp_path / "options/train_msgnn_rain200h.yml"), "--force_yml", *forced]
    done = command(*train, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    home = tmp_path / "experiments/train_msgnn_rain200h"
    (home / "training_states/20.state").unlink()
    done = command(*train, "--auto_resume", cwd=repository)
    assert done.returncode == 0, done.stderr
    assert "Resuming training from epoch: 3, iter: 10." in done.stderr
    (tmp_path / "datasets/rain200h").unlink()
    done = command(*train, cwd=tmp_path)
    assert done.returncode == 2
    assert "Put Rain200H" in done.stderr.splitlines()[-1]
