"""`make demo`: the main job on a small scale, with nothing to download.

Makes rain on photographs that scikit-image ships, trains on some of them, tests on others, restores one, and compares
with the best of three classical filters. Everything it writes lies in demo/, experiments/ and results/.
"""

import csv
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import skimage
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table
from skimage.metrics import structural_similarity

from msgnn_plugin.data.comparison import make_comparison
from msgnn_plugin.data.image_file import read_picture, write_picture
from msgnn_plugin.data.synthesis import add_streaks

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "demo"
PHOTOGRAPHS = Path(skimage.__file__).parent / "data"
# No scene is on both sides. The large ones are halved first, so that they show structure and not blur.
TRAINING = {
    "motorcycle_left.png": 1,
    "rocket.jpg": 1,
    "camera.png": 1,
    "brick.png": 1,
    "grass.png": 1,
    "gravel.png": 1,
    "coins.png": 1,
    "ihc.png": 1,
    "retina.jpg": 2,
}
HELD_OUT = ("astronaut.png", "chelsea.png", "coffee.png")
SHOWN, SHOWN_CROP = "chelsea", (slice(30, 250), slice(70, 290))
WEIGHTS = "experiments/demo_msgnn/models/net_g_latest.pth"
TILE, RAINS_PER_TILE = 256, 2
# What the demonstration promises, in dB of RGB PSNR.
INPUT_RANGE, MIN_GAIN, MIN_LEAD = (22.0, 27.0), 2.0, 1.0
console = Console(width=None if sys.stdout.isatty() else 110)


def main() -> int:
    """Run the demonstration; returns 1 if the result misses what it promises."""
    start = time.monotonic()
    make_data()
    run("train", "-opt", "options/demo_msgnn.yml")
    run("test", "-opt", "options/test_demo_msgnn.yml")
    test = DEMO.relative_to(ROOT) / "data/test"
    rainy = [str(test / kind / f"{SHOWN}.png") for kind in ("rain", "norain")]
    exemplar = str(test / "rain/coffee.png")
    out = str(DEMO.relative_to(ROOT) / "restored")
    run("restore", rainy[0], "-o", out, "--weights", WEIGHTS, "--exemplar", exemplar, "--compare", "--clean", rainy[1])
    write_figure()
    complaints = report(read_results())
    console.print(f"\nFigure: demo/demo.png. Weights: {WEIGHTS}. Took {time.monotonic() - start:.0f} s.")
    for complaint in complaints:
        console.print(f"demo: {complaint}", style="red", highlight=False)
    return 1 if complaints else 0


def make_data() -> None:
    """Write demo/data/{train,test}/{rain,norain}: training tiles under two rains each, held-out photographs whole."""
    shutil.rmtree(DEMO, ignore_errors=True)
    for number, (name, reduction) in enumerate(TRAINING.items()):
        photograph = read_photograph(name, reduction)
        for place, tile in enumerate(cut_tiles(photograph)):
            for rain in range(RAINS_PER_TILE):
                write_pair("train", f"{Path(name).stem}-{place}-{rain}", tile, seed=(number, place, rain))
    for number, name in enumerate(HELD_OUT):
        write_pair("test", Path(name).stem, read_photograph(name), seed=(1000, number))
    counts = {phase: len(list((DEMO / "data" / phase / "rain").iterdir())) for phase in ("train", "test")}
    console.print(f"Made rain: {counts['train']} training tiles, {counts['test']} held-out photographs in demo/data.")


def read_photograph(name: str, reduction: int = 1) -> NDArray[np.uint8]:
    """Return a photograph of scikit-image's wheel, (H, W, 3)."""
    return np.asarray(Image.open(PHOTOGRAPHS / name).convert("RGB").reduce(reduction))


def cut_tiles(photograph: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Cut into equal tiles of at most `TILE` pixels a side: small files load fast."""
    height, width = photograph.shape[:2]
    rows, columns = -(-height // TILE), -(-width // TILE)
    tall, wide = height // rows, width // columns
    return [photograph[y * tall :, x * wide :][:tall, :wide] for y in range(rows) for x in range(columns)]


def write_pair(phase: str, name: str, clean: NDArray[np.uint8], seed: tuple[int, ...]) -> None:
    """Write a photograph and the same with a rain of its own: other strength, drops and wind each time."""
    rng = np.random.default_rng(seed)
    rainy, _ = add_streaks(
        clean,
        density=rng.uniform(0.06, 0.11),
        length=rng.uniform(16, 40),
        width=rng.uniform(1.6, 3.0),
        angle=rng.uniform(-25, 25),
        strength=rng.uniform(0.25, 0.38),
        rng=rng,
    )
    for kind, picture in (("rain", rainy), ("norain", clean)):
        path = DEMO / "data" / phase / kind / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path, compress_level=1)


def run(*arguments: str) -> None:
    """Run the product's own command as a user would."""
    console.print(f"\n[bold]$ basicsr {' '.join(arguments)}[/bold]", highlight=False)
    # Threads that wait by spinning are several times slower as soon as another program wants a core.
    environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ}
    subprocess.run([sys.executable, "-m", "msgnn_plugin.cli", *arguments], cwd=ROOT, env=environment, check=True)


