"""Which clean picture each result belongs to, whatever the program that wrote it added to the names."""

import re
from dataclasses import dataclass
from pathlib import Path

from msgnn_plugin.data.images import list_images
from msgnn_plugin.data.pairs import pair_by_name

# Strips that `val.compare` puts beside the results.
_STRIP = "_compare"
_DELIMITER = re.compile(r"[-_. ]")


@dataclass(frozen=True)
class ResultPairs:
    """Results beside their clean pictures.

    Attributes:
        pairs: Result and clean picture (None where none is wanted), in the natural order of the results' names.
        lone_results: Results without a clean picture.
        lone_cleans: Clean pictures without a result.
        beginning: What was taken off the beginning of every result's stem.
        ending: What was taken off its end.
    """

    pairs: list[tuple[Path, Path | None]]
    lone_results: list[Path]
    lone_cleans: list[Path]
    beginning: str = ""
    ending: str = ""


def list_results(folder: str | Path) -> list[Path]:
    """Return the pictures directly in a folder of results, in natural order, comparison strips left out.

    Raises:
        OSError: If the folder cannot be read.
        ValueError: If it holds no picture.
    """
    results = [path for path in list_images(folder) if not path.stem.endswith(_STRIP)]
    if not results:
        raise ValueError(f"metrics: RESULT_DIR must hold at least one picture, got none directly in {str(folder)!r}.")
    return results


def pair_results(results: list[Path], cleans: list[Path]) -> ResultPairs:
    """Pair results with clean pictures by name, as ``pair_by_name`` does for rainy ones.

    Where results stay alone, what all their names begin or end with up to a delimiter (``-``, ``_``, ``.``, blank) is
    taken off, if that finds more partners: BasicSR writes ``7_NAME.png``, others ``derained-7.png``.

    Args:
        results: Result files, stems unique.
        cleans: Clean files, stems unique.

    Returns:
        The pairs, and what has no partner.

    Raises:
        ValueError: If two files of a side have one stem, or a partner is not certain.
    """
    best, fault = None, None
    for beginning, ending in _additions([path.stem for path in results]):
        try:
            found = _pair(results, cleans, beginning, ending)
        except ValueError as error:
            fault = fault or error
            continue
        if best is None or len(found.pairs) > len(best.pairs):
            best = found
        if not best.lone_results:
            break
    if fault is not None and (best is None or not best.pairs):
        raise fault
    return best


def _pair(results: list[Path], cleans: list[Path], beginning: str, ending: str) -> ResultPairs:
    named = {}
    for path in results:
        stem = path.stem.removeprefix(beginning).removesuffix(ending)
        named[path.with_name(stem + path.suffix)] = path
    alone: list[Path] = []
    found = pair_by_name(list(named), cleans, alone=alone)
    return ResultPairs(
        pairs=[(named[Path(pair.rainy.path)], Path(pair.clean.path)) for pair in found],
        lone_results=[named[path] for path in alone if path in named],
        lone_cleans=[path for path in alone if path not in named],
        beginning=beginning,
        ending=ending,
    )


def _additions(stems: list[str]) -> list[tuple[str, str]]:
    """Return what may be taken off the beginning and the end of all stems, the least first."""
    first = stems[0]
    places = [match.start() for match in _DELIMITER.finditer(first)]
    beginnings = ["", *(first[: place + 1] for place in places)]
    endings = ["", *(first[place:] for place in places)]
    shared = [beginning for beginning in beginnings if all(stem.startswith(beginning) for stem in stems)]
    ended = [ending for ending in endings if all(stem.endswith(ending) for stem in stems)]
    shortest = min(map(len, stems))
    pairs = [(one, other) for one in shared for other in ended if len(one) + len(other) < shortest]
    return sorted(pairs, key=lambda pair: (len(pair[0]) + len(pair[1]), len(pair[0])))
