"""An LMDB gives the very samples of the files, BasicSR reads it too, and damage is named in a sentence."""

import importlib.util
import os

import cv2
import lmdb
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from msgnn_plugin.data import PairedExemplarDataset, find_pairs
from msgnn_plugin.data.lmdb_writer import build_lmdb

TENSORS = ("lq", "gt", "exemplar")


@pytest.fixture
def store(pair_folder, tmp_path):
    """The LMDB of the made-up set."""
    assert build_lmdb(find_pairs(pair_folder), tmp_path / "set.lmdb") == []
    return tmp_path / "set.lmdb"


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


def test_halves_16_bit_and_difficult_names(tmp_path, write):
    for name in ("a.b", "é 雨", "50%2E", "n_1"):
        write(tmp_path / "set" / f"{name}.png", size=(6, 8), dtype=np.uint16)
    assert build_lmdb(find_pairs(tmp_path / "set", left="rainy"), tmp_path / "set.lmdb") == []
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


def test_basicsr_reads_it(pair_folder, store):
    _import_basicsr()
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


DAMAGE = {
    "cut short": (
        lambda side: _truncate(side, 8192),
        r"data\.mdb must have \d+ bytes, got 8192: cut short. Build it again",
    ),
    "one byte missing": (lambda side: _truncate(side, (side / "data.mdb").stat().st_size - 1), "cut short"),
    "nothing left": (lambda side: _truncate(side, 0), r"must be an LMDB, got a data\.mdb of 0 bytes that is none"),
    "another file": (
        lambda side: (side / "data.mdb").write_bytes(b"x" * 9000),
        "must be an LMDB, got a data.mdb of 9000",
    ),
    "no data": (lambda side: (side / "data.mdb").unlink(), r"must be an LMDB, got no data\.mdb"),
    "no list": (
        lambda side: (side / "meta_info.txt").unlink(),
        r"must hold meta_info\.txt or raw_info\.txt, got none: unfinished or foreign",
    ),
    "foreign list": (
        lambda side: (side / "meta_info.txt").write_text("a,b\n"),
        r"line 1 of .* must be `key\.png \(h,w,c\) n",
    ),
    "keys missing": (
        lambda side: (side / "meta_info.txt").open("a").write("7.png (1,1,3) 1\n"),
        r"must hold the 6 pictures of its meta_info\.txt, got 1 missing, `7` the first",
    ),
    "empty folder": (lambda side: [path.unlink() for path in side.iterdir()], r"must hold meta_info\.txt"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_refuses_damage(store, case):
    damage, sentence = DAMAGE[case]
    damage(store / "lq.lmdb")
    with pytest.raises(ValueError, match=sentence):
        PairedExemplarDataset(root=store)


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


def test_values_are_pngs_under_basicsrs_names(store):
    lines = (store / "gt.lmdb" / "meta_info.txt").read_text().splitlines()
    assert lines == [f"{number}.png (20,24,3) 1" for number in range(1, 6)]
    environment = lmdb.open(str(store / "gt.lmdb"), readonly=True, lock=False)
    with environment.begin() as transaction:
        assert cv2.imdecode(np.frombuffer(transaction.get(b"4"), np.uint8), cv2.IMREAD_UNCHANGED).shape == (20, 24, 3)
    environment.close()
