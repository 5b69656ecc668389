"""`basicsr metrics` on the folders of careful and careless users, and the commands of its page."""

import csv
import json
import math
import re
import sys
import types

import cv2
import numpy as np
import pytest
from PIL import Image

from msgnn_plugin.cli import metrics
from msgnn_plugin.cli.main import main
from msgnn_plugin.metrics import PROTOCOLS, measure_similarity


@pytest.fixture
def folders(tmp_path, make_pair):
    """Three results beside their clean pictures, under the names that BasicSR gives."""
    results, cleans = tmp_path / "results", tmp_path / "gt"
    results.mkdir()
    cleans.mkdir()
    pairs = {}
    for number in (1, 2, 10):
        pairs[number] = make_pair(number)
        Image.fromarray(pairs[number][0]).save(results / f"norain-{number}_train_x.png")
        Image.fromarray(pairs[number][1]).save(cleans / f"norain-{number}.png")
    return results, cleans, pairs


def measure(*arguments):
    return main(["metrics", *map(str, arguments)])


def read(path):
    with open(path, newline="") as file:
        return {row["image"]: row for row in csv.DictReader(file)}


def test_numbers_of_every_picture_and_their_means(folders, tmp_path, capsys):
    results, cleans, pairs = folders
    csv_file, json_file = tmp_path / "new" / "t.csv", tmp_path / "t.json"
    assert measure(results, cleans, "--protocol", *PROTOCOLS, "--csv", csv_file, "--json", json_file) == 0
    rows, document = read(csv_file), json.loads(json_file.read_text())
    assert list(rows) == [*(f"norain-{number}_train_x.png" for number in pairs), "mean"]
    printed = capsys.readouterr().out
    for protocol in PROTOCOLS:
        expected = {number: measure_similarity(*pair, protocol) for number, pair in pairs.items()}
        for place, name in enumerate(("psnr", "ssim")):
            column = f"{name}_{protocol}"
            for number, image in zip(pairs, document["images"]):
                assert image[column] == expected[number][place]
                assert float(rows[image["image"]][column]) == pytest.approx(image[column], abs=1e-6)
                assert image["clean"] == f"norain-{number}.png"
            mean = np.mean([values[place] for values in expected.values()])
            assert document["means"][column] == pytest.approx(mean)
            assert re.search(rf"│ {column} +│ +{mean:.4f} │ +3 │", printed)
        assert f"- {protocol}: {PROTOCOLS[protocol].about}." in printed
    assert document["protocols"] == {name: protocol.about for name, protocol in PROTOCOLS.items()}
    assert "Taken off the name of every result: _train_x" in printed
    assert document["taken_off_results"] == {"beginning": "", "ending": "_train_x"}
    assert document["failed"] == []


def test_protocols_without_a_word_are_the_three_of_papers(folders, tmp_path):
    assert measure(*folders[:2], "--csv", tmp_path / "t.csv") == 0
    wanted = [f"{name}_{protocol}" for protocol in ("rgb", "y", "y-matlab") for name in ("psnr", "ssim")]
    assert list(read(tmp_path / "t.csv")["mean"]) == ["image", "clean", *wanted, "error"]
    assert tuple(PROTOCOLS) == metrics._PROTOCOLS


