"""An LMDB of either form gives the very samples of the files, BasicSR reads its own, damage is named in a sentence."""

import gc
import importlib.util
import os
import pickle
import re
import shutil
import weakref

import cv2
import lmdb
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from msgnn_plugin.data import LmdbStore, PairedExemplarDataset, find_pairs
from msgnn_plugin.data.lmdb_store import open_store
from msgnn_plugin.data.lmdb_writer import build_lmdb

TENSORS = ("lq", "gt", "exemplar")
FORMS = ("png", "raw")


@pytest.fixture
def build(pair_folder, tmp_path):
    """Build the made-up set's LMDB of a form."""

    def build_form(form):
        out = tmp_path / f"{form}.lmdb"
        assert build_lmdb(find_pairs(pair_folder), out, form=form) == []
        return out

    return build_form


@pytest.fixture(params=FORMS)
def store(request, build):
    """The LMDB of the made-up set, in both forms."""
    return build(request.param)


def _reopen(dataset):
    """Return what a spawned worker gets."""
    return pickle.loads(pickle.dumps(dataset))


def _import_basicsr():
    if importlib.util.find_spec("basicsr") is None:
        pytest.skip("needs basicsr")
    from msgnn_plugin.adapters.basicsr import compat

    compat.apply()


def _same_tensors(one, other):
    return all(torch.equal(one[key], other[key]) for key in TENSORS)


def test_samples_equal_those_of_the_files(pair_folder, store):
    keywords = {"crop_size": 8, "flip": True, "rotate": True, "seed": 5}
    files = PairedExemplarDataset(root=pair_folder, **keywords)
    cached = PairedExemplarDataset(root=store, **keywords)
    sides = PairedExemplarDataset(rainy_root=store / "lq.lmdb", clean_root=store / "gt.lmdb", **keywords)
    mixed = PairedExemplarDataset(rainy_root=store / "lq.lmdb", clean_root=pair_folder / "norain", **keywords)
    for dataset in (cached, sides, mixed):
        assert len(dataset) == 5
        assert all(_same_tensors(files[place, place + 9], dataset[place, place + 9]) for place in range(5))
    sample = cached[0]
    assert sample["lq_path"] == str(store / "lq.lmdb" / "1.png")
    assert sample["gt_path"] == str(store / "gt.lmdb" / "1.png")


@pytest.mark.parametrize("keywords", [{}, {"crop_size": 7, "rotate": True, "flip": True}, {"exemplar": "self"}])
def test_every_copy_gives_the_same_bits(pair_folder, build, keywords):
    files, *copies = (PairedExemplarDataset(root=root, **keywords) for root in (pair_folder, *map(build, FORMS)))
    assert [copy.reader.read_picture(copy.pairs[0].rainy).flags.writeable for copy in copies] == [True, False]
    for number in range(20):
        sample = files[number % 5, number]
        assert all(_same_tensors(sample, _reopen(copy)[number % 5, number]) for copy in copies)


