"""Samples are right, and nothing but (seed, sample number) decides what is drawn for them."""

import pickle

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from msgnn_plugin.data import PairedExemplarDataset, SampleNumberSampler


def _tensor(image):
    return torch.from_numpy(image.astype(np.float32).transpose(2, 0, 1) / np.iinfo(image.dtype).max)


def _same(one, other):
    return one.keys() == other.keys() and all(
        torch.equal(one[key], other[key]) if isinstance(one[key], torch.Tensor) else one[key] == other[key]
        for key in one
    )


def test_whole_pictures_as_they_are(tmp_path, write):
    rainy = [write(tmp_path / "rain" / f"{n}.png", size=(7, 5 + n)) for n in (1, 2)]
    clean = [write(tmp_path / "norain" / f"{n}.png", size=(7, 5 + n)) for n in (1, 2)]
    sample = PairedExemplarDataset(root=tmp_path)[0]
    assert torch.equal(sample["lq"], _tensor(rainy[0]))
    assert torch.equal(sample["gt"], _tensor(clean[0]))
    assert torch.equal(sample["exemplar"], _tensor(rainy[1]))
    assert sample["lq"].dtype == torch.float32
    assert [sample[f"{key}_path"] for key in ("lq", "gt", "exemplar")] == [
        str(tmp_path / name) for name in ("rain/1.png", "norain/1.png", "rain/2.png")
    ]


@pytest.mark.parametrize("left", ["clean", "rainy"])
def test_halves_of_one_file(tmp_path, write, left):
    images = [write(tmp_path / f"{n}.png", size=(6, 10)) for n in (1, 2)]
    halves = images[0][:, :5], images[0][:, 5:]
    clean, rainy = halves if left == "clean" else halves[::-1]
    sample = PairedExemplarDataset(root=tmp_path, left=left)[0]
    assert torch.equal(sample["lq"], _tensor(rainy))
    assert torch.equal(sample["gt"], _tensor(clean))


def test_16_bit_grey_and_alpha_pictures(tmp_path, write):
    deep = write(tmp_path / "rain" / "1.png", size=(4, 4), dtype=np.uint16)
    grey_alpha = np.arange(64, dtype=np.uint8).reshape(4, 4, 4)
    grey_alpha[:, :, 1:3] = grey_alpha[:, :, :1]
    (tmp_path / "norain").mkdir()
    (tmp_path / "norain" / "1.png").write_bytes(cv2.imencode(".png", grey_alpha)[1].tobytes())
    (tmp_path / "rain" / "2.png").write_bytes(cv2.imencode(".png", grey_alpha[:, :, 0])[1].tobytes())
    (tmp_path / "norain" / "2.png").write_bytes((tmp_path / "rain" / "2.png").read_bytes())
    dataset = PairedExemplarDataset(root=tmp_path)
    assert torch.equal(dataset[0]["lq"], _tensor(deep))
    for tensor in (dataset[0]["gt"], dataset[1]["lq"], dataset[0]["exemplar"]):
        assert torch.equal(tensor, _tensor(grey_alpha[:, :, :3]))


def test_non_ascii_paths(tmp_path, write):
    image = write(tmp_path / "雨 ü" / "rain" / "é.png")
    write(tmp_path / "雨 ü" / "norain" / "é.png")
    assert torch.equal(PairedExemplarDataset(root=tmp_path / "雨 ü", exemplar="self")[0]["lq"], _tensor(image))


def test_crops_reach_every_position(tmp_path, write):
    # Every pixel of these pictures is different, so the first one of a crop tells where it was taken.
    rows, columns = np.mgrid[0:7, 0:9].astype(np.uint8)
    for name, blue in (("rain", 1), ("norain", 2)):
        write(tmp_path / name / "1.png", image=np.stack([rows, columns, np.full_like(rows, blue)], axis=2))
    dataset = PairedExemplarDataset(root=tmp_path, crop_size=4, exemplar="self")
    seen, seen_exemplar, apart = set(), set(), 0
    for number in range(600):
        sample = {key: (dataset[0, number][key] * 255).round().long() for key in ("lq", "gt", "exemplar")}
        corner = tuple(sample["lq"][:2, 0, 0].tolist())
        assert sample["lq"].shape == (3, 4, 4)
        assert torch.equal(sample["lq"][:2], sample["gt"][:2])
        exemplar_corner = tuple(sample["exemplar"][:2, 0, 0].tolist())
        seen.add(corner)
        seen_exemplar.add(exemplar_corner)
        apart += corner != exemplar_corner
    everywhere = {(row, column) for row in range(4) for column in range(6)}
    assert seen == everywhere
    assert seen_exemplar == everywhere
    assert apart > 500


