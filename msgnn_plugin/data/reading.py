"""From where a picture lies to its pixels."""

from pathlib import Path
from typing import Any

import numpy as np

from msgnn_plugin.data.images import decode_image
from msgnn_plugin.data.lmdb_store import LmdbStore, name_of_key, open_store
from msgnn_plugin.data.pairs import Pair, Picture


def describe(picture: Picture) -> str:
    """Return a picture's path; one inside an LMDB gets ``LMDB/name.png``, so that the stem is always its name."""
    return picture.path if picture.key is None else f"{picture.path}/{name_of_key(picture.key)}.png"


class PictureReader:
    """Reads pictures from files and LMDBs; each process opens an LMDB at the first picture it reads from it."""

    def __init__(self) -> None:
        self._stores: dict[str, LmdbStore] = {}

    def __getstate__(self) -> dict[str, Any]:
        # An open LMDB cannot travel to a spawned worker, which opens its own.
        return {"_stores": {}}

    def read_picture(self, picture: Picture) -> np.ndarray:
        """Read one picture.

        Args:
            picture: Where it lies.

        Returns:
            RGB, shape (H, W, 3), uint8 or uint16. Out of an LMDB of raw rows it is a read-only view of the file, of
            which only the parts that are used are read.

        Raises:
            OSError: If the file cannot be read.
            ValueError: If it is no whole picture, or has halves of unequal width.
        """
        image = self._read_whole(picture)
        return image if picture.half is None else _halve(image, picture)

    def read_pair(self, pair: Pair) -> tuple[np.ndarray, np.ndarray]:
        """Read the rainy and the clean picture of a pair; a file that holds both is decoded once.

        Args:
            pair: The pair.

        Returns:
            Rainy and clean, RGB, shape (H, W, 3), uint8 or uint16, equal in height and width.

        Raises:
            OSError: If a file cannot be read.
            ValueError: If one is no whole picture, halves have unequal widths, or the two differ in size.
        """
        if pair.joined:
            image = self._read_whole(pair.rainy)
            return _halve(image, pair.rainy), _halve(image, pair.clean)
        rainy, clean = self._read_whole(pair.rainy), self._read_whole(pair.clean)
        if rainy.shape != clean.shape:
            raise ValueError(
                f"Image pairs: `{describe(pair.rainy)}` must be as large as {describe(pair.clean)}, "
                f"{clean.shape[1]}x{clean.shape[0]}, got {rainy.shape[1]}x{rainy.shape[0]}."
            )
        return rainy, clean

    def _read_whole(self, picture: Picture) -> np.ndarray:
        """Read all of a file or of an LMDB's entry."""
        if picture.key is None:
            return decode_image(Path(picture.path).read_bytes(), picture.path)
        if picture.path not in self._stores:
            self._stores[picture.path] = open_store(picture.path)
        return self._stores[picture.path].read(picture.key)


def _halve(image: np.ndarray, picture: Picture) -> np.ndarray:
    """Return the left or the right half of a picture."""
    width = image.shape[1]
    if width % 2:
        raise ValueError(
            f"Image pairs: `{describe(picture)}` must have an even width to be a pair of two halves, got {width}. "
            "If it is a single picture, give rainy_root and clean_root."
        )
    return image[:, : width // 2] if picture.half == "left" else image[:, width // 2 :]
