"""prepare: every layout becomes one, nothing is lost, an interrupted run goes on."""

import os

import numpy as np
import pytest

from msgnn_plugin.data import find_pairs
from msgnn_plugin.data.manifests import load_manifest
from msgnn_plugin.data.parts import find_parts
from msgnn_plugin.data.preparation import prepare
from msgnn_plugin.data.reading import PictureReader
from msgnn_plugin.data.verification import verify


def _pixels(pairs):
    reader = PictureReader()
    return [reader.read_pair(pair) for pair in pairs]


@pytest.mark.parametrize("form", ["folder", "png-lmdb", "raw-lmdb"])
def test_any_layout_keeps_its_pixels(tree, tmp_path, layout, form):
    root, manifest, _ = tree(layout)
    out = tmp_path / "out"
    for part in find_parts(manifest, root):
        done = []
        assert prepare(part, out / part.name, form=form, on_done=done.append) == []
        assert sum(done) == len(part.entries)
        pairs = find_pairs(out / part.name)
        assert [pair.name for pair in pairs] == [pair.name for pair in part.entries]
        for one, other in zip(_pixels(part.entries), _pixels(pairs)):
            assert np.array_equal(one[0], other[0])
            assert np.array_equal(one[1], other[1])
    assert not list(out.rglob("*.partial"))
    assert not list(out.rglob("source.json"))
    if form != "folder":
        return
    assert {path.parent.name for path in out.rglob("*.*")} == {"rainy", "clean"}
    assert verify(manifest, out).faults == []


def test_separate_files_are_copied_bit_by_bit(tree, tmp_path):
    root, manifest, written = tree("rain1400")
    part = find_parts(manifest, root)[0]
    prepare(part, tmp_path / "out")
    assert (tmp_path / "out/rainy/2_1.jpg").read_bytes() == written["train"][1][0].read_bytes()


def test_a_shared_clean_picture_is_stored_once(tmp_path, save_pair, make_pair):
    for rain in range(1, 15):
        rainy, clean = make_pair(1, rain_seed=rain)
        save_pair([tmp_path / f"train/rainy_image/1_{rain}.jpg", tmp_path / "train/ground_truth/1.jpg"], rainy, clean)
    (part,) = find_parts(load_manifest("rain1400"), tmp_path)
    prepare(part, tmp_path / "out")
    assert len(list((tmp_path / "out" / "clean").iterdir())) == 14
    assert len({path.stat().st_ino for path in (tmp_path / "out" / "clean").iterdir()}) == 1


def test_a_bad_picture_costs_nothing_that_is_done(tree, tmp_path, save_pair, make_pair):
    root, manifest, written = tree("rain800")
    path = written["train"][1][0]
    path.write_bytes(path.read_bytes()[:80])
    part, out, told = find_parts(manifest, root)[0], tmp_path / "out", []
    assert prepare(part, out, on_bad=told.append) == ["2"]
    assert "2.jpg` must be a whole picture" in told[0]
    assert not out.exists()
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "out.partial").rglob("*.png")}
    assert len(kept) == 6
    save_pair([path], *make_pair(2))
    done = []
    assert prepare(find_parts(manifest, root)[0], out, on_done=done.append) == []
    assert done[0] == 3
    assert all((out / old.relative_to(tmp_path / "out.partial")).stat().st_mtime_ns == t for old, t in kept.items())
    assert len(find_pairs(out)) == 4


def test_what_changed_or_went_is_not_kept_from_an_earlier_run(tree, tmp_path, make_pair, save_pair):
    root, manifest, written = tree("rain800")
    bad = written["train"][0][0]
    bad.write_bytes(b"")
    prepare(find_parts(manifest, root)[0], tmp_path / "out")
    bad.unlink()
    save_pair([written["train"][1][0]], *make_pair(60))
    os.utime(written["train"][1][0], (1, 1))
    written["train"][2][0].unlink()
    part = find_parts(manifest, root)[0]
    assert prepare(part, tmp_path / "out") == []
    pairs = find_pairs(tmp_path / "out")
    assert [pair.name for pair in pairs] == ["2", "4"]
    assert np.array_equal(_pixels(pairs)[0][0], _pixels(part.entries)[0][0])


def test_the_other_orientation_is_done_anew(tree, tmp_path):
    root, manifest, written = tree("rain800")
    written["train"][0][0].write_bytes(b"")
    prepare(find_parts(manifest, root)[0], tmp_path / "out")
    part = find_parts(manifest, root, left="rainy", exclude=["1"])[0]
    assert prepare(part, tmp_path / "out") == []
    assert np.array_equal(_pixels(find_pairs(tmp_path / "out"))[0][0], _pixels(part.entries)[0][0])


def test_excludes_by_names_of_either_side(tree):
    root, manifest, _ = tree("rain100h_old")
    parts = find_parts(manifest, root, exclude=["norain-2", "rain-003.png"])
    assert [[pair.name for pair in part.entries] for part in parts] == [
        ["rain-1", "rain-3", "rain-4"],
        ["rain-001", "rain-002", "rain-004"],
    ]
    with pytest.warns(UserWarning, match="`exclude` names 7, which the set does not hold"):
        find_parts(manifest, root, exclude=[7])


def test_pictures_without_a_clean_side(tmp_path, write):
    for number in range(3):
        write(tmp_path / "set" / f"{number}.jpg")
    (part,) = find_parts(load_manifest("real_rain"), tmp_path / "set")
    assert prepare(part, tmp_path / "out") == []
    assert sorted(path.name for path in (tmp_path / "out" / "rainy").iterdir()) == ["0.jpg", "1.jpg", "2.jpg"]
    with pytest.raises(ValueError, match=r"`--form png-lmdb` must be given pairs, got .* without a clean side"):
        prepare(part, tmp_path / "lmdb", form="png-lmdb")


def test_refuses(tree, tmp_path):
    root, manifest, written = tree("rain200h_jorder")
    (tmp_path / "out").mkdir()
    with pytest.raises(FileExistsError, match="`out` must be a new path"):
        prepare(find_parts(manifest, root)[0], tmp_path / "out")
    written["train"][0][1].unlink()
    with pytest.raises(
        ValueError, match=r"must have its partner, got 1 without, .*norain-1\.png the first\. Add it or"
    ):
        prepare(find_parts(manifest, root)[0], tmp_path / "new")
    part = find_parts(manifest, root, exclude=["norain-1", "norain-2", "norain-3", "norain-4"])[0]
    with pytest.raises(ValueError, match="part `train` must hold pictures, got none"):
        prepare(part, tmp_path / "new")
    assert not (tmp_path / "new.partial").exists()
