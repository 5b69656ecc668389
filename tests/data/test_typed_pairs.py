"""Data sets of several types: what a sample is, natural and balanced sampling, the split of photographs, errors."""

import cv2
import numpy as np
import pytest
import torch

from msgnn_plugin.data import PairedExemplarDataset, SyntheticRainDataset, SyntheticTypedDataset, TypedPairDataset

COUNTS = {"drs": 5, "drd": 2, "nrs": 1, "nrd": 3}


@pytest.fixture
def tree(tmp_path, make_pair):
    for number, (name, count) in enumerate(COUNTS.items()):
        for n in range(count):
            rainy, clean = make_pair(10 * number + n, size=(30, 40))
            for folder, picture in (("input", rainy), ("target", clean)):
                path = tmp_path / name / folder / f"{n}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), picture[..., ::-1])
    return tmp_path


@pytest.fixture
def photographs(tmp_path, make_pair):
    for n in range(21):
        cv2.imwrite(str(tmp_path / f"{n:02}.png"), make_pair(n, size=(40, 48))[1])
    return tmp_path


def test_natural_takes_every_pair_once_with_its_type(tree):
    dataset = TypedPairDataset(root=tree)
    samples = [dataset[i] for i in range(len(dataset))]
    assert [sample["type_id"] for sample in samples] == [0] * 5 + [1] * 2 + [2] + [3] * 3
    assert len({sample["lq_path"] for sample in samples}) == 11
    for sample in samples:
        assert set(sample) == {"lq", "gt", "type_id", "lq_path", "gt_path"}
        home = tree / list(COUNTS)[sample["type_id"]]
        assert sample["lq_path"].startswith(str(home / "input"))
        clean = cv2.imread(sample["lq_path"].replace("/input/", "/target/"))[..., ::-1] / np.float32(255)
        torch.testing.assert_close(sample["gt"], torch.from_numpy(clean.transpose(2, 0, 1).copy()))


def test_balanced_takes_each_type_as_often(tree):
    dataset = TypedPairDataset(root=tree, sampling="balanced", crop_size=8)
    samples = [dataset[i, 1000 + i] for i in range(len(dataset))]
    assert np.bincount([sample["type_id"] for sample in samples]).tolist() == [5, 5, 5, 5]
    paths = [sample["lq_path"] for sample in samples if sample["type_id"] == 1]
    assert sorted(paths.count(path) for path in set(paths)) == [2, 3]
    # A pair that comes again comes with another crop.
    only = [sample["lq"] for sample in samples if sample["type_id"] == 2]
    assert not any(torch.equal(only[0], other) for other in only[1:])


def test_samples_are_those_of_the_plain_data_set(tree):
    settings = {"crop_size": 16, "flip": True, "rotate": True, "seed": 5}
    typed = TypedPairDataset(root=tree, types=["nrd", "drs"], **settings)
    plain = PairedExemplarDataset(root=tree / "nrd", exemplar="self", **settings)
    for number in (0, 9, 77):
        assert torch.equal(typed[2, number]["lq"], plain[2, number]["lq"])
        assert torch.equal(typed[2, number]["gt"], plain[2, number]["gt"])
    assert torch.equal(typed[1]["lq"], plain[1]["lq"])
    assert [typed[i]["type_id"] for i in range(len(typed))] == [0, 0, 0, 1, 1, 1, 1, 1]


def test_limit_is_spread_over_a_type(tree):
    dataset = TypedPairDataset(root=tree, limit=2)
    names = [(dataset[i]["type_id"], dataset[i]["lq_path"].rsplit("/", 1)[1]) for i in range(len(dataset))]
    assert names == [(0, "0.png"), (0, "2.png"), (1, "0.png"), (1, "1.png"), (2, "0.png"), (3, "0.png"), (3, "1.png")]


def test_training_and_held_out_photographs_are_disjoint(photographs):
    paths = {}
    for subset in ("all", "train", "val"):
        dataset = SyntheticTypedDataset(root=photographs, subset=subset, crop_size=16)
        seen = [(dataset[i]["type_id"], dataset[i]["gt_path"]) for i in range(len(dataset))]
        paths[subset] = {path for _, path in seen}
        assert len(set(seen)) == len(seen) == 4 * len(paths[subset])
    assert {path[-6:-4] for path in paths["val"]} == {"00", "10", "20"}
    assert not paths["val"] & paths["train"]
    assert paths["val"] | paths["train"] == paths["all"]


def test_made_rain_is_of_the_types_presets(photographs):
    typed = SyntheticTypedDataset(root=photographs, types=("drs", "nrd"), crop_size=24, seed=2, limit=3)
    plain = SyntheticRainDataset(root=photographs, preset="nrd", crop_size=24, seed=2, exemplar="self")
    sample, expected = typed[4, 50], plain[7, 50]
    assert (sample["type_id"], sample["gt_path"]) == (1, expected["gt_path"])
    assert torch.equal(sample["lq"], expected["lq"])


def test_refusals(tree, tmp_path):
    for settings, message in (
        ({"types": ()}, r"`types` must be a list of at least one name, each once, got \(\)"),
        ({"types": "drs"}, "each once, got 'drs'"),
        ({"types": ("drs", "drs")}, "each once"),
        ({"limit": 0}, "`limit` must be at least 1 or None, got 0"),
        ({"sampling": "even"}, "`sampling` must be natural or balanced, got 'even'"),
        ({"crop_size": 0}, "`crop_size` must be at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            TypedPairDataset(root=tree, **settings)
    with pytest.raises(FileNotFoundError, match="nrx"):
        TypedPairDataset(root=tree, types=("drs", "nrx"))
    with pytest.raises(IndexError, match=r"TypedPairDataset: index must be in \[-11, 11\), got 11"):
        TypedPairDataset(root=tree)[11]
    with pytest.raises(ValueError, match="`subset` must be all, train or val, got 'test'"):
        SyntheticTypedDataset(root=tree, subset="test")
    with pytest.raises(ValueError, match="`preset` must be one of"):
        SyntheticTypedDataset(root=tree, types=("fog",))
    with pytest.raises(ValueError, match="must hold at least 2 photographs"):
        SyntheticTypedDataset(root=tree / "nrs" / "input", subset="train")
