"""`basicsr report`: what runs left: pages with pictures and curves, or ablation tables."""

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgnn_plugin.cli.errors import sentence
from msgnn_plugin.cli.outputs import check_file
from msgnn_plugin.cli.tables import markdown_table, print_table

if TYPE_CHECKING:
    from msgnn_plugin.adapters.basicsr.ablation.rows import Row

NAME = "report"
HELP = "make a page of training and test runs, or print ablation tables with the paper's numbers beside ours"
_COLUMNS = ("", "parameters", "PSNR, paper", "PSNR, ours", "SSIM, paper", "SSIM, ours", "state")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this sub-command's arguments."""
    parser.add_argument("runs", nargs="*", metavar="RUN", help="folders of runs: experiments/NAME, results/NAME")
    parser.add_argument("--html", metavar="FILE", help="page to write of the runs (report.html, unless --markdown)")
    parser.add_argument(
        "--pictures", type=int, metavar="N", help="how many of the best and of the worst pictures the page shows (3)"
    )
    parser.add_argument(
        "--ablation",
        nargs="+",
        metavar="FILE",
        help="option files, one a row: options/ablation/table5_*.yml",
    )
    parser.add_argument(
        "--out", metavar="DIR", help="with --ablation: folder of the runs, as given to `basicsr ablate`"
    )
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument(
        "--json", action="store_const", const="json", dest="form", help="with --ablation: print JSON, with every metric"
    )
    forms.add_argument("--csv", action="store_const", const="csv", dest="form", help="with --ablation: print CSV")
    forms.add_argument("--markdown", action="store_const", const="markdown", dest="form", help="print Markdown")


def run(args: argparse.Namespace) -> int:
    """Print the tables, or write the page.

    Returns:
        0, also where rows of an ablation are missing, which are shown as such; 1 where a run, or a file of one, could
        not be read.
    """
    _check(args)
    if args.runs:
        return _report_runs(args)
    from msgnn_plugin.adapters.basicsr import register
    from msgnn_plugin.adapters.basicsr.ablation.rows import read_rows

    register()
    print_report(read_rows(args.ablation, None if args.out is None else Path(args.out).expanduser()), args.form)
    return 0


def _check(args: argparse.Namespace) -> None:
    """Raise where arguments of the two reports are mixed."""
    if bool(args.runs) == bool(args.ablation):
        got = "both" if args.runs else "none"
        raise ValueError(f"report: either RUN or `--ablation` must be given, got {got}.")
    foreign = {"--html": args.html, "--pictures": args.pictures}
    other = "`--ablation`"
    if args.runs:
        foreign = {"--out": args.out, f"--{args.form}": args.form if args.form in ("json", "csv") else None}
        other = "RUN"
    for name, value in foreign.items():
        if value is not None:
            raise ValueError(f"report: `{name}` must be left out with {other}, got {value!r}.")
    if args.pictures is not None and args.pictures < 0:
        raise ValueError(f"report: `--pictures` must be at least 0, got {args.pictures}.")


def _report_runs(args: argparse.Namespace) -> int:
    from msgnn_plugin.adapters.basicsr.reporting.runs import read_run
    from msgnn_plugin.cli.report_runs import describe_run, make_markdown, make_page
    from msgnn_plugin.data.atomic import write_bytes_atomic

    page = args.html
    if page is None and args.form != "markdown":
        page = "report.html"
    if page is not None:
        check_file("report", "--html", page, suffixes=(".html", ".htm"))
    runs, problems = [], []
    for name in dict.fromkeys(args.runs):
        try:
            runs.append(read_run(Path(name).expanduser()))
        except (ValueError, OSError) as error:
            problems.append(sentence(error))
    if not runs:
        raise ValueError(problems[0])
    count = 3 if args.pictures is None else args.pictures
    parts = [describe_run(each, count, embed=page is not None) for each in runs]
    if page is not None:
        write_bytes_atomic(Path(page), make_page(runs, parts, problems).encode())
    if args.form == "markdown":
        print(make_markdown(runs, parts, problems), end="")
    faults = [*problems, *(problem for each in runs for problem in each.problems)]
    for fault in faults:
        print(f"basicsr report: error: {' '.join(fault.split())}", file=sys.stderr)
    if page is not None:
        print(f"{page}: {len(runs)} of {len(set(args.runs))} runs.", file=sys.stderr)
    return 1 if faults else 0


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
    print(markdown_table([_COLUMNS, *map(_cells, table["rows"])]), end="\n\n")
    for remark in _remarks(table):
        print(f"- {remark}")
    print()


def _print_terminal(table: dict[str, Any]) -> None:
    columns = [(name, "right" if "," in name else "left") for name in _COLUMNS]
    print_table(table["table"], columns, map(_cells, table["rows"]), _remarks(table))
    print()
