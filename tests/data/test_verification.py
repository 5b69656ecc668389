"""verify: right verdicts on every layout, planted faults found, no false alarm."""

import dataclasses
import json
from math import comb

import cv2
import numpy as np
import pytest

from msgnn_plugin.data.manifests import load_manifest
from msgnn_plugin.data.verification import sign_test, verify

FEW = 4


def _kinds(report):
    return [(finding.part, finding.kind) for finding in report.faults]


def _items(report, kind):
    return next(finding.items for finding in report.faults if finding.kind == kind)


def test_a_clean_copy_of_any_layout_has_no_fault(tree, layout):
    root, manifest, written = tree(layout)
    report = verify(manifest, root)
    assert report.faults == []
    assert [part.count for part in report.parts] == [FEW] * len(written)
    assert all(part.layout and part.edge_share == 1 for part in report.parts)
    assert report.as_dict()["verdict"] == "fine"
    json.dumps(report.as_dict())


LAYOUT_NAMES = {
    "rain200h_x2": "two folders rain/X2 | norain",
    "rain100h_old": "rain-N and norain-N in one folder",
    "rain800": "one file a pair, left half clean",
    "rain1200": "one file a pair, left half rainy",
    "rain1400": "two folders rainy image | ground truth, undivided: numbers 1 to 900",
    "spa": "list real_world.txt",
}


@pytest.mark.parametrize("name", LAYOUT_NAMES)
def test_names_the_layout(tree, name):
    root, manifest, _ = tree(name)
    assert verify(manifest, root).parts[0].layout == LAYOUT_NAMES[name]


def test_prenets_test_folder_is_named_by_where_the_rainy_ones_lie(tree):
    root, manifest, _ = tree("rain100h_old")
    report = verify(manifest, root / "Rain100H")
    assert report.parts[0].layout == "norain-N, rainy ones in rainy below"
    assert report.faults == []
    assert [(note.part, note.kind) for note in report.notes if note.kind == "part"] == [("train", "part")]


def test_a_missing_and_an_extra_pair(tree, save_pair, make_pair):
    root, manifest, written = tree("rain200h_jorder")
    for path in written["train"][1]:
        path.unlink()
    save_pair([root / f"test/small/{side}/norain-9.png" for side in ("rain", "norain")], *make_pair(99))
    report = verify(manifest, root)
    assert _kinds(report) == [("train", "count"), ("test", "count")]
    assert "must hold 4 pairs, got 3: 1 missing" in report.faults[0].text
    assert "must hold 4 pairs, got 5: 1 too many" in report.faults[1].text


def test_the_missing_number_is_named(tree):
    root, manifest, written = tree("rain800")
    written["train"][1][0].unlink()
    rules = tuple(dataclasses.replace(rule, pairs=(10,)) for rule in manifest.splits)
    assert _items(verify(dataclasses.replace(manifest, splits=rules), root), "count") == ["number 2"]


def test_a_file_without_its_partner(tree):
    root, manifest, written = tree("rain200h_jorder")
    written["train"][0][1].unlink()
    written["test"][2][0].unlink()
    report = verify(manifest, root)
    assert {("train", "unpaired"), ("test", "unpaired")} < set(_kinds(report))
    assert _items(report, "unpaired") == [str(written["train"][0][0])]


@pytest.mark.parametrize("name", ["rain200h_jorder", "rain800"])
@pytest.mark.parametrize("share", [0, 0.5, 0.98])
def test_a_file_cut_short(tree, name, share):
    root, manifest, written = tree(name)
    path = written["train"][2][0]
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    report = verify(manifest, root)
    assert _kinds(report) == [("train", "unreadable")]
    assert str(path) in report.faults[0].items[0]


@pytest.mark.parametrize("name", ["rain200h_jorder", "rain800"])
def test_one_pixel_of_difference_in_size(tree, write, name):
    root, manifest, written = tree(name)
    path = written["test"][1][0]
    image = cv2.imread(str(path))[:, :-1, ::-1]
    write(path, image=image)
    report = verify(manifest, root)
    assert _kinds(report) == [("test", "sizes")]
    assert len(report.faults[0].items) == 1


@pytest.mark.parametrize("name", ["rain200h_jorder", "rain800", "rain1200"])
def test_one_pair_with_its_halves_swapped(tree, make_pair, save_pair, name):
    root, manifest, written = tree(name)
    rainy, clean = make_pair(2)
    save_pair(written["train"][1], clean, rainy, left=manifest.left)
    report = verify(manifest, root)
    assert _kinds(report) == [("train", "swapped")]
    assert len(report.faults[0].items) == 1


