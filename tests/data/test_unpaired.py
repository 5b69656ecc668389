"""Rainy and clean crops come from the right sides, never from one pair, and depend on (seed, sample number) alone."""

import os
import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from msgnn_plugin.data import SampleNumberSampler, UnpairedRainDataset, find_pairs
from msgnn_plugin.data.lmdb_writer import build_lmdb


@pytest.fixture
def roots(tmp_path, write):
    """Three rainy and four clean pictures of several sizes, in folders of different depth, under unlike names."""
    for place in ("street.png", "town/a.png", "town/b.jpg"):
        write(tmp_path / "wet" / place, size=(20, 26))
    for place in ("1/x.png", "1/y.png", "2/deep/z.png"):
        write(tmp_path / "dry" / place, size=(24, 18))
    write(tmp_path / "dry" / "1" / "deep16.png", size=(17, 30), dtype=np.uint16)
    return {"rainy_root": tmp_path / "wet", "clean_root": tmp_path / "dry"}


@pytest.fixture
def joined(tmp_path, make_pair, save_pair):
    """Four one-file pairs with the clean half on a given side, and their pictures."""

    def make(left="clean"):
        pairs = [make_pair(number) for number in range(4)]
        for number, pair in enumerate(pairs):
            save_pair([tmp_path / "halves" / f"{number}.png"], *pair, left=left)
        return tmp_path / "halves", pairs

    return make


def _same(one, other):
    return one.keys() == other.keys() and all(
        torch.equal(one[key], other[key]) if isinstance(one[key], torch.Tensor) else one[key] == other[key]
        for key in one
    )


def _tensor(image):
    return torch.from_numpy(image.astype(np.float32).transpose(2, 0, 1) / np.iinfo(image.dtype).max)


def _names(dataset, index, draws=80):
    """Return the clean files drawn for a rainy picture."""
    return {os.path.basename(dataset[index, number]["clean_path"]) for number in range(draws)}


def _place(views, crop):
    return next(place for place, view in enumerate(views) if torch.equal(view, crop))


def _holds(image, crop):
    """Whether a crop is a window of a picture, found by trying every place."""
    whole, side = _tensor(image), crop.shape[-1]
    return any(
        torch.equal(whole[:, top : top + side, left : left + side], crop)
        for top in range(image.shape[0] - side + 1)
        for left in range(image.shape[1] - side + 1)
    )


def test_samples_hold_what_they_promise(roots):
    dataset = UnpairedRainDataset(**roots, crop_size=16)
    assert len(dataset) == 3
    places = [os.path.relpath(dataset[index]["lq_path"], roots["rainy_root"]) for index in range(3)]
    assert places == ["street.png", "town/a.png", "town/b.jpg"]
    for index in range(3):
        sample = dataset[index]
        for key in ("lq", "clean"):
            assert sample[key].shape == (3, 16, 16)
            assert sample[key].dtype == torch.float32
            assert 0 <= sample[key].min() < 0.2 < 0.8 < sample[key].max() <= 1
        assert _names(dataset, index) == {"x.png", "y.png", "z.png", "deep16.png"}
    assert UnpairedRainDataset(**roots)[0]["lq"].shape == (3, 256, 256)


def test_crops_are_drawn_apart_and_reach_every_place(tmp_path, write):
    # Every pixel of these pictures is different, so the first one of a crop tells where it was taken.
    rows, columns = np.mgrid[0:6, 0:7].astype(np.uint8)
    image = np.stack([rows, columns, rows], axis=2)
    write(tmp_path / "wet" / "a.png", image=image)
    write(tmp_path / "dry" / "b.png", image=image)
    dataset = UnpairedRainDataset(rainy_root=tmp_path / "wet", clean_root=tmp_path / "dry", crop_size=4)
    seen = set()
    for number in range(1500):
        sample = dataset[0, number]
        seen.add(tuple(round(255 * float(v)) for key in ("lq", "clean") for v in sample[key][:2, 0, 0]))
    everywhere = {(row, column) for row in range(3) for column in range(4)}
    assert seen == {(*one, *other) for one in everywhere for other in everywhere}


def test_either_side_is_turned_on_its_own(tmp_path, write):
    image = write(tmp_path / "wet" / "a.png", size=(4, 4))
    write(tmp_path / "dry" / "b.png", image=image)
    roots = {"rainy_root": tmp_path / "wet", "clean_root": tmp_path / "dry", "crop_size": 4}
    views = [_tensor(np.rot90(view, times)) for view in (image, image[:, ::-1]) for times in range(4)]

    def seen(**keywords):
        dataset = UnpairedRainDataset(**roots, **keywords)
        samples = [dataset[0, number] for number in range(600 if keywords else 5)]
        return {tuple(_place(views, sample[key]) for key in ("lq", "clean")) for sample in samples}

    assert seen() == {(0, 0)}
    assert seen(flip=True) == {(one, other) for one in (0, 4) for other in (0, 4)}
    assert seen(flip=True, rotate=True) == {(one, other) for one in range(8) for other in range(8)}


