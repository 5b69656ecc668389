"""The pairs of all pools, listed once in small Parquet files: the units of work."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from msgnn_plugin.data.atomic import atomic_path, write_bytes_atomic
from msgnn_plugin.data.distilled import PLACES, SUFFIX, iterate_kept
from msgnn_plugin.data.layouts import find_sets, survey_pairs
from msgnn_plugin.data.pairs import Pair

# The folders of UniRain's four types: day and night, streaks and drops.
_NIGHT = {"drs": False, "drd": False, "nrs": True, "nrd": True}
_DONE = "listing.json"

SCHEMA = pa.schema(
    [
        ("number", pa.int64()),
        ("pool", pa.string()),
        ("name", pa.string()),
        ("night", pa.bool_()),
        *((place, pa.string()) for place in PLACES),
    ]
)


@dataclass(frozen=True)
class Listing:
    """What was listed.

    Attributes:
        count: Pairs.
        units: The files, in order.
        alone: Files of the pools that lack their partner.
    """

    count: int
    units: list[Path]
    alone: list[str]


def list_pools(pools: Sequence[str | Path], folder: Path, *, unit: int, left: str) -> Listing:
    """List the pairs of all pools, or read the listing that an earlier run made.

    A pool is a folder that holds one set or several, in any layout that ``find_pairs`` knows, or a Parquet file of
    pairs. A folder is listed in memory (some 600 bytes a pair), a Parquet file is read piece by piece.

    Args:
        pools: The pools.
        folder: Where the units go.
        unit: Pairs a unit.
        left: Left half of one-file pairs, "clean" or "rainy".

    Returns:
        The listing.

    Raises:
        FileNotFoundError: If a pool is missing or holds no pair.
        ValueError: If a layout is not certain.
    """
    done = folder / _DONE
    if not done.is_file():
        alone: list[str] = []
        rows = _rows(pools, left, alone)
        count = number = 0
        while block := list(islice(rows, unit)):
            for offset, row in enumerate(block):
                row["number"] = count + offset
            with atomic_path(folder / f"{number:08d}{SUFFIX}") as temporary:
                parquet.write_table(pa.Table.from_pylist(block, SCHEMA), temporary)
            count, number = count + len(block), number + 1
        write_bytes_atomic(done, json.dumps({"count": count, "units": number, "alone": alone}).encode())
    values = json.loads(done.read_bytes())
    return Listing(values["count"], [folder / f"{i:08d}{SUFFIX}" for i in range(values["units"])], values["alone"])


def _rows(pools: Sequence[str | Path], left: str, alone: list[str]) -> Iterator[dict[str, Any]]:
    labels: set[str] = set()
    for pool in map(Path, pools):
        if pool.suffix == SUFFIX and pool.is_file():
            found = [(_unique(pool.absolute().parent.name, labels), None, iterate_kept(pool))]
        else:
            found = list(_sets_of(pool, left, alone, labels))
        for label, night, pairs in found:
            for pair in pairs:
                yield {"pool": label, "name": f"{label}_{pair.name}", "night": night, **_places(pair)}


def _sets_of(
    pool: Path, left: str, alone: list[str], labels: set[str]
) -> Iterator[tuple[str, bool | None, Iterator[Pair]]]:
    """Yield what the sets below a folder are called, whether it is night there, and their pairs."""
    folders = find_sets(pool)
    if not folders:
        raise FileNotFoundError(f"distill: POOL must hold image pairs, got {pool} without any.")
    for folder in folders:
        parts = (pool.absolute().name, *folder.relative_to(pool).parts)
        yield _unique("_".join(parts), labels), _NIGHT.get(parts[-1].lower()), _pairs_of(folder, left, alone)


def _pairs_of(folder: Path, left: str, alone: list[str]) -> Iterator[Pair]:
    survey = survey_pairs(folder, left=left)
    alone += map(str, survey.alone)
    yield from survey.pairs


def _places(pair: Pair) -> dict[str, str | None]:
    places = {}
    for side, picture in (("rainy", pair.rainy), ("clean", pair.clean)):
        places |= {
            f"{side}_path": str(Path(picture.path).absolute()),
            f"{side}_half": picture.half,
            f"{side}_key": picture.key,
        }
    return places


def _unique(label: str, taken: set[str]) -> str:
    """Return a label that no pool before has."""
    wanted, number = label, 1
    while wanted in taken:
        number += 1
        wanted = f"{label}_{number}"
    taken.add(wanted)
    return wanted
