"""The manifest: one Parquet file with a row a pair, kept or dropped and why."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from msgnn_plugin.curation import listing
from msgnn_plugin.data.atomic import atomic_path
from msgnn_plugin.data.pairs import Picture

_VERDICT = pa.struct(
    [
        ("judge", pa.string()),
        ("reliable", pa.bool_()),
        ("reason", pa.string()),
        ("unparseable", pa.int32()),
        ("failures", pa.int32()),
    ]
)
SCHEMA = pa.schema(
    [
        *listing.SCHEMA,
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("caption", pa.string()),
        ("feature", pa.list_(pa.float32())),
        ("references", pa.list_(pa.string())),
        ("similarities", pa.list_(pa.float32())),
        ("verdicts", pa.list_(_VERDICT)),
        ("kept", pa.bool_()),
        ("decided", pa.bool_()),
        ("reason", pa.string()),
    ]
)
# Rows in memory at a time.
_ROWS = 4096
_RECORDS = pa.schema([*SCHEMA, ("background_hash", pa.string()), ("rain_hash", pa.string())])


def picture_of(row: dict[str, Any], side: str) -> Picture:
    """Return where one side of a row's pair lies."""
    return Picture(row[f"{side}_path"], row[f"{side}_half"], row[f"{side}_key"])


def write_records(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write the records of a unit."""
    with atomic_path(path) as temporary:
        parquet.write_table(pa.Table.from_pylist(rows, _RECORDS), temporary)


def read_records(path: Path) -> list[dict[str, Any]]:
    """Read the records of a unit."""
    return parquet.read_table(path).to_pylist()


def all_decided(path: Path) -> bool:
    """Whether a verdict was reached on every pair of a unit."""
    return all(parquet.read_table(path, columns=["decided"])["decided"].to_pylist())


def write_manifest(path: Path, units: Iterable[list[dict[str, Any]]], settings: dict[str, Any]) -> None:
    """Write the manifest, unit by unit.

    Args:
        path: The file.
        units: The rows, in the order of the pairs' numbers.
        settings: What decided; goes into the file's metadata under `distill`.
    """
    schema = SCHEMA.with_metadata({"distill": json.dumps(settings, sort_keys=True)})
    rows = (row for unit in units for row in unit)
    with atomic_path(path) as temporary, parquet.ParquetWriter(temporary, schema) as writer:
        # Not by the unit, whose size must not change a byte.
        while block := list(islice(rows, _ROWS)):
            writer.write_table(pa.Table.from_pylist(block, schema))


def summarise(path: Path) -> dict[str, Any]:
    """Count what a manifest says.

    Returns:
        ``pairs``, ``kept``, ``undecided``; ``reasons``: dropped pairs by the kind of reason; ``pools``: (kept, all) by
        pool; ``judges``: votes and mishaps by judge.
    """
    reasons: Counter[str] = Counter()
    kept: Counter[str] = Counter()
    total: Counter[str] = Counter()
    judges: dict[str, Counter[str]] = {}
    undecided = 0
    for row in _rows(path):
        total[row["pool"]] += 1
        kept[row["pool"]] += row["kept"]
        undecided += not row["decided"]
        if not row["kept"]:
            reasons[row["reason"].partition(":")[0]] += 1
        for verdict in row["verdicts"]:
            counts = judges.setdefault(verdict["judge"], Counter())
            counts[{True: "yes", False: "no", None: "silent"}[verdict["reliable"]]] += 1
            counts["unparseable"] += verdict["unparseable"]
            counts["failures"] += verdict["failures"]
    return {
        "pairs": total.total(),
        "kept": kept.total(),
        "undecided": undecided,
        "reasons": dict(reasons.most_common()),
        "pools": {pool: [kept[pool], count] for pool, count in total.items()},
        "judges": {name: dict(counts) for name, counts in judges.items()},
    }


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(_ROWS, columns=["pool", "kept", "decided", "reason", "verdicts"]):
            yield from batch.to_pylist()
