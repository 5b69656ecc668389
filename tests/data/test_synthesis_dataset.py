"""The data set that makes its rain while it is read, and the one that is written out."""

import json
import multiprocessing
import pickle

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from msgnn_plugin.data import PairedExemplarDataset, SampleNumberSampler, SyntheticRainDataset
from msgnn_plugin.data.rain_writing import RainSet, make_rain, write_rain_set


@pytest.fixture
def photographs(tmp_path, write):
    """Five photographs of 48x56 pixels in two folders, one of them grey and one of 16 bits."""
    for place in ("1", "2", "sub/3"):
        write(tmp_path / "clean" / f"{place}.png", size=(48, 56))
    write(tmp_path / "clean" / "sub" / "4.png", size=(48, 56), dtype=np.uint16)
    grey = np.random.default_rng(0).integers(256, size=(48, 56), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "clean" / "5.png"), grey)
    (tmp_path / "clean" / ".hidden").mkdir()
    (tmp_path / "clean" / "notes.txt").write_text("no picture")
    return tmp_path / "clean"


def same(one, other):
    return all(torch.equal(one[key], other[key]) for key in ("lq", "gt", "exemplar"))


@pytest.mark.parametrize("preset", ["rain200l", "nrs", "drd"])
def test_a_sample_is_a_function_of_seed_and_number(photographs, preset):
    keywords = {"root": photographs, "preset": preset, "crop_size": 24, "flip": True, "rotate": True}
    dataset, again = (SyntheticRainDataset(**keywords, seed=3) for _ in range(2))
    first = [dataset[index, number] for index, number in ((0, 7), (1, 8), (0, 9))]
    backwards = [again[index, number] for index, number in ((0, 9), (1, 8), (0, 7))][::-1]
    assert all(same(one, other) for one, other in zip(first, backwards, strict=True))
    assert not torch.equal(first[0]["lq"], first[2]["lq"])
    assert not torch.equal(SyntheticRainDataset(**keywords, seed=4)[0, 7]["lq"], first[0]["lq"])
    assert same(dataset[2], dataset[2, 2])
    assert same(pickle.loads(pickle.dumps(dataset))[0, 7], first[0])


@pytest.mark.parametrize("preset", ["rain200h", "nrd"])
def test_workers_see_the_same_samples(photographs, preset):
    dataset = SyntheticRainDataset(root=photographs, preset=preset, crop_size=24, flip=True)
    # Starts OpenCV's threads here, which a forked worker does not have.
    cv2.GaussianBlur(np.zeros((1500, 1500, 3), np.float32), (0, 0), 5)
    sampler = SampleNumberSampler(len(dataset), batch_size=2, enlarge=2)
    forked = multiprocessing.get_context("fork")
    runs = [
        list(DataLoader(dataset, batch_size=2, sampler=sampler, num_workers=workers, **keywords))
        for workers, keywords in ((0, {}), (2, {"multiprocessing_context": forked, "timeout": 100}))
    ]
    assert len(runs[0]) > 2
    assert all(same(one, other) for one, other in zip(*runs, strict=True))


def test_samples_hold_what_they_promise(photographs):
    dataset = SyntheticRainDataset(root=photographs, preset="rain200h", crop_size=24)
    assert [str(path.relative_to(photographs)) for path in dataset.paths] == [
        *("1.png", "2.png", "5.png"),
        *("sub/3.png", "sub/4.png"),
    ]
    for index in range(5):
        sample = dataset[index]
        for key in ("lq", "gt", "exemplar"):
            assert sample[key].shape == (3, 24, 24)
            assert sample[key].dtype == torch.float32
            assert 0 <= sample[key].min() <= sample[key].max() <= 1
        assert (sample["lq"] >= sample["gt"]).all()
        assert (sample["lq"] > sample["gt"]).any()
        assert sample["lq_path"] == sample["gt_path"] == str(dataset.paths[index])
        assert sample["exemplar_path"] != sample["lq_path"]
    whole = SyntheticRainDataset(root=photographs, preset="rain200h")[0]
    assert whole["lq"].shape == whole["gt"].shape == (3, 48, 56)


def test_self_and_fixed_exemplars(photographs):
    own = SyntheticRainDataset(root=photographs, preset="drs", crop_size=24, exemplar="self")[1]
    torch.testing.assert_close(own["exemplar"], own["lq"], rtol=0, atol=0)
    fixed = SyntheticRainDataset(root=photographs, preset="drs", crop_size=24, exemplar="fixed")[1]
    assert fixed["exemplar_path"].endswith("5.png")


def test_crops_of_haze_are_cut_out_of_the_whole_picture(tmp_path, write):
    # The veil is thickest at the upper edge: a crop's own haze would be so in every crop.
    write(tmp_path / "a.png", image=np.zeros((160, 32, 3), np.uint8))
    dataset = SyntheticRainDataset(root=tmp_path, preset="drs", crop_size=32, exemplar="self")
    veil = [np.percentile(dataset[0, number]["lq"], 5) for number in range(40)]
    assert np.ptp(veil) > 0.1


def test_exclude_takes_names_in_any_folder(photographs):
    dataset = SyntheticRainDataset(root=photographs, preset="rain200l", exclude=[3, "5.png", "elsewhere"])
    assert [path.stem for path in dataset.paths] == ["1", "2", "4"]


