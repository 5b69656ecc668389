"""Every layout in which publishers hand out pairs is recognised, and what is not certain is refused."""

from pathlib import Path

import pytest

from msgnn_plugin.data.layouts import find_pairs


def _touch(root, names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def _short(pairs, root):
    return [
        (Path(pair.rainy.path).relative_to(root).as_posix(), Path(pair.clean.path).relative_to(root).as_posix())
        for pair in pairs
    ]


LAYOUTS = {
    "rain200h_jorder": ("small/rain/norain-{}.png", "small/norain/norain-{}.png"),
    "rain200h_drsformer": ("Rain200H/input/{}.png", "Rain200H/target/{}.png"),
    "rain200_x2": ("rain/X2/norain-{}x2.png", "norain/norain-{}.png"),
    "rain_norain_names": ("rain/rain-{}.png", "norain/norain-{}.png"),
    "rain100h_old_train": ("RainTrainH/rain-{}.png", "RainTrainH/norain-{}.png"),
    "rain100h_old_test": ("Rain100H/rainy/rain-00{}.png", "Rain100H/norain-00{}.png"),
    "rain1400_training_zip": ("input/{}.jpg", "label/{}.jpg"),
    "rain1400": ("rainy_image/{}_14.jpg", "ground_truth/{}.jpg"),
    "rain1400_original": ("rainy image/{}_1.jpg", "ground truth/{}.jpg"),
    "rain12": ("input/00{}_in.png", "groundtruth/00{}_GT.png"),
    "rain12_rainy": ("rainy/{}.png", "groundtruth/{}.png"),
    "spa_test": ("rain/00{}.png", "gt/00{}gt.png"),
    "other_suffix": ("Rainy/{}.JPG", "Clean/{}.png"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_two_sides(tmp_path, layout):
    rainy, clean = LAYOUTS[layout]
    expected = [(rainy.format(number), clean.format(number)) for number in (1, 2, 10)]
    _touch(tmp_path, [name for pair in expected for name in pair] + ["readme.txt", ".hidden/input/1.png"])
    assert _short(find_pairs(tmp_path), tmp_path) == expected


def test_many_rainy_pictures_share_a_clean_one(tmp_path):
    _touch(tmp_path, [f"rainy_image/{n}_{k}.jpg" for n in (1, 2) for k in range(1, 15)])
    _touch(tmp_path, ["ground_truth/1.jpg", "ground_truth/2.jpg"])
    pairs = _short(find_pairs(tmp_path), tmp_path)
    assert len(pairs) == 28
    assert pairs[13:15] == [
        ("rainy_image/1_14.jpg", "ground_truth/1.jpg"),
        ("rainy_image/2_1.jpg", "ground_truth/2.jpg"),
    ]
    assert len(find_pairs(tmp_path, exclude=[2])) == 14


@pytest.mark.parametrize(("left", "halves"), [("clean", ("right", "left")), ("rainy", ("left", "right"))])
@pytest.mark.parametrize("folder", ["", "training", "rain/training"])
def test_one_file_pairs(tmp_path, folder, left, halves):
    _touch(tmp_path / folder, ["2.jpg", "10.jpg", "1.jpg"])
    pairs = find_pairs(tmp_path, left=left)
    assert [pair.name for pair in pairs] == ["1", "2", "10"]
    assert {(pair.rainy.half, pair.clean.half) for pair in pairs} == {halves}
    assert all(pair.joined and pair.rainy.path == pair.clean.path for pair in pairs)


def test_the_three_strengths_of_rain1200_are_one_set(tmp_path):
    _touch(tmp_path, [f"Rain_{s}/train2018new/{n}.jpg" for s in ("Heavy", "Light", "Medium") for n in (1, 2)])
    pairs = find_pairs(tmp_path, left="rainy")
    assert [pair.name for pair in pairs] == [f"Rain_{s}_{n}" for s in ("Heavy", "Light", "Medium") for n in (1, 2)]


def test_a_list_of_pairs(tmp_path):
    names = [("real_world/001/a.png", "real_world_gt/001/agt.png"), ("real_world/002/a.png", "real_world_gt/002/a.png")]
    _touch(tmp_path, [name for pair in names for name in pair])
    (tmp_path / "real_world.txt").write_text("".join(f"/{rainy} {clean}\n" for rainy, clean in names) + "\n")
    pairs = find_pairs(tmp_path)
    assert _short(pairs, tmp_path) == names
    assert [pair.name for pair in pairs] == ["001_a", "002_a"]
    (tmp_path / names[1][1]).unlink()
    with pytest.raises(
        ValueError, match=r"line 2 of .*real_world\.txt must name two pictures, got .*002/a\.png, which"
    ):
        find_pairs(tmp_path)


def test_two_named_folders_of_any_name(tmp_path):
    _touch(tmp_path, ["wet/7.png", "dry/7.png"])
    pairs = find_pairs(rainy_root=tmp_path / "wet", clean_root=tmp_path / "dry")
    assert _short(pairs, tmp_path) == [("wet/7.png", "dry/7.png")]


def test_links_to_folders_are_followed(tmp_path):
    _touch(tmp_path / "elsewhere", ["rain/1.png", "norain/1.png"])
    (tmp_path / "set").symlink_to(tmp_path / "elsewhere")
    assert len(find_pairs(tmp_path / "set")) == 1


@pytest.mark.parametrize("name", ["norain-2", "norain-2.png", "rain-2"])
def test_exclude_takes_names_of_either_side(tmp_path, name):
    _touch(tmp_path, [f"rain/rain-{n}.png" for n in (1, 2)] + [f"norain/norain-{n}.png" for n in (1, 2)])
    assert [pair.name for pair in find_pairs(tmp_path, exclude=[name])] == ["rain-1"]


def test_an_excluded_picture_needs_no_partner(tmp_path):
    _touch(tmp_path, ["rain/1.png", "rain/2.png", "norain/1.png", "norain/3.png"])
    assert len(find_pairs(tmp_path, exclude=["2", "3"])) == 1


def test_an_unknown_name_to_exclude_is_told_of(tmp_path):
    _touch(tmp_path, ["rain/1.png", "norain/1.png"])
    with pytest.warns(UserWarning, match="`exclude` names 7, 12, which the set does not hold"):
        find_pairs(tmp_path, exclude=["12", 7])


ERRORS = {
    "rainy alone": (
        ["rain/1.png", "rain/2.png", "norain/1.png"],
        ValueError,
        r"rain/2\.png` must have a clean partner",
    ),
    "clean alone": (
        ["rain/1.png", "norain/2.png", "norain/1.png"],
        ValueError,
        r"norain/2\.png` must have a rainy part",
    ),
    "one name twice": (
        ["rain/1.png", "rain/1.jpg", "norain/1.png"],
        ValueError,
        r"differ in more than the suffix, got .*1",
    ),
    "two partners": (
        ["rain/rain-1.png", "norain/1.png", "norain/norain-1.png"],
        ValueError,
        "one clean partner, got 1 and",
    ),
    "two sets": (
        ["train/rain/1.png", "train/norain/1.png", "test/1.png"],
        ValueError,
        r"one set, got .* \(test, train\)",
    ),
    "two rainy": (
        ["rain/1.png", "input/1.png", "norain/1.png"],
        ValueError,
        "one rainy and one clean folder, got input, rain",
    ),
    "empty": (
        ["readme.txt"],
        FileNotFoundError,
        r"must hold image pairs, got .* without any\. Copy or link .*datasets/READ",
    ),
    "empty sides": (["rain/a.txt", "norain/a.txt"], FileNotFoundError, "must hold pictures, got none. Copy or link"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_refuses(tmp_path, case):
    names, error, sentence = ERRORS[case]
    _touch(tmp_path, names)
    with pytest.raises(error, match=sentence):
        find_pairs(tmp_path)


def test_refuses_a_missing_folder(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"`root` must be a folder .*got .*nope, a path that does not exist\. Copy"
    ):
        find_pairs(tmp_path / "nope")
    with pytest.raises(FileNotFoundError, match="`clean_root` must be a folder"):
        find_pairs(rainy_root=tmp_path, clean_root=tmp_path / "nope")


@pytest.mark.parametrize("roots", [{}, {"root": ".", "clean_root": "."}, {"rainy_root": "."}])
def test_refuses_other_than_one_way_of_naming_folders(roots):
    with pytest.raises(ValueError, match="either `root` or both `rainy_root` and `clean_root` must be given"):
        find_pairs(**roots)


def test_refuses_unknown_half_and_excluding_everything(tmp_path):
    _touch(tmp_path, ["1.png"])
    with pytest.raises(ValueError, match="`left` must be 'clean' or 'rainy', got 'wet'"):
        find_pairs(tmp_path, left="wet")
    with pytest.raises(ValueError, match="`exclude` must leave at least one pair"):
        find_pairs(tmp_path, exclude=["1"])
    with pytest.raises(TypeError, match="`exclude` must be a list of names, got '1'"):
        find_pairs(tmp_path, exclude="1")


REAL = {
    "rain200h_sample/train": 20,
    "rain200h_sample/test": 5,
    "rain800/train": 700,
    "rain800/test": 50,
    "rain100h": 25,
    "rain100l": 25,
    "layout_samples/rain1400": 2,
}


@pytest.mark.parametrize("name", REAL)
def test_real_sets(shared, name):
    pairs = find_pairs(shared / "data" / name)
    assert len(pairs) == REAL[name]
    assert all(pair.joined == name.startswith("rain800") for pair in pairs)