def test_flips_and_rotations_turn_both_sides_alike(tmp_path, write):
    image = write(tmp_path / "rain" / "1.png", size=(4, 4))
    write(tmp_path / "norain" / "1.png", image=image)
    dataset = PairedExemplarDataset(root=tmp_path, flip=True, rotate=True, exemplar="self")
    turned = [_tensor(np.rot90(view, times)) for view in (image, image[:, ::-1]) for times in range(4)]
    seen = set()
    for number in range(100):
        sample = dataset[0, number]
        assert torch.equal(sample["lq"], sample["gt"])
        assert torch.equal(sample["lq"], sample["exemplar"])
        seen.update(place for place, view in enumerate(turned) if torch.equal(view, sample["lq"]))
    assert seen == set(range(8))
    only_flip = PairedExemplarDataset(root=tmp_path, flip=True, exemplar="self")
    views = [only_flip[0, number]["lq"] for number in range(30)]
    assert all(torch.equal(view, turned[0]) or torch.equal(view, turned[4]) for view in views)
    assert any(torch.equal(view, turned[4]) for view in views)


def test_random_exemplar_is_any_other_picture(pair_folder):
    dataset = PairedExemplarDataset(root=pair_folder)
    for index in range(5):
        paths = {dataset[index, number]["exemplar_path"] for number in range(60)}
        assert paths == {pair.rainy.path for place, pair in enumerate(dataset.pairs) if place != index}


def test_fixed_exemplar(pair_folder, tmp_path, write):
    dataset = PairedExemplarDataset(root=pair_folder, exemplar="fixed")
    names = {(index, dataset[index, number]["exemplar_path"]) for index in range(5) for number in (0, 99)}
    assert names == {(index, dataset.pairs[(index + 1) % 5].rainy.path) for index in range(5)}
    image = write(tmp_path / "street.png", size=(30, 40))
    sample = PairedExemplarDataset(root=pair_folder, exemplar="fixed", exemplar_path=tmp_path / "street.png")[0]
    assert torch.equal(sample["exemplar"], _tensor(image))
    assert sample["exemplar_path"] == str(tmp_path / "street.png")


def test_draws_depend_on_seed_and_sample_number_alone(pair_folder):
    dataset = PairedExemplarDataset(root=pair_folder, crop_size=8, flip=True, rotate=True, seed=3)
    sample = dataset[2, 17]
    torch.manual_seed(1)
    np.random.seed(1)
    assert _same(sample, dataset[2, 17])
    assert _same(dataset[2], dataset[2, 2])
    assert _same(dataset[-3], dataset[2])
    assert _same(pickle.loads(pickle.dumps(dataset))[2, 17], sample)
    assert not _same(dataset[2, 18], sample)
    other_seed = PairedExemplarDataset(root=pair_folder, crop_size=8, flip=True, rotate=True, seed=4)
    assert not _same(other_seed[2, 17], sample)


def _load(dataset, workers, context):
    sampler = SampleNumberSampler(len(dataset), batch_size=2, enlarge=3)
    loader = DataLoader(dataset, 2, sampler=sampler, num_workers=workers, multiprocessing_context=context)
    return list(loader)