def _mirrored(image, height, width):
    """Walk to and fro over a picture: its border pixels are not repeated."""
    rows, columns = (
        [place if place < side else 2 * side - 2 - place for place in (n % max(1, 2 * side - 2) for n in range(wanted))]
        for side, wanted in zip(image.shape[:2], (height, width), strict=True)
    )
    return image[np.ix_(rows, columns)]


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 3), (5, 40), (15, 16), (31, 7)])
def test_small_pictures_are_extended_by_reflection(tmp_path, write, size):
    wet = write(tmp_path / "wet" / "a.png", size=size)
    dry = write(tmp_path / "dry" / "b.png", size=size, dtype=np.uint16)
    dataset = UnpairedRainDataset(rainy_root=tmp_path / "wet", clean_root=tmp_path / "dry", crop_size=16)
    for number in range(3):
        sample = dataset[0, number]
        assert sample["lq"].shape == sample["clean"].shape == (3, 16, 16)
        for key, image in (("lq", wet), ("clean", dry)):
            assert _holds(_mirrored(image, max(16, size[0]), max(16, size[1])), sample[key])


@pytest.mark.parametrize("left", ["clean", "rainy"])
def test_one_file_pairs_give_their_side_and_never_the_partner(joined, left):
    folder, pairs = joined(left)
    dataset = UnpairedRainDataset(rainy_root=folder, clean_root=folder, left=left, crop_size=90)
    assert len(dataset) == 4
    for index in range(4):
        assert _names(dataset, index, 40) == {f"{number}.png" for number in range(4) if number != index}
        sample = dataset[index]
        drawn = int(os.path.basename(sample["clean_path"])[0])
        assert _holds(pairs[index][0], sample["lq"])
        assert _holds(pairs[drawn][1], sample["clean"])


def test_rainy_halves_against_single_photographs(joined, roots):
    folder, pairs = joined()
    dataset = UnpairedRainDataset(rainy_root=folder, clean_root=roots["clean_root"], crop_size=17)
    assert all(_holds(pairs[index][0], dataset[index]["lq"]) for index in range(4))
    assert {picture.half for picture in dataset.rainy} == {"right"}
    assert {picture.half for picture in dataset.clean} == {None}
    assert _names(dataset, 0) == {"x.png", "y.png", "z.png", "deep16.png"}


def test_a_sky_above_a_street_makes_no_pair_of_halves(tmp_path, write):
    # The halves of such pictures correlate at 0.9 and have nothing in common but that one is dark below.
    sky = np.linspace(200, 50, 48)[:, None, None]
    for number in range(3):
        noise = np.random.default_rng(number).normal(0, 20, (48, 96, 3))
        write(tmp_path / "wet" / f"{number}.png", image=np.clip(sky + noise, 0, 255).astype(np.uint8))
    write(tmp_path / "dry" / "b.png")
    dataset = UnpairedRainDataset(rainy_root=tmp_path / "wet", clean_root=tmp_path / "dry", crop_size=8)
    assert {picture.half for picture in dataset.rainy} == {None}


def test_two_folders_as_a_set_and_by_their_names(pair_folder, tmp_path):
    (tmp_path / "link").symlink_to(pair_folder)
    together = {"rainy_root": pair_folder, "clean_root": tmp_path / "link"}
    apart = {"rainy_root": pair_folder / "rain", "clean_root": pair_folder / "norain"}
    mixed = {"rainy_root": pair_folder, "clean_root": pair_folder / "norain"}
    for folders in (together, apart, mixed):
        dataset = UnpairedRainDataset(**folders, crop_size=8)
        assert {os.path.dirname(picture.path)[-6:] for picture in dataset.clean} == {"norain"}
        assert {os.path.dirname(picture.path)[-5:] for picture in dataset.rainy} == {"/rain"}
        for index in range(5):
            assert _names(dataset, index) == {f"{number}.png" for number in range(1, 6) if number != index + 1}