def read_results() -> list[tuple[str, dict[str, tuple[float, float]]]]:
    """Return (image, {method: (PSNR, SSIM)}); the network's are those that `basicsr test` wrote."""
    with (ROOT / "results/test_demo_msgnn/metrics/demo.csv").open(newline="") as file:
        measured = {row["image"]: row for row in csv.DictReader(file)}
    pictures = {name: [read_test_picture(kind, name) for kind in ("rain", "norain")] for name in map(stem, HELD_OUT)}
    filters = {title: best_filter(apply, pictures) for title, apply in FILTERS.items()}
    rows = []
    for name, (_, clean) in pictures.items():
        row = measured[name]
        methods = {"rainy": (float(row["input_psnr"]), float(row["input_ssim"]))}
        methods |= {title: measure(filtered[name], clean) for title, filtered in filters.items()}
        methods["MSGNN"] = (float(row["psnr"]), float(row["ssim"]))
        rows.append((name, methods))
    return rows


def stem(name: str) -> str:
    return Path(name).stem


def read_test_picture(kind: str, name: str) -> NDArray[np.uint8]:
    return np.asarray(Image.open(DEMO / "data/test" / kind / f"{name}.png"))


def opening(picture: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Take away what is bright and narrower than a disc: the classical answer to streaks."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size + 1, size + 1))
    return cv2.morphologyEx(picture, cv2.MORPH_OPEN, disc)


FILTERS: dict[str, Callable[[NDArray[np.uint8], int], NDArray[np.uint8]]] = {
    "median": lambda picture, size: cv2.medianBlur(picture, 2 * size + 1),
    "Gaussian": lambda picture, size: cv2.GaussianBlur(picture, (0, 0), 0.3 * size),
    "opening": opening,
}


def best_filter(
    apply: Callable[[NDArray[np.uint8], int], NDArray[np.uint8]], pictures: dict[str, list[NDArray[np.uint8]]]
) -> dict[str, NDArray[np.uint8]]:
    """Filter with the best of eight sizes for each picture, judged by its clean side: more than a filter could know."""
    chosen = {}
    for name, (rainy, clean) in pictures.items():
        candidates = [apply(rainy, size) for size in range(1, 9)]
        chosen[name] = max(candidates, key=lambda candidate, clean=clean: measure_psnr(candidate, clean))
    return chosen


def measure(picture: NDArray[np.uint8], clean: NDArray[np.uint8]) -> tuple[float, float]:
    """PSNR and SSIM of RGB as BasicSR defines them (window of 11, sigma 1.5)."""
    ssim = structural_similarity(
        picture, clean, channel_axis=2, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    return measure_psnr(picture, clean), float(ssim)


def measure_psnr(picture: NDArray[np.uint8], clean: NDArray[np.uint8]) -> float:
    return float(10 * np.log10(255**2 / np.square(picture.astype(np.float64) - clean).mean()))


def report(rows: list[tuple[str, dict[str, tuple[float, float]]]]) -> list[str]:
    """Print the table; returns a sentence for each promise that is not kept."""
    methods = list(rows[0][1])
    means = {m: tuple(float(np.mean([row[m][i] for _, row in rows])) for i in (0, 1)) for m in methods}
    table = Table(title="Photographs it did not train on: PSNR in dB / SSIM, RGB")
    table.add_column("photograph")
    for method in methods:
        table.add_column(f"best {method}" if method in FILTERS else method, justify="right")
    for name, row in rows:
        table.add_row(name, *(f"{row[m][0]:.2f} / {row[m][1]:.3f}" for m in methods))
    table.add_section()
    table.add_row("mean", *(f"{means[m][0]:.2f} / {means[m][1]:.3f}" for m in methods), style="bold")
    console.print("\n", table)
    rainy, network = means["rainy"][0], means["MSGNN"][0]
    best = max(FILTERS, key=lambda m: means[m][0])
    console.print(
        f"MSGNN gains {network - rainy:+.2f} dB over the rainy photographs and {network - means[best][0]:+.2f} dB over "
        f"the best filter ({best}, its size chosen on each photograph by the answer)."
    )
    complaints = []
    if not INPUT_RANGE[0] <= rainy <= INPUT_RANGE[1]:
        complaints.append(f"the rainy input must have {INPUT_RANGE[0]} to {INPUT_RANGE[1]} dB, got {rainy:.2f}.")
    if network - rainy < MIN_GAIN:
        complaints.append(f"the gain over the rainy input must be at least {MIN_GAIN} dB, got {network - rainy:.2f}.")
    if network - means[best][0] < MIN_LEAD:
        lead = network - means[best][0]
        complaints.append(f"the lead over the best filter must be at least {MIN_LEAD} dB, got {lead:.2f}.")
    return complaints


def write_figure() -> None:
    """Write demo/demo.png, a detail of the restored photograph."""
    paths = (DEMO / "data/test/rain", DEMO / "restored", DEMO / "data/test/norain")
    details = [read_picture(folder / f"{SHOWN}.png").rgb[SHOWN_CROP] for folder in paths]
    write_picture(DEMO / "demo.png", make_comparison(*details) / 255)


if __name__ == "__main__":
    sys.exit(main())
