"""Photographs of one kind in a folder: clean ones to make rain on, or either side of an unpaired set."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from msgnn_plugin.data.images import decode_image, list_images, natural_key
from msgnn_plugin.data.pairs import as_stems


def find_photographs(root: str | Path, exclude: Sequence[str | int] = ()) -> list[Path]:
    """Return the pictures in a folder, at any depth, hidden ones left out, in natural order.

    Args:
        root: The folder.
        exclude: Names (file names without suffix) of pictures to leave out; those that are not there are warned of.

    Raises:
        FileNotFoundError: If the folder is missing, or nothing is left in it.
    """
    if not Path(root).is_dir():
        raise FileNotFoundError(f"photographs: `root` must be a folder, got {root}.")
    found = []
    for parent, folders, _ in os.walk(root):
        folders[:] = sorted((name for name in folders if not name.startswith(".")), key=natural_key)
        found += list_images(parent)
    unwanted = as_stems(exclude)
    kept = [path for path in found if path.stem not in unwanted]
    unknown = unwanted - {path.stem for path in found}
    if unknown:
        # A slip here lets a background of the test pictures into the training.
        listed = ", ".join(sorted(unknown, key=natural_key))
        warnings.warn(f"photographs: `exclude` names {listed}, which {root} does not hold.", stacklevel=2)
    if not kept:
        raise FileNotFoundError(f"photographs: `root` must hold at least one picture, got {root} with none.")
    return kept


def read_photograph(path: str | Path) -> np.ndarray:
    """Read one photograph as RGB, (H, W, 3), uint8; 16 bits are rounded to 8.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is no whole picture.
    """
    image = decode_image(Path(path).read_bytes(), str(path))
    return image if image.dtype == np.uint8 else np.rint(image / 257).astype(np.uint8)
