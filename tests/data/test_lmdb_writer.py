"""A cache is finished or not there; what was stored before an interruption is not stored again."""

import itertools

import lmdb
import pytest

from msgnn_plugin.data import PairedExemplarDataset, find_pairs, lmdb_writer, raw_rows
from msgnn_plugin.data.lmdb_writer import build_lmdb


@pytest.fixture
def encoded(monkeypatch):
    """Names of the pairs that are encoded."""
    names = []
    encode = lmdb_writer._encode_pair
    monkeypatch.setattr(
        lmdb_writer, "_encode_pair", lambda reader, pair, form: names.append(pair.name) or encode(reader, pair, form)
    )
    return names


@pytest.mark.parametrize(("form", "name"), [("png", "meta_info.txt"), ("raw", "raw_info.txt")])
def test_interrupted_work_goes_on_where_it_stopped(pair_folder, tmp_path, monkeypatch, encoded, form, name):
    monkeypatch.setattr(lmdb_writer.os, "cpu_count", lambda: 1)
    monkeypatch.setattr(lmdb_writer, "islice", lambda items, _: itertools.islice(items, 2))
    pairs = find_pairs(pair_folder)
    counts = []

    def stop_after_two(count):
        counts.append(count)
        if count == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_lmdb(pairs, tmp_path / "set.lmdb", form=form, on_done=stop_after_two)
    assert not (tmp_path / "set.lmdb").exists()
    assert sorted(encoded) == ["1", "2"]

    encoded.clear()
    (pair_folder / "rain" / "2.png").write_bytes((pair_folder / "rain" / "1.png").read_bytes())
    counts.clear()
    assert build_lmdb(pairs, tmp_path / "set.lmdb", form=form, on_done=counts.append) == []
    assert sorted(encoded) == ["2", "3", "4", "5"]
    assert counts == [1, 2, 2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set", "set.lmdb"]
    assert sorted(path.name for path in (tmp_path / "set.lmdb").rglob("*.*")) == sorted(
        ["lq.lmdb", "gt.lmdb"] + 2 * ["data.mdb", name]
    )
    cached, files = PairedExemplarDataset(root=tmp_path / "set.lmdb"), PairedExemplarDataset(root=pair_folder)
    assert all((cached[place]["lq"] == files[place]["lq"]).all() for place in range(5))


def test_bad_pictures_are_told_of_and_leave_the_cache_unfinished(pair_folder, tmp_path, encoded):
    whole = (pair_folder / "rain" / "2.png").read_bytes()
    (pair_folder / "rain" / "2.png").write_bytes(whole[:100])
    sentences = []
    assert build_lmdb(find_pairs(pair_folder), tmp_path / "set.lmdb", on_bad=sentences.append) == ["2"]
    assert len(sentences) == 1
    assert "rain/2.png` must be a whole picture" in sentences[0]
    assert not (tmp_path / "set.lmdb").exists()
    with pytest.raises(ValueError, match=r"must hold meta_info\.txt or raw_info\.txt, got none: unfinished"):
        PairedExemplarDataset(root=tmp_path / "set.lmdb.partial")
    encoded.clear()
    (pair_folder / "rain" / "2.png").write_bytes(whole)
    assert build_lmdb(find_pairs(pair_folder), tmp_path / "set.lmdb") == []
    assert encoded == ["2"]


def test_what_is_no_longer_wanted_leaves_the_cache(pair_folder, tmp_path):
    (pair_folder / "rain" / "2.png").write_bytes(b"")
    assert build_lmdb(find_pairs(pair_folder), tmp_path / "set.lmdb") == ["2"]
    assert build_lmdb(find_pairs(pair_folder, exclude=["2", "3"]), tmp_path / "set.lmdb") == []
    environment = lmdb.open(str(tmp_path / "set.lmdb" / "lq.lmdb"), readonly=True, lock=False)
    with environment.begin() as transaction:
        assert [key for key, _ in transaction.cursor()] == [b"1", b"4", b"5"]
    environment.close()


def test_what_another_form_left_is_stored_again(pair_folder, tmp_path, encoded):
    whole = (pair_folder / "rain" / "2.png").read_bytes()
    (pair_folder / "rain" / "2.png").write_bytes(b"")
    assert build_lmdb(find_pairs(pair_folder), tmp_path / "set.lmdb", form="png") == ["2"]
    (pair_folder / "rain" / "2.png").write_bytes(whole)
    encoded.clear()
    assert build_lmdb(find_pairs(pair_folder), tmp_path / "set.lmdb", form="raw") == []
    assert sorted(encoded) == ["1", "2", "3", "4", "5"]
    cached, files = PairedExemplarDataset(root=tmp_path / "set.lmdb"), PairedExemplarDataset(root=pair_folder)
    assert all((cached[place]["lq"] == files[place]["lq"]).all() for place in range(5))


@pytest.mark.parametrize("form", ["png", "raw"])
def test_the_map_grows(pair_folder, tmp_path, monkeypatch, form):
    monkeypatch.setattr(lmdb_writer, "_FIRST_MAP_SIZE", 1 << 14)
    assert build_lmdb(find_pairs(pair_folder), tmp_path / "set.lmdb", form=form) == []
    assert len(PairedExemplarDataset(root=tmp_path / "set.lmdb")) == 5


@pytest.mark.parametrize("form", ["jpg", "", None])
def test_refuses_an_unknown_form(pair_folder, tmp_path, form):
    with pytest.raises(ValueError, match=rf"LMDB: `form` must be 'png' or 'raw', got {form!r}\."):
        build_lmdb(find_pairs(pair_folder), tmp_path / "set.lmdb", form=form)
    assert not (tmp_path / "set.lmdb.partial").exists()


def test_tells_of_pairs_that_no_value_or_key_can_hold(pair_folder, tmp_path, monkeypatch):
    for side in ("rain", "norain"):
        # 60 characters of three bytes each, which percent signs make nine.
        (pair_folder / side / "4.png").rename(pair_folder / side / f"{60 * '雨'}.png")
    sentences = []
    bad = build_lmdb(find_pairs(pair_folder), tmp_path / "set.lmdb", on_bad=sentences.append)
    assert bad == [60 * "雨"]
    assert "must take at most 511 bytes as a key, got 540. Give it a shorter name." in sentences[0]
    monkeypatch.setattr(raw_rows, "MAX_BYTES", 20 * 24 * 3 + 23)
    pairs = find_pairs(pair_folder, exclude=bad)
    assert build_lmdb(pairs, tmp_path / "raw.lmdb", form="raw", on_bad=sentences.append) == ["1", "2", "3", "5"]
    assert sentences[1] == "LMDB: `1` must have at most 1463 bytes as raw rows, got 1464. Store it as PNG."


def test_refuses_to_overwrite(pair_folder, tmp_path):
    (tmp_path / "set.lmdb").mkdir()
    with pytest.raises(FileExistsError, match=r"`out` must be a new path, got .*set\.lmdb, which exists"):
        build_lmdb(find_pairs(pair_folder), tmp_path / "set.lmdb")
    (tmp_path / "other.lmdb.partial" / "lq.lmdb").mkdir(parents=True)
    (tmp_path / "other.lmdb.partial" / "lq.lmdb" / "data.mdb").write_bytes(b"x" * 9000)
    with pytest.raises(ValueError, match=r"lq\.lmdb must be of an earlier run of ours, got another file"):
        build_lmdb(find_pairs(pair_folder), tmp_path / "other.lmdb")
