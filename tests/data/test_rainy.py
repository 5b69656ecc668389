import cv2
import numpy as np
import pytest
import torch

from msgnn_plugin.data.rainy import RainyExemplarDataset

SIZES = {"a": (10, 12), "b": (7, 30), "c": (20, 9)}


@pytest.fixture
def folder(tmp_path):
    generator = np.random.default_rng(0)
    for name, size in SIZES.items():
        cv2.imwrite(str(tmp_path / f"{name}.png"), generator.integers(0, 256, (*size, 3), dtype=np.uint8))
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def test_pictures_come_whole_with_another_one_as_exemplar(folder):
    dataset = RainyExemplarDataset(root=folder)
    assert len(dataset) == 3
    for index, (name, size) in enumerate(SIZES.items()):
        sample = dataset[index]
        assert set(sample) == {"lq", "exemplar", "lq_path", "exemplar_path"}
        assert sample["lq_path"] == str(folder / f"{name}.png")
        assert sample["exemplar_path"] != sample["lq_path"]
        stored = cv2.imread(sample["lq_path"])[..., ::-1].transpose(2, 0, 1)
        assert sample["lq"].shape == (3, *size)
        torch.testing.assert_close(sample["lq"], torch.from_numpy(stored / np.float32(255)))
        assert torch.equal(dataset[index]["exemplar"], sample["exemplar"])


def test_every_other_picture_serves_as_exemplar_under_some_seed(folder):
    drawn = {RainyExemplarDataset(root=folder, seed=seed)[0]["exemplar_path"] for seed in range(20)}
    assert drawn == {str(folder / "b.png"), str(folder / "c.png")}


def test_policies(folder):
    paths = {
        policy: [sample["exemplar_path"][-5] for sample in map(dataset.__getitem__, range(3))]
        for policy, dataset in {p: RainyExemplarDataset(root=folder, exemplar=p) for p in ("fixed", "self")}.items()
    }
    assert paths == {"fixed": ["b", "c", "a"], "self": ["a", "b", "c"]}
    named = RainyExemplarDataset(root=folder, exemplar="fixed", exemplar_path=folder / "b.png")
    assert [named[index]["exemplar_path"][-5] for index in range(3)] == ["b", "b", "b"]


def test_rain_that_looks_alike_is_retrieved(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    grey = np.full((64, 64, 3), 90, np.uint8)
    for number, slope in enumerate((0, 0, 3, 3)):
        picture = grey.copy()
        for row in range(64):
            picture[row, (np.arange(4, 64, 12 + number) + row * slope // 3) % 64] = 230
        cv2.imwrite(str(tmp_path / f"{number}.png"), picture)
    dataset = RainyExemplarDataset(root=tmp_path, exemplar="retrieved", exemplar_nearest=1)
    assert [dataset[index]["exemplar_path"][-5] for index in range(4)] == ["1", "0", "3", "2"]


def test_names_to_leave_out(folder):
    assert [RainyExemplarDataset(root=folder, exclude=["b"])[index]["lq_path"][-5] for index in (0, 1)] == ["a", "c"]


def test_grey_pictures_and_16_bits(tmp_path):
    grey = np.arange(16, dtype=np.uint16).reshape(4, 4) * 4096
    cv2.imwrite(str(tmp_path / "g.png"), grey)
    sample = RainyExemplarDataset(root=tmp_path, exemplar="self")[0]
    torch.testing.assert_close(sample["lq"], torch.from_numpy(grey / np.float32(65535)).expand(3, 4, 4))


@pytest.mark.parametrize(
    ("settings", "error", "sentence"),
    [
        ({"root": "gone"}, FileNotFoundError, "`root` must be a folder"),
        ({"exclude": ["a", "b", "c"]}, FileNotFoundError, "must hold a picture"),
        ({"seed": -1}, ValueError, "`seed` must be at least 0"),
        ({"exemplar": "best"}, ValueError, "`exemplar` must be one of"),
        ({"exemplar_path": "x.png"}, ValueError, "must be 'fixed' for exemplar_path"),
        ({"exemplar": "fixed", "exemplar_path": "x.png"}, FileNotFoundError, "`exemplar_path` must be a picture"),
        ({"exclude": ["b", "c"]}, ValueError, "`exemplar` must be 'self'"),
    ],
)
def test_bad_settings_are_told(folder, settings, error, sentence):
    with pytest.raises(error, match=sentence):
        RainyExemplarDataset(**{"root": folder, **settings})


def test_names_that_would_overwrite_each_other_are_told(folder):
    cv2.imwrite(str(folder / "a.jpg"), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match=r"got a\.(jpg|png) and a\.(jpg|png) in"):
        RainyExemplarDataset(root=folder)


def test_a_broken_picture_and_a_wrong_index_are_told(folder):
    (folder / "b.png").write_bytes((folder / "b.png").read_bytes()[:60])
    dataset = RainyExemplarDataset(root=folder, exemplar="self")
    with pytest.raises(ValueError, match=r"b\.png` must be a whole picture"):
        dataset[1]
    with pytest.raises(IndexError, match=r"in \[0, 3\), got 3"):
        dataset[3]