def test_all_halves_swapped(tmp_path, make_pair, save_pair):
    for number in range(14):
        save_pair([tmp_path / f"train/{number}.png"], *make_pair(number))
    manifest = dataclasses.replace(load_manifest("rain800"), splits=(load_manifest("rain800").splits[0],), left="rainy")
    report = verify(manifest, tmp_path)
    assert ("train", "swapped") in _kinds(report)
    text = next(finding.text for finding in report.faults if finding.kind == "swapped")
    assert (
        "the halves are swapped: the rainy half has more edge energy in 0 of 14 pairs (sign test p = 0.00012)" in text
    )
    assert "--left" in text
    assert "swapped" not in dict(_kinds(verify(manifest, tmp_path, left="clean"))).values()


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_pair_that_is_there_twice(tree, make_pair, save_pair, suffix):
    root, manifest, _ = tree("rain200h_jorder")
    paths = [root / f"train/small/{side}/norain-5{suffix}" for side in ("rain", "norain")]
    save_pair(paths, *make_pair(3))
    report = verify(manifest, root)
    assert _kinds(report) == [("train", "count"), ("train", "duplicate")]
    how = {".png": "every pixel", ".jpg": "saved anew"}[suffix]
    assert _items(report, "duplicate") == [f"norain-3 = norain-5 ({how})"]


def test_one_background_under_two_rains_is_no_fault(tree, make_pair, save_pair):
    root, manifest, written = tree("rain200h_jorder")
    save_pair(written["train"][3], *make_pair(1, rain_seed=50))
    report = verify(manifest, root)
    assert report.faults == []
    notes = [finding for finding in report.notes if finding.kind == "background"]
    assert notes[0].items == ["norain-1 ~ norain-4"]


def test_one_rain_at_two_strengths_is_no_duplicate(tree, make_pair, save_pair):
    root, manifest, written = tree("rain200h_jorder")
    rainy, clean = make_pair(1)
    save_pair(written["train"][3], cv2.addWeighted(rainy, 0.5, clean, 0.5, 0), clean)
    assert verify(manifest, root).faults == []


def test_as_many_repeats_as_were_published_are_no_fault(tree, make_pair, save_pair):
    root, manifest, written = tree("rain200h_jorder")
    save_pair(written["train"][3], *make_pair(1))
    train, test = manifest.splits
    assert _kinds(verify(manifest, root)) == [("train", "duplicate")]
    known = dataclasses.replace(manifest, splits=(dataclasses.replace(train, repeats=1), test))
    assert verify(known, root).faults == []


@pytest.mark.parametrize("name", ["rain200h_jorder", "rain800", "rain1200"])
def test_a_test_picture_hidden_in_the_training(tree, make_pair, save_pair, name):
    root, manifest, written = tree(name)
    # Seed 6 is the second test pair; other rain, a slight crop, another size and JPEG hide it.
    images = []
    for image in make_pair(6, rain_seed=77):
        cut = image[4:-2, 3:-7]
        images.append(cv2.resize(cut, (160, 100), interpolation=cv2.INTER_CUBIC))
    save_pair([path.with_suffix(".jpg") for path in written["train"][0]], *images, left=manifest.left)
    for path in written["train"][0]:
        if path.suffix != ".jpg":
            path.unlink()
    report = verify(manifest, root)
    assert _kinds(report) == [("test", "leakage")]
    assert len(report.faults[0].items) == 1
    assert "1 of 4 pictures are in the training part too" in report.faults[0].text


def test_against_other_sets(tree, tmp_path, write, make_pair):
    root, manifest, _ = tree("rain200h_jorder")
    for seed in (3, 40, 41):
        write(tmp_path / "photos" / f"{seed}.jpg", image=make_pair(seed)[1])
    write(tmp_path / "joined" / "1.png", image=np.hstack(make_pair(50)))
    report = verify(manifest, root, against=[tmp_path / "photos", tmp_path / "joined"])
    assert _kinds(report) == [("train", "overlap")]
    assert report.faults[0].items[0].startswith("norain-3: 3 (")


def test_a_part_that_is_not_there_and_one_that_is_no_layout(tree):
    root, manifest, written = tree("rain800")
    for paths in written["test"]:
        paths[0].unlink()
    report = verify(manifest, root)
    assert _kinds(report) == [("test", "layout")]
    (root / "rain" / "test_syn").rmdir()
    assert _kinds(verify(manifest, root)) == [("test", "part")]


