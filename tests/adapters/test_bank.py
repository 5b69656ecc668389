"""The bank of exemplars in training, resuming, validating and testing."""

import cv2
import numpy as np
import pytest
import torch

from msgnn_plugin.data import description_cache
from msgnn_plugin.data.exemplar_bank import ExemplarBank
from tests.adapters.test_training import read_csv
from tests.adapters.tiny_run import (
    assert_same_weights,
    make_project,
    measuring_options,
    run,
    tiny_options,
    weights_of,
    write_options,
)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def options_with_bank(**train):
    options = tiny_options()
    options["train"].update({"exemplar_bank": 3, "exemplar_bank_size": 16, **train})
    options["datasets"]["train"]["exemplar"] = options["datasets"]["val"]["exemplar"] = "retrieved"
    return options


def holds(source, crop):
    windows = np.lib.stride_tricks.sliding_window_view(source, crop.shape)
    return (windows == crop).all(axis=(3, 4, 5)).any()


def test_every_checkpoint_carries_crops_of_the_training_set(tmp_path):
    run("train", make_project(tmp_path, options_with_bank()))
    weights = weights_of(tmp_path)
    bank = weights["params"]["exemplar_bank"]
    assert bank.dtype == torch.uint8
    assert bank.shape == (3, 3, 16, 16)
    for file in ("net_g_2.pth", "net_g_best.pth", "net_g_latest.pth"):
        for key in ("params", "params_ema"):
            assert torch.equal(weights_of(tmp_path, file)[key]["exemplar_bank"], bank)
    sources = [cv2.imread(str(path))[:, :, ::-1] for path in (tmp_path / "data/train/rain").iterdir()]
    for image in bank:
        assert any(holds(source, image.permute(1, 2, 0).numpy()) for source in sources)


def test_resumes_bit_identically_with_a_bank(tmp_path):
    run("train", make_project(tmp_path / "whole", options_with_bank()))
    option_file = make_project(tmp_path / "broken", options_with_bank())
    for stop in (2, 4, 6):
        run("train", option_file, "--auto_resume", "--force_yml", f"train:total_iter={stop}")
    # What is taken up is the bank of the weights, whatever the pictures are by now.
    first = weights_of(tmp_path / "broken", "net_g_6.pth")["params"]["exemplar_bank"]
    run("train", option_file, "--auto_resume", "--force_yml", "train:exemplar_bank=2")
    assert_same_weights(weights_of(tmp_path / "whole"), weights_of(tmp_path / "broken"))
    assert torch.equal(weights_of(tmp_path / "broken")["params_ema"]["exemplar_bank"], first)


def test_the_bank_changes_nothing_of_the_training(tmp_path):
    run("train", make_project(tmp_path / "with", options_with_bank()))
    run("train", make_project(tmp_path / "without", options_with_bank(exemplar_bank=0, exemplar_bank_size=None)))
    one, other = (weights_of(tmp_path / name)["params"] for name in ("with", "without"))
    assert [name for name in one if not torch.equal(one[name], other[name])] == ["exemplar_bank"]


def test_retrieved_in_testing_means_the_nearest_of_the_bank(tmp_path, monkeypatch):
    run("train", make_project(tmp_path, options_with_bank()))
    options = measuring_options()
    options["datasets"]["test"]["exemplar"] = "retrieved"
    chosen = []
    plain = ExemplarBank.nearest
    monkeypatch.setattr(ExemplarBank, "nearest", lambda bank, rainy: chosen.append(plain(bank, rainy)) or chosen[-1])
    test_file = write_options(tmp_path / "options/test.yml", options)
    run("test", test_file)
    bank = weights_of(tmp_path)["params"]["exemplar_bank"]
    assert len(chosen) == 2
    assert all(any(torch.equal(exemplar[0], image / 255) for image in bank) for exemplar in chosen)
    # The validation at the end of the training measured the same.
    tested = read_csv(tmp_path / "results/measured/metrics/first.csv")
    validated = read_csv(tmp_path / "experiments/tiny/metrics/first/8.csv")
    assert [row["psnr"] for row in tested] == [row["psnr"] for row in validated]
    run("test", test_file, "--force_yml", "name=random", "datasets:test:exemplar=random")
    assert len(chosen) == 2
    other = read_csv(tmp_path / "results/random/metrics/first.csv")
    assert [row["psnr"] for row in other] != [row["psnr"] for row in tested]


@pytest.mark.parametrize(
    ("forced", "sentence"),
    [
        ("train:exemplar_bank=-1", "`train.exemplar_bank` must be at least 0, got -1"),
        ("train:exemplar_bank_size=0", "`train.exemplar_bank_size` must be at least 1, got 0"),
        (
            "train:exemplar_bank=0",
            "`train.exemplar_bank_size` must be left out where `train.exemplar_bank` is 0",
        ),
        ("network_g:use_exemplar=false", "`train.exemplar_bank` must be 0 for a network that uses no exemplar, got 3"),
        ("train:exemplar_bank=6", "`train.exemplar_bank` must be at most the training set's 5, got 6"),
        ("train:exemplar_bank_size=25", r"`train.exemplar_bank_size` must suit every picture, got 25: .*24x24"),
        ("datasets:train:exemplar_nearest=0", "`exemplar_nearest` must be at least 1, got 0"),
    ],
)
def test_wrong_settings_are_told(tmp_path, forced, sentence):
    with pytest.raises(ValueError, match=sentence):
        run("train", make_project(tmp_path, options_with_bank()), "--force_yml", forced)


def test_describes_a_set_once_for_all_runs(tmp_path, monkeypatch):
    option_file = make_project(tmp_path, options_with_bank(exemplar_bank=0, exemplar_bank_size=None))
    described = []
    plain = description_cache.describe_rain
    monkeypatch.setattr(description_cache, "describe_rain", lambda image: described.append(1) or plain(image))
    for _ in range(2):
        run("train", option_file, "--force_yml", "train:total_iter=2")
        assert len(described) == 7