@pytest.mark.parametrize(
    ("keywords", "sentence"),
    [
        ({"preset": "rain20l"}, r"`preset` must be one of .* Did you mean rain200l\?"),
        ({"crop_size": 0}, "`crop_size` must be at least 1 or None, got 0"),
        ({"seed": -1}, "`seed` must be at least 0, got -1"),
        ({"exemplar": "retrieved"}, "`exemplar` must be random, fixed or self, as rain .* got 'retrieved'"),
        ({"exclude": [1, 2, 3, 4]}, "`exemplar` must be 'self' or a path be given for a set of 1"),
    ],
)
def test_refuses_arguments(photographs, keywords, sentence):
    with pytest.raises(ValueError, match=sentence):
        SyntheticRainDataset(**{"root": photographs, "preset": "rain200l", **keywords})


def test_refuses_folders_crops_and_indices(photographs, tmp_path):
    with pytest.raises(FileNotFoundError, match="`root` must be a folder, got"):
        SyntheticRainDataset(root=tmp_path / "none", preset="rain200l")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="`root` must hold at least one picture"):
        SyntheticRainDataset(root=tmp_path / "empty", preset="rain200l")
    with pytest.raises(ValueError, match=r"1\.png` must be at least crop_size = 50 pixels a side, got 56x48"):
        SyntheticRainDataset(root=photographs, preset="rain200l", crop_size=50)[0]
    with pytest.raises(IndexError, match=r"index must be in \[-5, 5\), got 5"):
        SyntheticRainDataset(root=photographs, preset="rain200l")[5]


def test_a_written_set_is_read_as_pairs(photographs, tmp_path):
    assert write_rain_set(photographs, tmp_path / "out", RainSet("rain200h", keep_rain=True)) == (5, 0)
    dataset = PairedExemplarDataset(root=tmp_path / "out")
    assert [pair.name for pair in dataset.pairs] == ["1", "2", "3", "4", "5"]
    for index in range(5):
        sample = dataset[index]
        rain = cv2.imread(str(tmp_path / "out" / "rain_layer" / f"{index + 1}.png"))[..., ::-1]
        lq, gt = ((255 * sample[key]).round().numpy().transpose(1, 2, 0).astype(int) for key in ("lq", "gt"))
        np.testing.assert_array_equal(lq, np.minimum(gt + rain, 255))
    original = cv2.imread(str(photographs / "1.png"))[..., ::-1]
    np.testing.assert_array_equal((255 * dataset[0]["gt"]).round().numpy().transpose(1, 2, 0), original)


@pytest.mark.parametrize(("preset", "cleans"), [("rain1400", 5), ("nrd", 10)])
def test_several_rains_of_one_photograph(photographs, tmp_path, preset, cleans):
    write_rain_set(photographs, tmp_path / "out", RainSet(preset, per_picture=2))
    assert len(list((tmp_path / "out" / "clean").iterdir())) == cleans
    dataset = PairedExemplarDataset(root=tmp_path / "out")
    assert [pair.name for pair in dataset.pairs][:3] == ["1_1", "1_2", "2_1"]
    assert not torch.equal(dataset[0]["lq"], dataset[1]["lq"])
    assert RainSet("rain1400").per_picture == 14


def test_equal_names_in_two_folders_take_the_folders_name(tmp_path, write):
    for place in ("a/1.png", "b/1.png"):
        write(tmp_path / "clean" / place)
    write_rain_set(tmp_path / "clean", tmp_path / "out", RainSet("rain200l"))
    assert sorted(path.name for path in (tmp_path / "out" / "rainy").iterdir()) == ["a_1.png", "b_1.png"]
    write(tmp_path / "clean" / "a" / "1.jpg")
    with pytest.raises(ValueError, match=r"must differ in more than the suffix, got a/1\.jpg and a/1\.png"):
        write_rain_set(tmp_path / "clean", tmp_path / "other", RainSet("rain200l"))


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.png")}


def test_an_interrupted_run_goes_on_to_the_same_set(photographs, tmp_path):
    rain_set = RainSet("rain200l", seed=5)
    write_rain_set(photographs, tmp_path / "whole", rain_set)
    make_rain(("sub/3.png", "3"), tmp_path / "out", rain_set, photographs)
    (tmp_path / "out" / "synthesis.json").write_text(json.dumps(vars(rain_set)))
    kept = (tmp_path / "out" / "rainy" / "3.png").stat().st_mtime_ns
    done = []
    write_rain_set(photographs, tmp_path / "out", rain_set, on_done=lambda: done.append(1))
    assert len(done) == 5
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert (tmp_path / "out" / "rainy" / "3.png").stat().st_mtime_ns == kept


def test_a_set_is_refused_before_anything_is_written(photographs, tmp_path):
    with pytest.raises(ValueError, match="`out` must lie outside the clean photographs"):
        write_rain_set(photographs, photographs / "out", RainSet("rain200l"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("")
    with pytest.raises(ValueError, match="`out` must be new or hold an earlier run"):
        write_rain_set(photographs, tmp_path / "full", RainSet("rain200l"))
    write_rain_set(photographs, tmp_path / "out", RainSet("rain200l"))
    with pytest.raises(ValueError, match=r"`out` must be new or hold a set made with .*'seed': 1"):
        write_rain_set(photographs, tmp_path / "out", RainSet("rain200l", seed=1))
    with pytest.raises(ValueError, match="`jobs` must be at least 1, got 0"):
        write_rain_set(photographs, tmp_path / "new", RainSet("rain200l"), jobs=0)
    for build, sentence in (
        (lambda: RainSet("rain200l", seed=-1), "`seed` must be at least 0, got -1"),
        (lambda: RainSet("rain200l", per_picture=0), "`per_picture` must be at least 1, got 0"),
        (lambda: RainSet("drd", keep_rain=True), "`rain` must be left out for the preset drd"),
        (lambda: RainSet("snow"), "`preset` must be one of"),
    ):
        with pytest.raises(ValueError, match=sentence):
            build()