@pytest.mark.parametrize("form", FORMS)
def test_grey_alpha_and_16_bit_pictures_as_the_files_give_them(tmp_path, write, form):
    pixels = np.arange(96, dtype=np.uint8).reshape(4, 6, 4)
    kinds = {"alpha": pixels, "grey": pixels[:, :, 0], "grey16": pixels[:, :, 0].astype(np.uint16) * 700}
    for side in ("rain", "norain"):
        write(tmp_path / "set" / side / "deep.png", size=(4, 6), dtype=np.uint16)
        for name, image in kinds.items():
            (tmp_path / "set" / side / f"{name}.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())
    assert build_lmdb(find_pairs(tmp_path / "set"), tmp_path / "set.lmdb", form=form) == []
    for keywords in ({}, {"crop_size": 3}):
        files, cached = (PairedExemplarDataset(root=tmp_path / name, **keywords) for name in ("set", "set.lmdb"))
        assert all(_same_tensors(files[place], cached[place]) for place in range(4))
    for pair_of_files, pair in zip(files.pairs, cached.pairs, strict=True):
        expected, read = files.reader.read_picture(pair_of_files.rainy), cached.reader.read_picture(pair.rainy)
        np.testing.assert_array_equal(read, expected, strict=True)


@pytest.mark.parametrize("form", FORMS)
def test_halves_16_bit_and_difficult_names(tmp_path, write, form):
    for name in ("a.b", "é 雨", "50%2E", "n_1"):
        write(tmp_path / "set" / f"{name}.png", size=(6, 8), dtype=np.uint16)
    assert build_lmdb(find_pairs(tmp_path / "set", left="rainy"), tmp_path / "set.lmdb", form=form) == []
    files = PairedExemplarDataset(root=tmp_path / "set", left="rainy")
    cached = PairedExemplarDataset(root=tmp_path / "set.lmdb")
    assert [pair.name for pair in cached.pairs] == [pair.name for pair in files.pairs]
    assert all(_same_tensors(files[place], cached[place]) for place in range(4))
    assert len(PairedExemplarDataset(root=tmp_path / "set.lmdb", exclude=["n", "a.b"])) == 2


@pytest.mark.parametrize("context", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_read_it(store, context):
    dataset = PairedExemplarDataset(root=store, crop_size=8)
    alone = [dataset[place] for place in range(5)]
    loaded = list(DataLoader(dataset, None, num_workers=2, multiprocessing_context=context))
    assert all(_same_tensors(one, other) for one, other in zip(alone, loaded, strict=True))


def test_reading_writes_nothing_and_needs_no_right_to(store):
    places = [store, *store.rglob("*")]
    before = {place: place.stat().st_mtime_ns for place in places}
    for place in reversed(places):
        place.chmod(0o555 if place.is_dir() else 0o444)
    try:
        assert len(list(DataLoader(PairedExemplarDataset(root=store, crop_size=8), 5, num_workers=1))) == 1
        assert {place: place.stat().st_mtime_ns for place in [store, *store.rglob("*")]} == before
    finally:
        for place in places:
            place.chmod(0o755)


def test_raw_rows_are_read_in_place(pair_folder, build):
    side = str(build("raw") / "lq.lmdb")
    store = open_store(side)
    key = store.keys_by_name()["3"]
    assert np.shares_memory(store.read(key), store.read(key))
    with pytest.raises(ValueError, match="read-only"):
        store.read(key)[0] = 0
    # What is left of a picture keeps the file mapped, and nothing else does.
    environment = weakref.ref(store.environment)
    crop = store.read(key)[2:5, ::-1]
    del store
    gc.collect()
    assert open_store(side).environment is environment()
    files = PairedExemplarDataset(root=pair_folder)
    np.testing.assert_array_equal(crop, files.reader.read_picture(files.pairs[2].rainy)[2:5, ::-1])
    del crop
    gc.collect()
    assert environment() is None


def test_basicsr_reads_it(pair_folder, build):
    _import_basicsr()
    store = build("png")
    from basicsr.data.paired_image_dataset import PairedImageDataset

    options = {"dataroot_lq": str(store / "lq.lmdb"), "dataroot_gt": str(store / "gt.lmdb"), "phase": "val", "scale": 1}
    stock = PairedImageDataset({**options, "io_backend": {"type": "lmdb"}})
    files = PairedExemplarDataset(root=pair_folder)
    assert len(stock) == 5
    for ours, theirs in zip(files, stock, strict=False):
        assert torch.equal(ours["lq"], theirs["lq"])
        assert torch.equal(ours["gt"], theirs["gt"])


def test_we_read_basicsrs_own(pair_folder, tmp_path):
    _import_basicsr()
    from basicsr.utils.lmdb_util import make_lmdb_from_imgs

    names = [f"{number}.png" for number in range(1, 6)]
    for side in ("rain", "norain"):
        keys = [name[:-4] for name in names]
        make_lmdb_from_imgs(str(pair_folder / side), str(tmp_path / f"{side}.lmdb"), names, keys)
    theirs = PairedExemplarDataset(rainy_root=tmp_path / "rain.lmdb", clean_root=tmp_path / "norain.lmdb")
    files = PairedExemplarDataset(root=pair_folder)
    assert all(_same_tensors(theirs[place], files[place]) for place in range(5))


def _truncate(side, size):
    os.truncate(side / "data.mdb", size)


def _list_of(side):
    return next(side.glob("*_info.txt"))


DAMAGE = {
    "cut short": (
        lambda side: _truncate(side, 8192),
        r"data\.mdb must have \d+ bytes, got 8192: cut short. Build it again with `basicsr data prepare`",
    ),
    "one byte missing": (lambda side: _truncate(side, (side / "data.mdb").stat().st_size - 1), "cut short"),
    "nothing left": (lambda side: _truncate(side, 0), r"must be an LMDB, got a data\.mdb of 0 bytes that is none"),
    "another file": (
        lambda side: (side / "data.mdb").write_bytes(b"x" * 9000),
        "must be an LMDB, got a data.mdb of 9000",
    ),
    "no data": (lambda side: (side / "data.mdb").unlink(), r"must be an LMDB, got no data\.mdb"),
    "no list": (
        lambda side: _list_of(side).unlink(),
        r"must hold meta_info\.txt or raw_info\.txt, got none: unfinished or foreign",
    ),
    "two lists": (
        lambda side: [(side / name).write_text("") for name in ("meta_info.txt", "raw_info.txt")],
        r"must hold meta_info\.txt or raw_info\.txt, got both",
    ),
    "foreign list": (
        lambda side: _list_of(side).open("a").write("a,b\n"),
        r"line [67] of .*_info\.txt must be `key\.(png|raw) \(h,w,c\) n`, got 'a,b'",
    ),
    "keys missing": (
        lambda side: _list_of(side).open("a").write("7.png (1,1,3) 1\n"),
        r"must hold the 6 pictures of its (meta|raw)_info\.txt, got 5",
    ),
    "empty folder": (lambda side: [path.unlink() for path in side.iterdir()], r"must hold meta_info\.txt"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_refuses_damage(store, case):
    damage, sentence = DAMAGE[case]
    damage(store / "lq.lmdb")
    with pytest.raises(ValueError, match=sentence):
        PairedExemplarDataset(root=store)


def test_refuses_other_values_than_the_list_says(build):
    png, raw = build("png") / "lq.lmdb", build("raw") / "lq.lmdb"
    data = (png / "data.mdb").read_bytes()
    shutil.copy(raw / "data.mdb", png)
    with pytest.raises(ValueError, match=r"lq\.lmdb/1\.png` must be a whole picture, got 1464 bytes"):
        LmdbStore(str(png)).read("1")
    (raw / "data.mdb").write_bytes(data)
    with pytest.raises(
        ValueError, match=r"LMDB: `1` in .*raw\.lmdb/lq\.lmdb must be a picture as raw rows, got \d+ byt"
    ):
        LmdbStore(str(raw))


@pytest.mark.parametrize("title", ["msgnn_plugin raw rows, version 2", "1.raw (20,24,3) 8", ""])
def test_refuses_raw_rows_of_another_version(build, title):
    file = build("raw") / "gt.lmdb" / "raw_info.txt"
    file.write_text("\n".join([title, *file.read_text().splitlines()[1:]]))
    with pytest.raises(
        ValueError, match=rf"line 1 of .* must be `msgnn_plugin raw rows, version 1`, got '{re.escape(title)}'"
    ):
        PairedExemplarDataset(root=file.parents[1])


@pytest.mark.parametrize("value", [b"", b"x" * 23, b"x" * 24, bytes(24), np.array([4, -4, 1, 0]).tobytes()])
def test_refuses_values_that_are_no_raw_rows(build, value):
    side = build("raw") / "lq.lmdb"
    environment = lmdb.open(str(side))
    with environment.begin(write=True) as transaction:
        transaction.put(b"4", value)
    environment.close()
    store = LmdbStore(str(side))
    with pytest.raises(
        ValueError, match=rf"LMDB: `4` in .* must be a picture as raw rows, got {len(value)} bytes that "
    ):
        store.read("4")
    with pytest.raises(ValueError, match=r"must hold `44`, got nothing under it\. Build it again"):
        store.read("44")


def test_refuses_one_side_and_sides_that_differ(store, pair_folder):
    with pytest.raises(ValueError, match=r"`root` must hold both sides, got .*lq\.lmdb, an LMDB of one"):
        PairedExemplarDataset(root=store / "lq.lmdb")
    (pair_folder / "norain" / "3.png").unlink()
    with pytest.raises(ValueError, match=r"`3` in .*lq\.lmdb must have a clean partner, got none"):
        PairedExemplarDataset(rainy_root=store / "lq.lmdb", clean_root=pair_folder / "norain")


def test_refuses_an_environment_that_others_hold_open(store):
    other = lmdb.open(str(store / "lq.lmdb"), readonly=True, lock=False)
    with pytest.raises(RuntimeError, match="must be open once a process, got a second reader"):
        PairedExemplarDataset(root=store)
    other.close()
    assert len(PairedExemplarDataset(root=store)) == 5


def test_values_are_pngs_under_basicsrs_names(build):
    store = build("png")
    lines = (store / "gt.lmdb" / "meta_info.txt").read_text().splitlines()
    assert lines == [f"{number}.png (20,24,3) 1" for number in range(1, 6)]
    environment = lmdb.open(str(store / "gt.lmdb"), readonly=True, lock=False)
    with environment.begin() as transaction:
        assert cv2.imdecode(np.frombuffer(transaction.get(b"4"), np.uint8), cv2.IMREAD_UNCHANGED).shape == (20, 24, 3)
    environment.close()


def test_values_are_rows_under_the_same_keys(build, pair_folder):
    store = build("raw")
    lines = (store / "gt.lmdb" / "raw_info.txt").read_text().splitlines()
    assert lines == ["msgnn_plugin raw rows, version 1", *(f"{number}.raw (20,24,3) 8" for number in range(1, 6))]
    environment = lmdb.open(str(store / "gt.lmdb"), readonly=True, lock=False)
    with environment.begin() as transaction:
        value = transaction.get(b"4")
    environment.close()
    assert np.frombuffer(value[:24], "<i8").tolist() == [20, 24, 1]
    blue_first = cv2.imread(str(pair_folder / "norain" / "4.png"))
    assert value[24:] == blue_first[:, :, ::-1].tobytes()
