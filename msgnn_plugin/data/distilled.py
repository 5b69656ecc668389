"""Pairs out of the Parquet manifest that `basicsr distill` writes, or any list of pairs of that form."""

from collections.abc import Iterator
from pathlib import Path

from msgnn_plugin.data.pairs import Pair, Picture

SUFFIX = ".parquet"
# Where the two pictures of a pair lie; the other columns say why it was kept or dropped.
PLACES = ("rainy_path", "rainy_half", "rainy_key", "clean_path", "clean_half", "clean_key")
_ROWS = 4096


def iterate_kept(path: str | Path) -> Iterator[Pair]:
    """Yield the pairs of a manifest that are kept, a few thousand at a time in memory.

    Args:
        path: Parquet file with `name`, `rainy_path` and `clean_path`. Optional are `kept` (without it all are), the
            sides' `half` and their `key` in an LMDB. Paths are absolute or relative to the file's folder.

    Yields:
        The pairs in the file's order.

    Raises:
        ImportError: If pyarrow, of the extra [distill], is missing.
        ValueError: If it is no Parquet file, or lacks a column.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError(
            f"Manifest: {path} must be read by pyarrow, got none installed. Install msgnn_plugin[distill]."
        ) from error
    try:
        file = parquet.ParquetFile(path)
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"Manifest: `{path}` must be a whole Parquet file, got {error}.") from error
    with file:
        columns = [name for name in ("name", "kept", *PLACES) if name in file.schema_arrow.names]
        missing = {"name", "rainy_path", "clean_path"}.difference(columns)
        if missing:
            raise ValueError(f"Manifest: `{path}` must have the columns {', '.join(sorted(missing))}, got none.")
        for batch in file.iter_batches(_ROWS, columns=columns):
            for row in batch.to_pylist():
                if row.get("kept", True):
                    yield Pair(row["name"], *(_picture(row, side, Path(path).parent) for side in ("rainy", "clean")))


def read_kept(path: str | Path, exclude: frozenset[str]) -> list[Pair]:
    """Return the pairs of a manifest that are kept, see `iterate_kept`.

    Args:
        path: The manifest.
        exclude: Names to leave out.

    Raises:
        ValueError: If no pair is kept, or two have one name.
    """
    pairs = list(iterate_kept(path))
    if not pairs:
        raise ValueError(f"Manifest: `{path}` must keep at least one pair, got none.")
    if len({pair.name for pair in pairs}) < len(pairs):
        raise ValueError(f"Manifest: names in `{path}` must be unique, got one twice.")
    return [pair for pair in pairs if pair.name not in exclude]


def _picture(row: dict[str, str | None], side: str, folder: Path) -> Picture:
    return Picture(str(folder / row[f"{side}_path"]), row.get(f"{side}_half"), row.get(f"{side}_key"))
