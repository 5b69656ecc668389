"""The option files that ship, and made-up data of the layouts and names that they expect."""

from pathlib import Path

import cv2
import numpy as np

OPTIONS = Path(__file__).parents[2] / "options"
FILES = sorted(OPTIONS.glob("*.yml"))
ROWS = sorted((OPTIONS / "ablation").glob("*.yml"))

# Folder below datasets/ (demo's apart) -> rainy and clean file of pair N, "|" between the halves of one file.
LAYOUTS = {
    "datasets/rain200h/{phase}": ("small/rain/norain-{n}.png", "small/norain/norain-{n}.png"),
    "datasets/rain200l/{phase}": ("input/{n}.png", "target/{n}.png"),
    "datasets/rain100h/{phase}": ("rain-{n}.png", "norain-{n}.png"),
    "datasets/rain100l/{phase}": ("rain/{n}.png", "norain/{n}.png"),
    "datasets/rain12/{phase}": ("input/{n}.png", "groundtruth/{n}.png"),
    "datasets/rain1400/{phase}": ("rainy_image/{n}_1.jpg", "ground_truth/{n}.jpg"),
    "demo/data/{phase}": ("rain/{n}.png", "norain/{n}.png"),
    "datasets/rain800/{phase}": "clean|rainy",
    "datasets/rain1200/{phase}": "rainy|clean",
}


def family(path: Path) -> str:
    """Return which of the systems an option file is of: those with its name in theirs, MSGNN's are all others."""
    return "nlcl" if "nlcl" in path.stem else "msgnn"


def make_sets(root: Path, side: int = 66) -> None:
    """Write three training and two test pairs of every set, and a few rainy and clean photographs."""
    generator = np.random.default_rng(1)
    for folder, layout in LAYOUTS.items():
        for phase, count in (("train", 3), ("test", 2)):
            for n in range(1, count + 1):
                clean = cv2.resize(generator.integers(0, 200, (5, 5, 3), dtype=np.uint8), (side, side))
                rainy = np.maximum(clean, generator.choice([0, 230], (1, side, 1), p=[0.9, 0.1]).astype(np.uint8))
                home = root / folder.format(phase=phase)
                if isinstance(layout, str):
                    halves = [rainy if half == "rainy" else clean for half in layout.split("|")]
                    # Three strengths in folders of their own to train on, one folder to test.
                    strengths = ("Rain_Heavy", "Rain_Light") if "1200" in folder and phase == "train" else ("",)
                    for strength in strengths:
                        _write(home / strength / f"{n}.jpg", np.hstack(halves))
                else:
                    _write(home / layout[0].format(n=n), rainy)
                    _write(home / layout[1].format(n=n), clean)
                if phase == "test":
                    _write(root / f"datasets/real_rain/{n}.jpg", cv2.resize(rainy, (96 * 2 + n, 100)))
                else:
                    _write(root / f"datasets/clean_bsd/{n}.jpg", clean)


def _write(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture)