def test_bad_files_are_told_and_the_others_measured(folders, tmp_path, capsys):
    results, cleans, pairs = folders
    whole = (results / "norain-1_train_x.png").read_bytes()
    for number, content in ((3, b""), (4, b"no picture"), (5, whole[: len(whole) // 2]), (6, whole), (7, whole)):
        (results / f"norain-{number}_train_x.png").write_bytes(content)
        (cleans / f"norain-{number}.png").write_bytes(whole)
    Image.fromarray(pairs[1][1][:, :-1]).save(cleans / "norain-6.png")
    (cleans / "norain-7.png").write_text("no picture")
    (results / "norain-8_train_x.png").write_bytes(whole)
    for number in range(20, 28):
        (cleans / f"norain-{number}.png").write_bytes(whole)
    assert measure(results, cleans, "--csv", tmp_path / "t.csv", "--json", tmp_path / "t.json") == 1
    errors = capsys.readouterr().err
    assert errors.count("basicsr metrics: error: ") == 7
    assert "as large as its clean picture, 143x96, got 144x96" in errors
    assert f"must hold a clean picture for every picture of {results}, got none for norain-8_train_x.png;" in errors
    assert "norain-24.png and 3 others;" in errors
    rows, document = read(tmp_path / "t.csv"), json.loads((tmp_path / "t.json").read_text())
    assert [image["clean"] for image in document["images"]] == [f"norain-{number}.png" for number in pairs]
    assert len(document["failed"]) == 5 + 1 + 8
    assert all(len(failed["error"].splitlines()) == 1 for failed in document["failed"])
    assert "norain-7.png: the file must be a picture" in rows["norain-7_train_x.png"]["error"]
    expected = np.mean([measure_similarity(*pair, "y").psnr for pair in pairs.values()])
    assert float(rows["mean"]["psnr_y"]) == pytest.approx(expected, abs=1e-6)


def test_equal_and_tiny_pictures(folders, tmp_path, capsys):
    results, cleans, pairs = folders
    (results / "norain-2_train_x.png").write_bytes((cleans / "norain-2.png").read_bytes())
    tiny = [picture[40:49] for picture in pairs[10]]
    Image.fromarray(tiny[0]).save(results / "norain-10_train_x.png")
    Image.fromarray(tiny[1]).save(cleans / "norain-10.png")
    assert measure(results, cleans, "--csv", tmp_path / "t.csv", "--json", tmp_path / "t.json") == 0
    rows, document = read(tmp_path / "t.csv"), json.loads((tmp_path / "t.json").read_text())
    assert (rows["norain-2_train_x.png"]["psnr_rgb"], rows["norain-10_train_x.png"]["ssim_rgb"]) == ("inf", "nan")
    first, last = measure_similarity(*pairs[1]), measure_similarity(*tiny)
    assert document["means"]["psnr_rgb"] == pytest.approx((first.psnr + last.psnr) / 2)
    assert document["means"]["ssim_rgb"] == pytest.approx((first.ssim + 1) / 2)
    assert document["images"][1]["psnr_rgb"] == "Infinity"
    assert document["images"][2]["ssim_rgb"] is None
    assert document["images_in_mean"]["ssim_rgb"] == 2
    printed = capsys.readouterr().out
    assert re.search(r"psnr_rgb .*│ 1 equal to the clean one +│", printed)
    assert re.search(r"ssim_rgb .*│ 1 too small or flat to have one +│", printed)


def test_forms_of_pictures(tmp_path, make_pair):
    derained, clean = make_pair(0)
    noise = np.random.default_rng(0).integers(0, 257, clean.shape)
    deep = np.minimum(derained.astype(np.int64) * 257 + noise, 65535).astype(np.uint16)
    grey = [picture[..., 1] for picture in (derained, clean)]
    (tmp_path / "r").mkdir()
    (tmp_path / "g").mkdir()

    def save(name, result, target):
        for folder, picture in (("r", result), ("g", target)):
            if picture.dtype == np.uint16:
                assert cv2.imwrite(str(tmp_path / folder / name), picture[..., ::-1])
            else:
                Image.fromarray(picture).save(tmp_path / folder / name)

    save("alpha.png", np.dstack([derained, grey[0]]), clean)
    save("deep.png", deep, clean)
    save("grey.png", *grey)
    save("one_grey.png", grey[0], clean)
    expected = {
        "alpha.png": (derained, clean),
        "deep.png": (deep, clean),
        "grey.png": grey,
        "one_grey.png": (np.dstack([grey[0]] * 3), clean),
    }
    assert measure(tmp_path / "r", tmp_path / "g", "--protocol", *PROTOCOLS, "--json", tmp_path / "t.json") == 0
    for image in json.loads((tmp_path / "t.json").read_text())["images"]:
        for protocol in PROTOCOLS:
            wanted = measure_similarity(*expected[image["image"]], protocol)
            assert (image[f"psnr_{protocol}"], image[f"ssim_{protocol}"]) == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "gt"], "RESULT_DIR must be a folder, got 'nowhere'"),
        (["results/norain-1_train_x.png", "gt"], "RESULT_DIR must be a folder, got 'results/norain-1_train_x.png'"),
        (["results", ""], "GT_DIR must be a folder, got ''"),
        (["empty", "gt"], "RESULT_DIR must hold at least one picture, got none directly in 'empty'"),
        (["results", "empty"], "GT_DIR must hold at least one picture, got none directly in 'empty'"),
        (["results"], "GT_DIR must be given unless `--metric niqe` or the like is asked for, got neither"),
        (["results", "--metric", "niqe", "--protocol", "y"], "GT_DIR must be given for y, which compares"),
        (["results", "gt", "--csv", "gt"], "`--csv` must name a file, got the folder 'gt'"),
        (["results", "gt", "--metric", "lpips"], "whose licences (PolyForm Noncommercial, S-Lab) forbid commercial"),
    ],
)
def test_wrong_usage(folders, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    (tmp_path / "empty").mkdir()
    assert measure(*arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_nothing_measured_is_an_error_and_written(folders, tmp_path):
    for clean in folders[1].iterdir():
        clean.rename(clean.with_stem(f"other{clean.stem}"))
    assert measure(*folders[:2], "--csv", tmp_path / "t.csv", "--json", tmp_path / "t.json") == 1
    document = json.loads((tmp_path / "t.json").read_text())
    assert document["means"]["psnr_rgb"] is None
    assert len(document["failed"]) == 6
    assert read(tmp_path / "t.csv")["mean"]["psnr_rgb"] == "nan"


def test_niqe_of_a_folder_without_a_clean_side(tmp_path):
    from skimage import data

    from msgnn_plugin.adapters.basicsr import compat

    compat.apply()
    from basicsr.metrics import calculate_niqe

    photograph = data.coffee()[:200, :300]
    (tmp_path / "r").mkdir()
    Image.fromarray(photograph).save(tmp_path / "r" / "coffee.png")
    Image.fromarray(photograph[:50, :50]).save(tmp_path / "r" / "small.png")
    assert measure(tmp_path / "r", "--metric", "niqe", "--csv", tmp_path / "t.csv") == 0
    rows = read(tmp_path / "t.csv")
    expected = float(calculate_niqe(photograph[..., ::-1], crop_border=0, convert_to="y"))
    assert float(rows["coffee.png"]["niqe_basicsr"]) == pytest.approx(expected, abs=1e-5)
    assert rows["small.png"]["niqe_basicsr"] == "nan"
    assert rows["mean"]["niqe_basicsr"] == rows["coffee.png"]["niqe_basicsr"]


def test_the_commands_of_the_page(page_commands, repository, tmp_path, monkeypatch, make_pair, capsys):
    for folder in ("results/rain100l", "gt/rain100l", "results/real"):
        (tmp_path / folder).mkdir(parents=True)
    for number in range(2):
        for folder, picture in zip(("results/rain100l", "gt/rain100l"), make_pair(number)):
            Image.fromarray(picture).save(tmp_path / folder / f"{number}.png")
    Image.fromarray(make_pair(5, size=(96, 200))[0]).save(tmp_path / "results/real" / "street.jpg")
    metric = types.SimpleNamespace(metric_mode="FR", lower_better=True)
    metric = type("Metric", (), {**vars(metric), "__call__": lambda self, target, ref: (target - ref).abs().mean()})
    module = types.SimpleNamespace(
        __version__="0.1.16", list_models=lambda: ["lpips", "musiq"], create_metric=lambda name: metric()
    )
    monkeypatch.setitem(sys.modules, "pyiqa", module)
    monkeypatch.chdir(tmp_path)
    page = (repository / "docs" / "metrics.md").read_text()
    commands = page_commands("metrics.md")
    assert len(commands) == 4
    for arguments in commands:
        assert main(arguments) == 0
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        "rain100l.csv",
        "rain100l.json",
        "real.csv",
    ]
    assert "lpips_pyiqa" in capsys.readouterr().out
    assert math.isfinite(float(read(tmp_path / "real.csv")["mean"]["niqe_basicsr"]))
    for name in (*PROTOCOLS, "niqe_basicsr", "psnr_y-matlab"):
        assert f"`{name}`" in page