def test_pictures_without_a_clean_side(tmp_path, write, make_pair):
    for seed in range(4):
        write(tmp_path / f"{seed}.png", image=make_pair(seed)[0])
    report = verify(load_manifest("real_rain"), tmp_path)
    assert report.faults == []
    assert (report.parts[0].count, report.parts[0].edge_share) == (4, None)
    write(tmp_path / "again.png", image=make_pair(2)[0])
    assert _kinds(verify(load_manifest("real_rain"), tmp_path)) == [("test", "duplicate")]


def test_a_set_of_ones_own_with_odd_names(tmp_path, save_pair, make_pair):
    for seed in range(3):
        save_pair([tmp_path / "set" / side / f"{seed}.png" for side in ("wet", "dry")], *make_pair(seed))
    (tmp_path / "mine.yml").write_text("splits: {train: {pairs: 3, rainy: wet, clean: dry}}")
    assert verify(load_manifest(tmp_path / "mine.yml"), tmp_path / "set").faults == []


def test_which_part_it_is_must_be_certain(tmp_path, write):
    write(tmp_path / "odd" / "1.png")
    with pytest.raises(ValueError, match=r"must hold the folders of rain800 .* Say which part it is by --split\."):
        verify(load_manifest("rain800"), tmp_path / "odd")
    with pytest.raises(ValueError, match="`--split` must be one of train, test for rain800, got val"):
        verify(load_manifest("rain800"), tmp_path / "odd", split="val")
    with pytest.raises(FileNotFoundError, match="`PATH` must be a folder that holds rain800, got"):
        verify(load_manifest("rain800"), tmp_path / "absent")
    report = verify(load_manifest("rain800"), tmp_path / "odd", split="test")
    assert [part.name for part in report.parts] == ["test"]


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (5, 5), (2, 9), (7, 9), (50, 100), (61, 100), (3, 40)])
def test_sign_test(successes, trials):
    rarer = min(successes, trials - successes)
    exact = min(1, 2 * sum(comb(trials, k) for k in range(rarer + 1)) / 2**trials)
    assert sign_test(successes, trials) == pytest.approx(exact)


REAL = {
    "rain200h": ("rain200h_sample", {"train": 20, "test": 5}),
    "rain100h": ("rain100h", {"test": 25}),
    "rain100l": ("rain100l", {"test": 25}),
    "real_rain": ("real_rain", {"test": 37}),
}


def _sized(name, counts):
    manifest = load_manifest(name)
    rules = [dataclasses.replace(rule, pairs=(counts.get(rule.name, 1),)) for rule in manifest.splits]
    return dataclasses.replace(manifest, splits=tuple(rules))


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_real_copies_have_no_fault_but_their_counts(shared, name):
    folder, counts = REAL[name]
    assert verify(_sized(name, counts), shared / "data" / folder).faults == []
    faults = verify(load_manifest(name), shared / "data" / folder).faults
    assert {fault.kind for fault in faults} <= {"count"}


@pytest.mark.slow
def test_the_whole_of_rain800(shared):
    report = verify(_sized("rain800", {"train": 700, "test": 50}), shared / "data" / "rain800")
    # The three repeats of the test half are there, every pixel; those of the training part are in its manifest.
    assert _kinds(report) == [("test", "duplicate")]
    assert all(item.endswith("(every pixel)") for item in report.faults[0].items)
    assert report.parts[0].edge_share > 0.98
    assert report.parts[0].chance < 1e-100
    swapped = verify(_sized("rain800", {"train": 700}), shared / "data" / "rain800" / "train", left="rainy")
    assert _kinds(swapped) == [("train", "swapped")]


def test_one_picture_on_both_sides_is_told_and_not_taken_for_swapped(tree, make_pair, save_pair):
    root, manifest, written = tree("rain1200")
    clean = make_pair(2)[1]
    save_pair(written["train"][1], clean, clean, left=manifest.left)
    report = verify(manifest, root)
    assert report.faults == []
    assert [len(finding.items) for finding in report.notes if finding.kind == "alike"] == [1]
    assert report.parts[0].edge_share == 1


def test_the_real_sample_of_rain1200_has_two_sides_that_are_alike(shared, tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "1.jpg").write_bytes((shared / "data/layout_samples/rain1200_0.jpg").read_bytes())
    report = verify(load_manifest("rain1200"), tmp_path / "train")
    assert ("train", "swapped") not in _kinds(report)
    assert "alike" in {finding.kind for finding in report.notes}


def test_progress_ends_at_its_total(tree, make_pair, save_pair):
    root, manifest, written = tree("rain800")
    save_pair(written["train"][1], *make_pair(0), left=manifest.left)
    totals, done = [], []

    def begin(what, total):
        totals.append(total)
        done.append(0)

    def advance(count):
        done[-1] += count

    verify(manifest, root, on_total=begin, on_done=advance)
    assert done == totals
