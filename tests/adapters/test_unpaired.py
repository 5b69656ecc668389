"""The unpaired data set as BasicSR builds it, and its section of an option file."""

import importlib

import pytest

from msgnn_plugin.adapters.basicsr import register
from msgnn_plugin.adapters.basicsr.options import load_options
from msgnn_plugin.adapters.basicsr.places import resolve_paths
from tests.adapters.tiny_run import tiny_options, write_options


@pytest.fixture
def option_file(tmp_path, make_pair):
    import cv2

    register()
    for number in range(3):
        rainy, clean = make_pair(number, (40, 48))
        for side, image in (("wet", rainy), ("dry", clean)):
            (tmp_path / side).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / side / f"{number}.png"), image)
    options = tiny_options()
    options["datasets"]["train"] = {
        **{"name": "unpaired", "type": "UnpairedRainDataset", "dataroot_lq": "wet", "dataroot_clean": "dry"},
        **{"gt_size": 24, "use_hflip": True, "use_rot": True, "exclude": [2], "exclude_clean": ["1.png"]},
        **{"batch_size_per_gpu": 2, "num_worker_per_gpu": 0},
    }
    options["datasets"].pop("val", None)
    return write_options(tmp_path / "options" / "unpaired.yml", options)


def test_built_from_an_option_file(option_file):
    options = load_options(option_file, [])
    resolve_paths({**options, "path": {}}, option_file.parents[1])
    section = options["datasets"]["train"]
    build_dataset = importlib.import_module("basicsr.data").build_dataset
    dataset = build_dataset({**section, "phase": "train", "seed": 5})
    assert (len(dataset), len(dataset.clean)) == (2, 2)
    assert (dataset.crop_size, dataset.flip, dataset.rotate, dataset.seed) == (24, True, True, 5)
    assert dataset[0, 3]["clean"].shape == (3, 24, 24)
    assert dataset[0, 3]["clean_path"].endswith("dry/2.png")
    del section["gt_size"]
    assert build_dataset({**section, "phase": "train"}).crop_size == 256


@pytest.mark.parametrize(
    ("forced", "error", "sentence"),
    [
        ("dataroot_clear=dry", ValueError, "dataroot_clear`. Did you mean `datasets.train.dataroot_clean`"),
        ("exclude_clean=1.png", TypeError, "`datasets.train.exclude_clean` must be a list"),
        ("left=up", TypeError, "`datasets.train.left` must be one of clean, rainy"),
    ],
)
def test_bad_sections_are_named(option_file, forced, error, sentence):
    with pytest.raises(error, match=sentence):
        load_options(option_file, [f"datasets:train:{forced}"])


def test_a_missing_folder_is_named_before_anything_is_built(option_file):
    options = load_options(option_file, ["datasets:train:dataroot_clean=nowhere"])
    with pytest.raises(FileNotFoundError, match=r"datasets\.train\.dataroot_clean"):
        resolve_paths({**options, "path": {}}, option_file.parents[1])


def test_what_must_be_given_is_named(option_file):
    section = load_options(option_file, [])["datasets"]["train"]
    build_dataset = importlib.import_module("basicsr.data").build_dataset
    for key in ("dataroot_lq", "dataroot_clean"):
        with pytest.raises(ValueError, match=f"UnpairedRainDataset: `{key}` must be given, got nothing"):
            build_dataset({**{k: v for k, v in section.items() if k != key}, "phase": "train"})
