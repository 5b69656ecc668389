"""Made-up pictures for the tests of the data layer."""

import dataclasses

import cv2
import numpy as np
import pytest

from msgnn_plugin.data.manifests import load_manifest

# Every layout met in the wild: set, then for each part (rainy, clean, count); one path means a file of two halves.
TREES = {
    "rain200h_jorder": (
        "rain200h",
        {
            "train": ("train/small/rain/norain-{}.png", "train/small/norain/norain-{}.png"),
            "test": ("test/small/rain/norain-{}.png", "test/small/norain/norain-{}.png"),
        },
    ),
    "rain200l_drsformer": (
        "rain200l",
        {
            "train": ("train/Rain200L/input/{}.png", "train/Rain200L/target/{}.png"),
            "test": ("test/Rain200L/input/{}.png", "test/Rain200L/target/{}.png"),
        },
    ),
    "rain200h_x2": (
        "rain200h",
        {
            "train": ("train/rain/X2/norain-{}x2.png", "train/norain/norain-{}.png"),
            "test": ("test/rain/rain-{}.png", "test/norain/norain-{}.png"),
        },
    ),
    "rain100h_old": (
        "rain100h",
        {
            "train": ("RainTrainH/rain-{}.png", "RainTrainH/norain-{}.png"),
            "test": ("Rain100H/rainy/rain-{:03}.png", "Rain100H/norain-{:03}.png"),
        },
    ),
    "rain800": ("rain800", {"train": ("rain/training/{}.jpg",), "test": ("rain/test_syn/{}.jpg",)}),
    "rain1200": (
        "rain1200",
        {"train": ("DID-MDN-training/Rain_Heavy/train2018new/{}.jpg",), "test": ("DID-MDN-test/{}.jpg",)},
    ),
    "rain1400": (
        "rain1400",
        {
            "train": ("rainy image/{}_1.jpg", "ground truth/{}.jpg"),
            "test": ("rainy image/{}_1.jpg", "ground truth/{}.jpg"),
        },
    ),
    "rain1400_prenet": (
        "rain1400",
        {
            "train": ("Rain12600/rainy_image/{}_3.jpg", "Rain12600/ground_truth/{}.jpg"),
            "test": ("test/rainy_image/{}_3.jpg", "test/ground_truth/{}.jpg"),
        },
    ),
    "rain12": ("rain12", {"test": ("input/{:03}_in.png", "groundtruth/{:03}_GT.png")}),
    "rain12_rainy": ("rain12", {"test": ("rainy/{}.png", "groundtruth/{}.png")}),
    "spa": (
        "spa",
        {
            "train": ("train/real_world/{:03}/a.png", "train/real_world_gt/{:03}/a.png"),
            "test": ("test/rain/{:03}.png", "test/gt/{:03}gt.png"),
        },
    ),
    "rain13k": (
        "rain13k",
        {
            "train": ("train/Rain13K/input/{}.jpg", "train/Rain13K/target/{}.jpg"),
            "Test100": ("test/Test100/input/{}.png", "test/Test100/target/{}.png"),
            "Rain100H": ("test/Rain100H/input/{}.png", "test/Rain100H/target/{}.png"),
            "Rain100L": ("test/Rain100L/input/{}.png", "test/Rain100L/target/{}.png"),
            "Test1200": ("test/Test1200/input/{}.png", "test/Test1200/target/{}.png"),
            "Test2800": ("test/Test2800/input/{}.png", "test/Test2800/target/{}.png"),
        },
    ),
    "msgnn": ("rain800", {"train": ("train/norain-{}.png",), "test": ("test/norain-{}.png",)}),
}
FEW = 4


@pytest.fixture(params=TREES)
def layout(request):
    """Name of a layout, each in turn."""
    return request.param


@pytest.fixture
def save_pair(write):
    """Write a pair as two files, or as the halves of one."""

    def save(paths, rainy, clean, left="clean"):
        if len(paths) == 2:
            write(paths[0], image=rainy)
            write(paths[1], image=clean)
        else:
            write(paths[0], image=np.hstack([clean, rainy] if left == "clean" else [rainy, clean]))

    return save


@pytest.fixture
def tree(tmp_path, make_pair, save_pair):
    """Write a small copy of a set in a layout; return its folder, a manifest with its counts, and the pairs' paths."""

    def make(layout):
        name, parts = TREES[layout]
        manifest = load_manifest(name)
        root, seed, written = tmp_path / layout, 0, {}
        for part, patterns in parts.items():
            numbers = range(1, FEW + 1) if part == "train" or "1400" not in layout else range(901, 901 + FEW)
            for number in numbers:
                seed += 1
                paths = [root / pattern.format(number) for pattern in patterns]
                save_pair(paths, *make_pair(seed), left=manifest.left)
                written.setdefault(part, []).append(paths)
        if layout == "spa":
            lines = [
                " ".join("/" + p.relative_to(root / "train").as_posix() for p in pair) for pair in written["train"]
            ]
            (root / "train" / "real_world.txt").write_text("\n".join(lines))
        rules = [dataclasses.replace(rule, pairs=(FEW,), backgrounds=None) for rule in manifest.splits]
        return root, dataclasses.replace(manifest, splits=tuple(rules)), written

    return make


@pytest.fixture
def write():
    """Write a picture (noise drawn from its path's name, or the given RGB array) and return its pixels."""

    def write_picture(path, size=(20, 24), image=None, dtype=np.uint8):
        path.parent.mkdir(parents=True, exist_ok=True)
        if image is None:
            generator = np.random.default_rng(list(str(path).encode()))
            image = generator.integers(np.iinfo(dtype).max + 1, size=(*size, 3), dtype=dtype)
        path.write_bytes(cv2.imencode(path.suffix, np.ascontiguousarray(image[:, :, ::-1]))[1].tobytes())
        return image

    return write_picture


@pytest.fixture
def pair_folder(tmp_path, write):
    """A set of five pairs, 20x24 pixels, in `rain` and `norain`."""
    for number in range(1, 6):
        for side in ("rain", "norain"):
            write(tmp_path / "set" / side / f"{number}.png")
    return tmp_path / "set"
