"""`basicsr data synthesize` as a user types it."""

import cv2
import numpy as np
import pytest

from msgnn_plugin.cli.main import main


@pytest.fixture
def photographs(tmp_path):
    (tmp_path / "clean").mkdir()
    generator = np.random.default_rng(0)
    for number in range(1, 4):
        cv2.imwrite(str(tmp_path / "clean" / f"{number}.png"), generator.integers(256, size=(24, 30, 3)))
    return tmp_path / "clean"


def pictures(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.png")}


def test_writes_the_same_set_whatever_the_jobs(photographs, tmp_path, capsys):
    for jobs in ("1", "2"):
        out = tmp_path / jobs
        assert main(["data", "synthesize", str(photographs), "-o", str(out), "--preset", "nrs", "--jobs", jobs]) == 0
        assert capsys.readouterr().out == f"{out}: 3 pairs of 3 photographs in rainy and clean.\n"
    assert pictures(tmp_path / "1") == pictures(tmp_path / "2")
    assert len(pictures(tmp_path / "1")) == 6


def test_options_reach_the_set(photographs, tmp_path):
    out = tmp_path / "out"
    command = ["data", "synthesize", str(photographs), "-o", str(out), "--preset", "rain1400", "--jobs", "1"]
    assert main([*command, "--per-picture", "2", "--rain", "--exclude", "2", "--seed", "9"]) == 0
    assert set(pictures(out)) == {
        *(f"{side}/{name}_{rain}.png" for side in ("rainy", "rain_layer") for name in "13" for rain in "12"),
        *("clean/1.png", "clean/3.png"),
    }


def test_bad_photographs_are_told_of_and_the_rest_is_made(photographs, tmp_path, capsys):
    (photographs / "2.png").write_bytes((photographs / "2.png").read_bytes()[:60])
    (photographs / "4.jpg").write_bytes(b"")
    out = tmp_path / "out"
    command = ["data", "synthesize", str(photographs), "-o", str(out), "--preset", "rain200l", "--jobs", "1"]
    assert main(command) == 1
    errors = [
        line for line in capsys.readouterr().err.splitlines() if line.startswith("basicsr data synthesize: error")
    ]
    assert len(errors) == 3
    assert "2.png` must be a whole picture" in errors[0]
    assert "4.jpg` must be a whole picture, got an empty file" in errors[1]
    assert "2 of 4 photographs could not be read" in errors[2]
    assert sorted(path.name for path in (out / "rainy").iterdir()) == ["1.png", "3.png"]
    cv2.imwrite(str(photographs / "2.png"), np.zeros((5, 6, 3), np.uint8))
    assert main([*command, "--exclude", "4"]) == 0
    assert (out / "rainy" / "2.png").is_file()


def test_wrong_usage_is_one_sentence(photographs, tmp_path, capsys):
    command = ["data", "synthesize", str(photographs), "-o", str(tmp_path / "out")]
    assert main([*command, "--preset", "rain20l"]) == 2
    assert "basicsr data synthesize: error: rain synthesis: `preset` must be one of" in capsys.readouterr().err
    assert main(["data", "synthesize", str(tmp_path / "none"), "-o", str(tmp_path / "out"), "--preset", "drs"]) == 2
    assert "`root` must be a folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_name_to_exclude_that_is_not_there_is_told(photographs, tmp_path):
    command = ["data", "synthesize", str(photographs), "-o", str(tmp_path / "out"), "--preset", "rain200h"]
    with pytest.warns(UserWarning, match="`exclude` names 9, which"):
        assert main([*command, "--jobs", "1", "--exclude", "9", "2"]) == 0


def test_damaged_settings_are_one_sentence(photographs, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "synthesis.json").write_text("{")
    assert main(["data", "synthesize", str(photographs), "-o", str(tmp_path / "out"), "--preset", "rain200h"]) == 2
    assert "got a damaged file in" in capsys.readouterr().err
