"""Made rain: what a picture costs, and how it looks beside real sets. Needs the extra [bench].

One picture of 321x481 is made at a time; CPU times are of `PICTURES` of them under rains of their own. Looks are
measured on R = rainy - clean: `--clean` names photographs (else some that scikit-image ships), `--real` published
sets to put beside the presets.
"""

import argparse
from functools import partial
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import skimage.data
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks import harness
from msgnn_plugin.data.layouts import find_pairs
from msgnn_plugin.data.photographs import find_photographs, read_photograph
from msgnn_plugin.data.rain_description import WIDTHS, orientation_histogram, width_histogram
from msgnn_plugin.data.reading import PictureReader
from msgnn_plugin.data.synthesis import PRESETS, synthesize

HEIGHT, WIDTH, PICTURES = 321, 481, 12
# Directions in the table, degrees from the vertical; the histogram's own steps are 5 degrees.
BINS = (-40, -25, -10, 10, 25, 40)
# The others are these under another name or by turns.
DISTINCT = [name for name in PRESETS if name not in ("rain100h", "rain100l", "rain1200")]
Pairs = list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]


def photograph() -> tuple[NDArray[np.uint8]]:
    """Return what all presets are timed on."""
    return (skimage.data.coffee()[:HEIGHT, :WIDTH].copy(),)


def make(clean: NDArray[np.uint8], preset: str) -> None:
    """Make `PICTURES` rainy pictures."""
    for number in range(PICTURES):
        synthesize(clean, preset, np.random.default_rng(number))


def made_pairs(photographs: list[NDArray[np.uint8]], preset: str) -> Pairs:
    """Return every photograph under one rain."""
    made = (synthesize(clean, preset, np.random.default_rng(number)) for number, clean in enumerate(photographs))
    return [(rain.rainy, rain.clean) for rain in made]


def real_pairs(folder: str, count: int) -> Pairs:
    """Return the first pairs of a set."""
    reader = PictureReader()
    return [reader.read_pair(pair) for pair in islice(find_pairs(folder), count)]


def describe(pairs: Pairs) -> dict[str, object]:
    """Measure how the rain of a set looks."""
    psnr, brightness, strongest, covered, clipped, orientations, widths, peaks = ([] for _ in range(8))
    for rainy, clean in pairs:
        rain = rainy.astype(np.float32) - clean
        # Where a channel is white, the rain is cut off; the one that shows most is nearest to it.
        layer = rain.max(axis=2)
        psnr.append(10 * np.log10(255**2 / np.square(rain).mean()))
        brightness.append(layer.mean())
        strongest.append(np.percentile(layer, 99))
        covered.append((layer > 5).mean())
        clipped.append((rainy == 255).mean() - (clean == 255).mean())
        orientations.append(orientation_histogram(layer))
        widths.append(width_histogram(layer))
        peaks.append(main_direction(orientations[-1]))
    return {
        "pictures": len(pairs),
        "psnr": float(np.mean(psnr)),
        "psnr_deciles": [float(value) for value in np.percentile(psnr, (10, 90))],
        "mean_grey": float(np.mean(brightness)),
        "percentile_99": float(np.mean(strongest)),
        "covered": float(np.mean(covered)),
        "clipped": float(np.mean(clipped)),
        "direction_between": float(np.std([peak for peak, _ in peaks])),
        "direction_within": float(np.mean([spread for _, spread in peaks])),
        "orientations": np.mean(orientations, axis=0).round(4).tolist(),
        "widths": np.mean(widths, axis=0).round(4).tolist(),
    }


def main_direction(histogram: NDArray[np.float32]) -> tuple[float, float]:
    """Return the mean direction of a picture's lines and their circular standard deviation, degrees."""
    # Directions are the same after half a turn, so angles are doubled.
    turned = (histogram * np.exp(2j * np.pi * np.arange(histogram.size) / histogram.size)).sum()
    return float(np.degrees(np.angle(turned)) / 2), float(np.degrees(np.sqrt(-2 * np.log(abs(turned)))) / 2)


