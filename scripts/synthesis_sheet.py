"""Draws docs/synthesis.png: every preset on a photograph that scikit-image ships."""

from pathlib import Path

import cv2
import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from msgnn_plugin.data.synthesis import PRESETS, synthesize

OUT = Path(__file__).resolve().parents[1] / "docs/synthesis.png"
COLUMNS, HEIGHT, WIDTH, LABEL = 4, 160, 240, 16
# Those that are another preset under a second name, or several by turns, would look the same.
SHOWN = [name for name in PRESETS if name not in ("rain100h", "rain100l", "rain1200")]
# Of so many pictures of a preset the middle one by its PSNR is shown: neither the lightest nor the heaviest rain.
TRIES = 15


def main() -> None:
    """Draw the sheet."""
    photographs = [skimage.data.coffee()[20:370, 40:565], skimage.data.chelsea()[:, :450]]
    photographs = [cv2.resize(photograph, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) for photograph in photographs]
    tiles = [label(name, photograph) for name, photograph in zip(("clean", "clean"), photographs, strict=True)]
    for number, name in enumerate(SHOWN):
        tiles.append(label(name, typical(photographs[number % 2], name)))
    rows = [np.hstack(tiles[start : start + COLUMNS]) for start in range(0, len(tiles), COLUMNS)]
    Image.fromarray(np.vstack(rows)).save(OUT, optimize=True)


def typical(clean: NDArray[np.uint8], preset: str) -> NDArray[np.uint8]:
    """Make `TRIES` rainy pictures and return the middle one."""
    made = [synthesize(clean, preset, np.random.default_rng(seed)) for seed in range(TRIES)]
    return sorted(made, key=lambda one: np.square(one.rainy.astype(float) - one.clean).mean())[TRIES // 2].rainy


def label(name: str, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Write a name under a picture."""
    strip = Image.new("RGB", (WIDTH, LABEL), "white")
    ImageDraw.Draw(strip).text((4, 2), name, fill="black")
    return np.vstack([picture, np.asarray(strip)])


if __name__ == "__main__":
    main()
