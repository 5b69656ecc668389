"""Does `describe_rain` tell of the rain or of the scene? Nearest neighbours among pictures whose rain is known."""

import argparse
import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from msgnn_plugin.data import PictureReader, describe_rain, find_pairs
from msgnn_plugin.data.images import decode_image, list_images
from msgnn_plugin.data.rain_description import orientation_histogram, width_histogram
from msgnn_plugin.data.retrieval import nearest_others
from msgnn_plugin.data.synthesis import add_streaks

SCENES = 24
ANGLES, WIDTHS, DENSITIES = (-30, 0, 20), (1.2, 3.0), (0.08, 0.4)
PAIRS_OF_A_SET = 50
# Mean absolute difference of 8x8 thumbnails of the clean pictures below which two are one scene.
SAME_SCENE = 8


def thumbnail(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return what a picture looks like from far away, (192,)."""
    return cv2.resize(image, (8, 8), interpolation=cv2.INTER_AREA).ravel().astype(np.float32) / 255


def colour_histogram(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the square roots of a histogram of 4x4x4 colours, (64,)."""
    counts = np.bincount((image >> 6).reshape(-1, 3) @ (1, 4, 16), minlength=64)
    return np.sqrt(counts / counts.sum()).astype(np.float32)


DESCRIPTORS = {"describe_rain": describe_rain, "thumbnail": thumbnail, "colour histogram": colour_histogram}


def nearest(describe: Callable[[NDArray[np.uint8]], NDArray], images: Sequence[NDArray]) -> NDArray[np.intp]:
    """Return for each picture the one that is described most alike."""
    return nearest_others(np.stack([describe(image) for image in images]), 1)[:, 0]


def made_up(photographs: Path) -> Table:
    """Put every kind of rain on every scene; a good descriptor finds the kind, a bad one the scene."""
    paths = list_images(photographs)
    paths = paths[:: max(len(paths) // SCENES, 1)][:SCENES]
    rains = list(itertools.product(ANGLES, WIDTHS, DENSITIES))
    images, kinds, scenes = [], [], []
    for scene, path in enumerate(paths):
        clean = np.ascontiguousarray(decode_image(path.read_bytes(), str(path)))
        for kind, (angle, width, density) in enumerate(rains):
            rng = np.random.default_rng((scene, kind))
            rain = {"angle": angle, "width": width, "density": density, "length": 12 * width, "strength": 0.4}
            images.append(add_streaks(clean, **rain, rng=rng)[0])
            kinds.append(kind)
            scenes.append(scene)
    kinds, scenes, settings = np.array(kinds), np.array(scenes), np.array(rains)[kinds]

    table = Table(title=f"made-up rain: {len(paths)} scenes, each under {len(rains)} rains; the nearest has the same")
    columns = ("rain", "scene", "angle", "width", "density")
    for column in ("descriptor", *columns):
        table.add_column(column, justify="left" if column == "descriptor" else "right")

    def shares(same: Callable[[NDArray], NDArray]) -> list[str]:
        values = [same(kinds), same(scenes), *(same(settings[:, number]) for number in range(3))]
        return [f"{100 * np.mean(value):.0f}%" for value in values]

    for name, describe in DESCRIPTORS.items():
        found = nearest(describe, images)
        table.add_row(name, *shares(lambda values, found=found: values[found] == values))
    others = len(images) - 1
    table.add_row("chance", *shares(lambda values: ((values[:, None] == values).sum(axis=1) - 1) / others))
    return table


def real(roots: Sequence[Path]) -> Table:
    """Compare a picture's rain layer, rainy less clean, with that of the picture found nearest."""
    reader, images, thumbnails, sets, layers = PictureReader(), [], [], [], []
    for number, root in enumerate(roots):
        for pair in find_pairs(root)[:PAIRS_OF_A_SET]:
            rainy, clean = reader.read_pair(pair)
            images.append(np.ascontiguousarray(rainy))
            thumbnails.append(thumbnail(np.ascontiguousarray(clean)))
            sets.append(number)
            layers.append(np.maximum(rainy.astype(np.float32) - clean, 0).min(axis=2))
    directions = np.stack([orientation_histogram(layer) for layer in layers])
    widths = np.stack([width_histogram(layer) for layer in layers])
    thumbnails = np.stack(thumbnails)
    scene = np.abs(thumbnails[:, None] - thumbnails).mean(axis=2) * 255 < SAME_SCENE
    np.fill_diagonal(scene, False)
    turn = np.exp(2j * np.pi * np.arange(directions.shape[1]) / directions.shape[1])
    dominant = np.angle(directions @ turn, deg=True) / 2
    sets = np.array(sets)
    measures = {
        "direction, degrees apart": np.abs((dominant[:, None] - dominant + 90) % 180 - 90),
        "directions, TV": np.abs(directions[:, None] - directions).sum(axis=2) / 2,
        "widths, TV": np.abs(widths[:, None] - widths).sum(axis=2) / 2,
        "same set": (sets[:, None] == sets).astype(float),
        "same scene": scene.astype(float),
    }
    twice = scene.any(axis=1).sum()
    table = Table(title=f"real sets: {len(images)} pictures, {twice} of them of a scene that is in twice")
    for column in ("descriptor", *measures):
        table.add_column(column, justify="left" if column == "descriptor" else "right")

    def add(name: str, found: NDArray[np.intp]) -> None:
        rows = np.arange(len(found))
        table.add_row(name, *(f"{values[rows, found].mean():.3f}" for values in measures.values()))

    for name, describe in DESCRIPTORS.items():
        add(name, nearest(describe, images))
    best = nearest_others(np.sqrt(np.concatenate([directions, widths], axis=1)), 1)[:, 0]
    add("layers themselves", best)
    others = ~np.eye(len(images), dtype=bool)
    table.add_row("chance", *(f"{values[others].mean():.3f}" for values in measures.values()))
    return table


def milliseconds(size: tuple[int, int] = (321, 481), rounds: int = 15) -> float:
    """Return the least CPU time of describing a picture."""
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    times = []
    for _ in range(rounds):
        start = time.process_time()
        describe_rain(image)
        times.append(time.process_time() - start)
    return 1000 * min(times)


def main() -> None:
    """Read the command line and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.description")
    parser.add_argument("photographs", type=Path, help="folder of clean photographs to put rain on")
    parser.add_argument(
        "sets", nargs="*", type=Path, help="folders of rainy and clean pairs, such as datasets/Rain100H"
    )
    arguments = parser.parse_args()
    console = Console()
    console.print(made_up(arguments.photographs))
    if arguments.sets:
        console.print(real(arguments.sets))
    console.print(f"{milliseconds():.1f} ms of CPU time for 481 x 321 pixels")


if __name__ == "__main__":
    main()