def coarse(orientations: list[float]) -> list[float]:
    """Sum the orientation histogram over the table's bins; what is flatter than the last bin is left out."""
    angles = (np.arange(len(orientations)) * 180 / len(orientations) + 90) % 180 - 90
    return [float(np.sum(orientations, where=(angles >= low) & (angles < high))) for low, high in pairwise(BINS)]


def print_looks(looks: dict[str, dict]) -> None:
    """Print one line a set."""
    table = Table(title="R = rainy - clean")
    columns = (
        "PSNR",
        "10 % .. 90 %",
        "grey",
        "99 %",
        "> 5",
        "clipped",
        "between",
        "within",
        "directions %",
        "widths %",
    )
    table.add_column("set")
    for column in columns:
        table.add_column(column, justify="right")
    for name, look in looks.items():
        low, high = look["psnr_deciles"]
        table.add_row(
            name,
            f"{look['psnr']:.2f}",
            f"{low:.1f} .. {high:.1f}",
            *(f"{look[key]:.1f}" for key in ("mean_grey", "percentile_99")),
            *(f"{100 * look[key]:.1f}" for key in ("covered", "clipped")),
            *(f"{look[key]:.1f}" for key in ("direction_between", "direction_within")),
            " ".join(f"{100 * share:.0f}" for share in coarse(look["orientations"])),
            " ".join(f"{100 * share:.0f}" for share in look["widths"]),
        )
    console = Console(width=None if Console().is_terminal else 160)
    console.print(table)
    console.print(f"directions: shares between {BINS} degrees from the vertical; widths: shares of {WIDTHS} pixels")


def print_speed(rows: list[harness.Measurement]) -> None:
    """Print pictures a second."""
    table = Table(title=f"pictures of {WIDTH}x{HEIGHT}, {harness.cpu_model()}, one core")
    for column in ("preset", "CPU ms", "pictures/s", "MiB above the start"):
        table.add_column(column, justify="left" if column == "preset" else "right")
    for row in rows:
        seconds = row.cpu_least / PICTURES
        table.add_row(row.contender, f"{1000 * seconds:.1f}", f"{1 / seconds:.0f}", f"{row.extra_mib:.0f}")
    Console(width=None if Console().is_terminal else 160).print(table)


def main() -> None:
    """Measure as the command line asks."""
    parser = harness.make_parser("synthesis", rounds=3)
    parser.add_argument("--clean", help="folder of clean photographs to measure the looks on")
    parser.add_argument("--real", nargs="*", default=[], metavar="NAME=FOLDER", help="published sets to put beside")
    parser.add_argument("--count", type=int, default=60, help="pictures of each set (%(default)s)")
    parser.add_argument("--presets", nargs="+", default=DISTINCT, help="which (all that differ)")
    arguments = harness.parse(parser)
    contenders = [harness.Contender(name, photograph, partial(make, preset=name)) for name in arguments.presets]
    rows = harness.measure("synthesize", contenders, arguments.rounds)
    print_speed(rows)
    looks = {}
    for entry in arguments.real:
        name, _, folder = entry.partition("=")
        looks[name] = describe(real_pairs(folder, arguments.count))
    photographs = load_photographs(arguments)
    looks |= {f"preset {name}": describe(made_pairs(photographs, name)) for name in arguments.presets}
    print_looks(looks)
    settings = {"picture": [HEIGHT, WIDTH], "pictures_a_run": PICTURES, "widths": WIDTHS, "looks": looks}
    harness.write("synthesis", rows, settings, arguments)


def load_photographs(arguments: argparse.Namespace) -> list[NDArray[np.uint8]]:
    """Return the photographs that the looks are measured on."""
    if arguments.clean is None:
        return [skimage.data.astronaut(), skimage.data.chelsea(), skimage.data.coffee()]
    return [read_photograph(path) for path in islice(find_photographs(Path(arguments.clean)), arguments.count)]


if __name__ == "__main__":
    main()