def test_a_shared_clean_picture_is_there_once_and_kept_from_all_its_rains(tmp_path, write):
    for number in (1, 2):
        write(tmp_path / "ground truth" / f"{number}.png")
        for rain in (1, 2, 3):
            write(tmp_path / "rainy image" / f"{number}_{rain}.png")
    apart = {"rainy_root": tmp_path / "rainy image", "clean_root": tmp_path / "ground truth"}
    for folders in ({"rainy_root": tmp_path, "clean_root": tmp_path}, apart):
        dataset = UnpairedRainDataset(**folders, crop_size=8)
        assert (len(dataset), len(dataset.clean)) == (6, 2)
        assert [_names(dataset, index, 10) for index in range(6)] == [{"2.png"}] * 3 + [{"1.png"}] * 3


def test_published_names_of_partners_are_known(tmp_path, write):
    write(tmp_path / "wet" / "rain-7x2.png")
    for name in ("norain-7", "norain-8", "7_clean"):
        write(tmp_path / "dry" / f"{name}.png")
    dataset = UnpairedRainDataset(rainy_root=tmp_path / "wet", clean_root=tmp_path / "dry", crop_size=8)
    assert _names(dataset, 0) == {"norain-8.png"}


def test_an_only_clean_picture_is_drawn_even_if_it_is_the_partner(pair_folder):
    exclude = ["1", "2", "3", "4"]
    dataset = UnpairedRainDataset(
        rainy_root=pair_folder / "rain", clean_root=pair_folder / "norain", exclude_clean=exclude, crop_size=8
    )
    assert [_names(dataset, index, 3) for index in range(5)] == [{"5.png"}] * 5


@pytest.mark.parametrize("form", ["png", "raw"])
def test_an_lmdb_gives_the_samples_of_its_files(pair_folder, tmp_path, form):
    assert build_lmdb(find_pairs(pair_folder), tmp_path / "packed", form=form) == []
    keywords = {"crop_size": 22, "flip": True, "seed": 2}
    files = UnpairedRainDataset(rainy_root=pair_folder, clean_root=pair_folder, **keywords)
    whole = UnpairedRainDataset(rainy_root=tmp_path / "packed", clean_root=tmp_path / "packed", **keywords)
    lq, gt = tmp_path / "packed" / "lq.lmdb", tmp_path / "packed" / "gt.lmdb"
    apart = UnpairedRainDataset(rainy_root=lq, clean_root=gt, **keywords)
    for index, number in ((0, 0), (3, 7), (4, 11)):
        expected = files[index, number]
        for dataset in (whole, apart, pickle.loads(pickle.dumps(apart))):
            sample = dataset[index, number]
            assert torch.equal(sample["lq"], expected["lq"])
            assert torch.equal(sample["clean"], expected["clean"])
            assert sample["clean_path"] == f"{gt}/{os.path.basename(expected['clean_path'])}"
    fewer = UnpairedRainDataset(rainy_root=lq, clean_root=gt, exclude=[2, "4.png"], **keywords)
    assert [os.path.basename(fewer[index]["lq_path"]) for index in range(3)] == ["1.png", "3.png", "5.png"]


def test_draws_depend_on_seed_and_sample_number_alone(roots):
    keywords = {**roots, "crop_size": 16, "flip": True, "rotate": True}
    dataset = UnpairedRainDataset(**keywords, seed=3)
    sample = dataset[2, 17]
    torch.manual_seed(1)
    np.random.seed(1)
    assert _same(sample, dataset[2, 17])
    assert _same(dataset[2], dataset[2, 2])
    assert _same(dataset[-1], dataset[2])
    assert _same(pickle.loads(pickle.dumps(dataset))[2, 17], sample)
    assert not _same(dataset[2, 18], sample)
    assert not _same(UnpairedRainDataset(**keywords, seed=4)[2, 17], sample)


