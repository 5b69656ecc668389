"""`basicsr weights`: the trained weights that come with the package."""

import argparse
import dataclasses
import json
import sys
from typing import TYPE_CHECKING

from msgnn_plugin.cli.errors import sentence

if TYPE_CHECKING:
    from msgnn_plugin.weights import ShippedWeights

NAME = "weights"
HELP = "list the trained weights that come with the package, and check their files"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this sub-command's arguments."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="print the card of these weights")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print the table, or the card of the weights named.

    Returns:
        0 when the files are what was shipped, 1 when some are not; each of those is named on the standard error.
    """
    from msgnn_plugin.weights import read_index

    index = read_index()
    shown = list(index.weights.values()) if args.name is None else [index.find(args.name)]
    intact = {weights.name: _is_intact(weights) for weights in shown}
    if args.json:
        print(json.dumps([_facts(weights, index.default, intact[weights.name]) for weights in shown], indent=2))
    elif args.name is not None:
        print(shown[0].card.read_text(encoding="utf-8").rstrip())
    elif shown:
        _print_table(shown, index.default, intact)
    else:
        print("This version comes without weights; `basicsr train` makes some.")
    return 0 if all(intact.values()) else 1


def _is_intact(weights: "ShippedWeights") -> bool:
    """Return whether the file is what was shipped, and tell where it is not."""
    try:
        weights.check()
    except (OSError, ValueError) as error:
        print(f"basicsr weights: error: {sentence(error)}", file=sys.stderr)
        return False
    return True


def _facts(weights: "ShippedWeights", default: str | None, intact: bool) -> dict[str, str | int | bool | None]:
    size = weights.file.stat().st_size if weights.file.is_file() else None
    facts = {"file": str(weights.file), "bytes": size, "default": weights.name == default, "intact": intact}
    return dataclasses.asdict(weights) | facts


def _print_table(shown: "list[ShippedWeights]", default: str | None, intact: dict[str, bool]) -> None:
    """Print one line each."""
    rows = [("name", "family", "size", "for", "result")]
    for weights in shown:
        name = f"{weights.name} (default)" if weights.name == default else weights.name
        size = f"{weights.file.stat().st_size / 1e6:.1f} MB" if intact[weights.name] else "damaged"
        rows.append((name, weights.family, size, weights.purpose, weights.result))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip())
