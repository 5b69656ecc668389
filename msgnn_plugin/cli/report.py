"""`basicsr report`: what runs left, as tables."""

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from msgnn_plugin.adapters.basicsr.ablation.rows import Row

NAME = "report"
HELP = "print ablation tables with the paper's numbers beside ours"
_COLUMNS = ("", "parameters", "PSNR, paper", "PSNR, ours", "SSIM, paper", "SSIM, ours", "state")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this sub-command's arguments."""
    parser.add_argument(
        "--ablation",
        nargs="+",
        required=True,
        metavar="FILE",
        help="option files, one a row: options/ablation/table5_*.yml",
    )
    parser.add_argument("--out", metavar="DIR", help="folder of the runs, as given to `basicsr ablate`")
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--json", action="store_const", const="json", dest="form", help="print JSON, with every metric")
    forms.add_argument("--csv", action="store_const", const="csv", dest="form", help="print CSV")
    forms.add_argument("--markdown", action="store_const", const="markdown", dest="form", help="print Markdown")


def run(args: argparse.Namespace) -> int:
    """Print the tables.

    Returns:
        0, also where rows are missing: they are shown as such.
    """
    from msgnn_plugin.adapters.basicsr import register
    from msgnn_plugin.adapters.basicsr.ablation.rows import read_rows

    register()
    print_report(read_rows(args.ablation, None if args.out is None else Path(args.out).expanduser()), args.form)
    return 0


def print_report(rows: Sequence["Row"], form: str | None = None) -> None:
    """Print the tables of these rows; ``form`` is "json", "csv", "markdown" or None for the terminal."""
    from msgnn_plugin.adapters.basicsr.ablation.results import collect

    tables = collect(rows)
    if form == "json":
        print(json.dumps(tables, indent=2, ensure_ascii=False))
    elif form == "csv":
        _print_csv(tables)
    else:
        for table in tables:
            (_print_markdown if form == "markdown" else _print_terminal)(table)


def _print_csv(tables: list[dict[str, Any]]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    metrics = list(dict.fromkeys(name for table in tables for row in table["rows"] for name in row["ours"]))
    stated = list(dict.fromkeys(name for table in tables for row in table["rows"] for name in row["paper"]))
    head = ["table", "row", "file", "status", *(f"paper_{name}" for name in stated)]
    writer.writerow([*head, *(f"ours_{name}" for name in metrics), "remarks"])
    for table in tables:
        for row in table["rows"]:
            numbers = [row["paper"].get(name, "") for name in stated] + [row["ours"].get(name, "") for name in metrics]
            remarks = [*row["remarks"], *(table["remarks"] if row["status"] == "finished" else ())]
            writer.writerow([table["table"], row["row"], row["file"], row["status"], *numbers, " ".join(remarks)])


def _count(parameters: float) -> str:
    return f"{parameters / 1e6:.2f}M" if parameters >= 1e5 else f"{parameters:,.0f}"


def _cells(row: dict[str, Any]) -> list[str]:
    paper, ours = row["paper"], row["ours"]
    counts = [_count(ours["params"])] if "params" in ours else []
    counts += [f"paper {_count(paper['params'])}"] if "params" in paper else []
    cells = [row["row"], ", ".join(counts)]
    for name, digits in (("psnr", 3), ("ssim", 4)):
        cells += [f"{numbers[name]:.{digits}f}" if name in numbers else "-" for numbers in (paper, ours)]
    return [*cells, row["status"]]


def _remarks(table: dict[str, Any]) -> list[str]:
    """Return what holds for the table, then what holds for one row, named by it."""
    return [*table["remarks"], *(f"{row['row']}: {remark}" for row in table["rows"] for remark in row["remarks"])]


def _print_markdown(table: dict[str, Any]) -> None:
    print(f"### {table['table']}\n")
    for cells in (_COLUMNS, ["---"] * len(_COLUMNS), *(_cells(row) for row in table["rows"])):
        print("| " + " | ".join(cells) + " |")
    print()
    for remark in _remarks(table):
        print(f"- {remark}")
    print()


def _print_terminal(table: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = 200  # the 80 that stand for "unknown" would cut numbers off in a file
    drawn = Table(title=table["table"], title_justify="left")
    for name in _COLUMNS:
        drawn.add_column(name, justify="right" if "," in name else "left", no_wrap=True)
    for row in table["rows"]:
        drawn.add_row(*_cells(row))
    console.print(drawn)
    for remark in _remarks(table):
        console.print(f"- {remark}")
    console.print()