@pytest.mark.parametrize("context", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_change_nothing(pair_folder, context):
    dataset = PairedExemplarDataset(root=pair_folder, crop_size=8, flip=True)
    alone, together = _load(dataset, 0, None), _load(dataset, 2, context)
    assert len(alone) == 8
    assert all(_same(one, other) for one, other in zip(alone, together, strict=True))
    # Three passes through five pictures: each is seen again under another crop.
    crops = [crop for batch in alone for crop in batch["lq"]]
    assert not any(torch.equal(one, other) for place, one in enumerate(crops) for other in crops[:place])


def test_refuses_pictures_that_do_not_fit(tmp_path, write):
    write(tmp_path / "rain" / "1.png", size=(9, 12))
    write(tmp_path / "norain" / "1.png", size=(9, 11))
    with pytest.raises(ValueError, match=r"rain/1\.png` must be as large as .*norain/1\.png, 11x9, got 12x9"):
        PairedExemplarDataset(root=tmp_path, exemplar="self")[0]
    write(tmp_path / "norain" / "1.png", size=(9, 12))
    with pytest.raises(ValueError, match=r"rain/1\.png` must be at least crop_size = 10 pixels a side, got 12x9"):
        PairedExemplarDataset(root=tmp_path, exemplar="self", crop_size=10)[0]
    assert PairedExemplarDataset(root=tmp_path, exemplar="self", crop_size=9)[0]["lq"].shape == (3, 9, 9)


def test_refuses_halves_of_odd_width(tmp_path, write):
    write(tmp_path / "1.png", size=(6, 11))
    with pytest.raises(ValueError, match=r"1\.png` must have an even width to be a pair of two halves, got 11"):
        PairedExemplarDataset(root=tmp_path, exemplar="self")[0]


@pytest.mark.parametrize(
    ("content", "sentence"), [(b"", "got an empty file"), (b"no picture", "got 10 bytes that are")]
)
def test_refuses_damaged_pictures(pair_folder, content, sentence):
    (pair_folder / "rain" / "1.png").write_bytes(content)
    with pytest.raises(ValueError, match=rf"rain/1\.png` must be a whole picture, {sentence}"):
        PairedExemplarDataset(root=pair_folder)[0]


def test_refuses_truncated_pictures(pair_folder):
    path = pair_folder / "rain" / "1.png"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"must be a whole picture, got .* bytes that are cut short"):
        PairedExemplarDataset(root=pair_folder)[0]


@pytest.mark.parametrize(
    ("keywords", "sentence"),
    [
        ({"crop_size": 0}, "`crop_size` must be at least 1 or None, got 0"),
        ({"seed": -1}, "`seed` must be at least 0, got -1"),
        ({"exemplar": "best"}, "`exemplar` must be one of random, fixed, self, retrieved, got 'best'"),
        ({"exemplar_path": "x.png"}, "`exemplar` must be 'fixed' for exemplar_path, got 'random'"),
        (
            {"exclude": ["1", "2", "3", "4"]},
            "`exemplar` must be 'self' or a path be given for a set of 1, got 'random'",
        ),
    ],
)
def test_refuses_arguments(pair_folder, keywords, sentence):
    with pytest.raises(ValueError, match=sentence):
        PairedExemplarDataset(root=pair_folder, **keywords)


def test_refuses_missing_exemplar_and_index(pair_folder):
    with pytest.raises(FileNotFoundError, match=r"`exemplar_path` must be a picture, got x\.png"):
        PairedExemplarDataset(root=pair_folder, exemplar="fixed", exemplar_path="x.png")
    with pytest.raises(IndexError, match=r"index must be in \[-5, 5\), got 5"):
        PairedExemplarDataset(root=pair_folder)[5]


@pytest.mark.parametrize(("name", "count"), [("rain200h_sample/train", 20), ("rain800/test", 50), ("rain100h", 25)])
def test_real_pairs_belong_together(shared, name, count):
    dataset = PairedExemplarDataset(root=shared / "data" / name, crop_size=64)
    assert len(dataset) == count
    samples = [dataset[index] for index in range(0, count, 5)]
    # A rainy crop differs from its own clean crop by rain alone, from all others by the whole scene.
    for place, sample in enumerate(samples):
        differences = [(sample["lq"] - other["gt"]).std().item() for other in samples]
        assert differences.index(min(differences)) == place
