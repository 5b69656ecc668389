"""`basicsr ablate`: train the rows of an ablation table one after the other, then print the table."""

import argparse
import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from msgnn_plugin.adapters.basicsr.ablation.rows import Row

NAME = "ablate"
HELP = "train the rows of an ablation table, resumably, and print it beside the paper's"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this sub-command's arguments."""
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="option files, one a row: options/ablation/table5_*.yml"
    )
    parser.add_argument(
        "--scale-schedule",
        type=float,
        default=1.0,
        metavar="F",
        help="multiply iterations, milestones, warm-up, validation and checkpoint intervals by this (1)",
    )
    parser.add_argument(
        "--force_yml",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="set options in every row, after scaling, for example network_g:num_blocks=4 num_gpu=0",
    )
    parser.add_argument("--out", metavar="DIR", help="folder of the runs, instead of the files' experiments/ablation")


def run(args: argparse.Namespace) -> int:
    """Train every row that is not finished.

    Returns:
        0 when all rows are finished, 1 when some failed; each of those is named on the standard error.
    """
    if not 0 < args.scale_schedule < float("inf"):
        raise ValueError(f"ablate: `--scale-schedule` must be above 0, got {args.scale_schedule}.")
    from msgnn_plugin.adapters.basicsr import register
    from msgnn_plugin.adapters.basicsr.ablation.rows import read_rows
    from msgnn_plugin.cli.report import print_report

    register()
    out = None if args.out is None else Path(args.out).expanduser()
    rows = read_rows(args.files, out)
    # A plain `kill` is taken like Ctrl-C, for the training in the other process must end too.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        failures = _train_all(rows, args, out)
    finally:
        signal.signal(signal.SIGTERM, before)
    print_report(rows)
    return 1 if failures else 0


def _train_all(rows: list["Row"], args: argparse.Namespace, out: Path | None) -> int:
    """Return how many rows failed."""
    from msgnn_plugin.adapters.basicsr.ablation.training import check_rows, scaled_schedule, train_row

    place = [] if out is None else [f"path:experiments_root={json.dumps(str(out.resolve()))}"]
    forced = {row.file: [*scaled_schedule(row.options, args.scale_schedule), *args.force_yml, *place] for row in rows}
    # All are looked at before any is trained: hours of work should not end at a slip that was there from the start.
    failed = check_rows(rows, forced)
    for number, row in enumerate(rows, 1):
        title = f"[{number}/{len(rows)}] {row.options['ablation']['table']}: {row.options['ablation']['row']}"
        if row.file in failed:
            continue
        if row.run.finished():
            print(f"{title}: finished before.", file=sys.stderr)
            continue
        print(f"{title}: training in {row.folder}", file=sys.stderr)
        try:
            train_row(row, forced[row.file])
        except (RuntimeError, OSError) as error:
            failed[row.file] = error
    for file, error in failed.items():
        sentence = str(error) if str(file) in str(error) else f"{file}: {error}"
        print(f"basicsr ablate: error: {sentence}", file=sys.stderr)
    return len(failed)