@pytest.mark.parametrize("context", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_change_nothing(joined, context):
    folder, _ = joined()
    dataset = UnpairedRainDataset(rainy_root=folder, clean_root=folder, crop_size=24, flip=True)
    sampler = SampleNumberSampler(len(dataset), batch_size=2, enlarge=3)
    alone, together = (
        list(DataLoader(dataset, 2, sampler=sampler, num_workers=workers, multiprocessing_context=how))
        for workers, how in ((0, None), (2, context))
    )
    assert len(alone) == 6
    assert all(_same(one, other) for one, other in zip(alone, together, strict=True))
    crops = [crop for batch in alone for crop in batch["lq"]]
    assert not any(torch.equal(one, other) for place, one in enumerate(crops) for other in crops[:place])


def test_exclude_takes_names_of_either_side_apart(roots):
    with pytest.warns(UserWarning, match="`exclude` names nowhere, which"):
        dataset = UnpairedRainDataset(**roots, exclude=["a", "nowhere"], exclude_clean=["x.png"], crop_size=8)
    assert [os.path.basename(picture.path) for picture in dataset.rainy] == ["street.png", "b.jpg"]
    assert _names(dataset, 0) == {"y.png", "z.png", "deep16.png"}


@pytest.mark.parametrize(
    ("keywords", "sentence"),
    [
        ({"crop_size": 0}, "UnpairedRainDataset: `crop_size` must be at least 1, got 0"),
        ({"seed": -1}, "UnpairedRainDataset: `seed` must be at least 0, got -1"),
        ({"left": "up"}, "`left` must be 'clean' or 'rainy', got 'up'"),
    ],
)
def test_refuses_arguments(roots, keywords, sentence):
    with pytest.raises(ValueError, match=sentence):
        UnpairedRainDataset(**roots, **keywords)


@pytest.mark.parametrize("field", ["rainy_root", "clean_root"])
def test_refuses_missing_empty_and_emptied_folders(roots, tmp_path, field):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=f"`{field}` must be a folder of pictures or an LMDB, got .*none"):
        UnpairedRainDataset(**{**roots, field: tmp_path / "none"})
    with pytest.raises(FileNotFoundError, match=f"`{field}` must hold pictures, got .*empty without any"):
        UnpairedRainDataset(**{**roots, field: tmp_path / "empty"})
    names = ["street", "a", "b", "x", "y", "z", "deep16"]
    unwanted = {"exclude": names[:3]} if field == "rainy_root" else {"exclude_clean": names[3:]}
    with pytest.raises(FileNotFoundError, match="must hold at least one picture"):
        UnpairedRainDataset(**roots, **unwanted)


def test_refuses_several_sets_of_pairs_and_pairs_with_a_gap(pair_folder, tmp_path, write):
    # Training and test part of one set must not be mixed without a word.
    both = tmp_path / "both"
    for part in ("train", "test"):
        for side in ("rain", "norain"):
            write(both / part / side / "1.png")
    with pytest.raises(ValueError, match=r"must hold one set, got .*both with several"):
        UnpairedRainDataset(rainy_root=both, clean_root=both)
    (pair_folder / "norain" / "3.png").unlink()
    with pytest.raises(ValueError, match=r"rain/3\.png` must have a clean partner, got none"):
        UnpairedRainDataset(rainy_root=pair_folder, clean_root=pair_folder)


def test_an_unreadable_picture_is_named_when_it_is_drawn(roots):
    (roots["rainy_root"] / "town" / "a.png").write_bytes(b"no picture")
    dataset = UnpairedRainDataset(**roots, crop_size=8)
    assert dataset[0]["lq"].shape == (3, 8, 8)
    with pytest.raises(ValueError, match=r"town/a\.png` must be a whole picture, got 10 bytes that are"):
        dataset[1]
    with pytest.raises(IndexError, match=r"UnpairedRainDataset: index must be in \[-3, 3\), got 3"):
        dataset[3]


def test_refuses_a_damaged_lmdb(pair_folder, tmp_path):
    assert build_lmdb(find_pairs(pair_folder), tmp_path / "packed") == []
    (tmp_path / "packed" / "lq.lmdb" / "meta_info.txt").unlink()
    with pytest.raises(ValueError, match=r"lq\.lmdb must hold meta_info\.txt or raw_info\.txt, got none"):
        UnpairedRainDataset(rainy_root=tmp_path / "packed" / "lq.lmdb", clean_root=pair_folder)


def test_real_halves_and_photographs(shared):
    data = shared / "data"
    dataset = UnpairedRainDataset(rainy_root=data / "rain800" / "train", clean_root=data / "clean_bsd")
    assert (len(dataset), len(dataset.clean)) == (700, 300)
    assert {picture.half for picture in dataset.rainy} == {"right"}
    assert {picture.half for picture in dataset.clean} == {None}
    for index in range(0, 700, 100):
        sample = dataset[index]
        assert sample["lq"].shape == sample["clean"].shape == (3, 256, 256)
    pair = UnpairedRainDataset(rainy_root=data / "rain800" / "test", clean_root=data / "rain800" / "test")
    assert all(pair[index, number]["clean_path"] != pair.rainy[index].path for index in (0, 9) for number in range(20))


@pytest.mark.parametrize("name", ["real_rain", "clean_bsd", "rain100h/rain", "rain100h/norain"])
def test_real_single_pictures_are_not_taken_for_halves(shared, name):
    dataset = UnpairedRainDataset(rainy_root=shared / "data" / name, clean_root=shared / "data" / "clean_bsd" / "val")
    assert {picture.half for picture in dataset.rainy} == {None}
