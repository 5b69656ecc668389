"""Pairs that are another pair saved anew: found by hashes kept on the disk, believed by their pictures."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from msgnn_plugin.curation.manifest import picture_of
from msgnn_plugin.data.overlap import find_overlaps, make_thumbnail
from msgnn_plugin.data.pairs import Pair
from msgnn_plugin.data.scan import SAME_RAIN, rain_agreement, scan_entries

# A hash is the signs of the lowest frequencies, in bands; pictures are compared that share a whole band. A thumbnail
# saved anew turns about one sign in fifty, so that a band of 24 stays whole in 61 % and one of five in 99 %.
_BANDS, _BAND_BITS = 5, 24
_BITS = _BANDS * _BAND_BITS
# Candidates whose pictures are looked at, nearest hashes first; of a band that all dark pictures share, this many rows.
_LOOKED_AT, _FETCHED = 4, 256
_FARTHEST = 0.3


def hash_background(clean: NDArray[np.uint8]) -> str:
    """Return the perceptual hash of a clean side, RGB (H, W, 3): 120 bits as hexadecimal digits."""
    return _hash(make_thumbnail(clean).astype(np.float32))


def hash_rain(rainy: NDArray[np.uint8], clean: NDArray[np.uint8]) -> str:
    """Return the same of the rain alone, which tells several rains of one background apart."""
    layers = (cv2.resize(image[:, :, 1], (64, 64), interpolation=cv2.INTER_AREA) for image in (rainy, clean))
    bright, base = (layer.astype(np.float32) for layer in layers)
    return _hash(bright - base)


def _hash(values: NDArray[np.float32]) -> str:
    coefficients = cv2.dct(values)
    rows, columns = np.indices(coefficients.shape)
    order = np.lexsort((rows.ravel(), (rows + columns).ravel()))[1 : _BITS + 1]
    return np.packbits(coefficients.ravel()[order] > 0).tobytes().hex()


def drop_duplicates(units: Iterator[list[dict[str, Any]]], scratch: Path) -> Iterator[list[dict[str, Any]]]:
    """Drop the kept pairs that an earlier kept pair equals but for its encoding or size.

    Only the first stays. One background under several rains is no duplicate, and crops are not looked for. The hashes
    lie in a table on the disk, so that memory does not grow.

    Args:
        units: Records, in the order of the pairs' numbers; changed in place.
        scratch: File to keep the table in; an older one is overwritten.

    Yields:
        The units.
    """
    scratch.unlink(missing_ok=True)
    with closing(sqlite3.connect(scratch, isolation_level=None)) as table:
        table.execute("PRAGMA journal_mode = OFF")
        table.execute("PRAGMA synchronous = OFF")
        table.execute("CREATE TABLE bands (band INTEGER, number INTEGER, PRIMARY KEY (band, number)) WITHOUT ROWID")
        table.execute("CREATE TABLE pairs (number INTEGER PRIMARY KEY, hashes BLOB, name TEXT, places TEXT)")
        table.execute("BEGIN")
        for rows in units:
            for row in rows:
                if row["kept"]:
                    first = _find_first(table, row)
                    if first is None:
                        _remember(table, row)
                    else:
                        row["kept"], row["reason"] = False, f"duplicate: of {first}"
            yield rows
    scratch.unlink(missing_ok=True)


def _bands(row: dict[str, Any]) -> list[int]:
    """Return the bands of a hash, each with its place in the top bits."""
    digits = _BAND_BITS // 4
    text = row["background_hash"]
    return [(i << _BAND_BITS) | int(text[i * digits : (i + 1) * digits], 16) for i in range(_BANDS)]


def _find_first(table: sqlite3.Connection, row: dict[str, Any]) -> str | None:
    """Return the name of the pair that this one repeats."""
    own = bytes.fromhex(row["background_hash"] + row["rain_hash"])
    found: dict[int, tuple[str, str, int]] = {}
    for band in _bands(row):
        for number, hashes, name, places in table.execute(
            "SELECT p.number, p.hashes, p.name, p.places FROM bands b JOIN pairs p ON p.number = b.number "
            f"WHERE b.band = ? LIMIT {_FETCHED}",
            (band,),
        ):
            found[number] = (name, places, (int.from_bytes(own, "big") ^ int.from_bytes(hashes, "big")).bit_count())
    near = sorted((far, number) for number, (_, _, far) in found.items() if far <= _FARTHEST * 2 * _BITS)
    for _, number in near[:_LOOKED_AT]:
        name, places, _ = found[number]
        if _is_same(_pair(row), _pair(dict(zip(_PLACE_KEYS, places.split("\0"), strict=True)))):
            return name
    return None


_PLACE_KEYS = tuple(f"{side}_{part}" for side in ("rainy", "clean") for part in ("path", "half", "key"))


def _remember(table: sqlite3.Connection, row: dict[str, Any]) -> None:
    places = "\0".join(row[key] or "" for key in _PLACE_KEYS)
    hashes = bytes.fromhex(row["background_hash"] + row["rain_hash"])
    table.execute("INSERT INTO pairs VALUES (?, ?, ?, ?)", (row["number"], hashes, row["name"], places))
    table.executemany("INSERT INTO bands VALUES (?, ?)", [(band, row["number"]) for band in _bands(row)])


def _pair(row: dict[str, Any]) -> Pair:
    row = {key: row[key] or None for key in _PLACE_KEYS}
    return Pair("", picture_of(row, "rainy"), picture_of(row, "clean"))


def _is_same(one: Pair, two: Pair) -> bool:
    """Whether two pairs show one scene in one rain."""
    scans = scan_entries([one, two])
    if any(scan.error for scan in scans) or rain_agreement(scans[0].layer, scans[1].layer) <= SAME_RAIN:
        return False
    return bool(find_overlaps(scans[0].thumbnail[None], scans[1].thumbnail[None]))
