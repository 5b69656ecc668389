"""`basicsr metrics`: measure anybody's results against clean pictures, by protocols with names."""

import argparse
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgnn_plugin.cli.errors import name_once
from msgnn_plugin.cli.outputs import check_file
from msgnn_plugin.cli.tables import print_table

if TYPE_CHECKING:
    from msgnn_plugin.cli.measures import Measure
    from msgnn_plugin.data.result_pairs import ResultPairs
    from msgnn_plugin.metrics.table import Mean, MeasureTable

NAME = "metrics"
HELP = "measure pictures against clean ones: PSNR and SSIM by named protocols, NIQE and others"
_PROTOCOLS = ("rgb", "y", "y-matlab", "msgnn")
_DEFAULT_PROTOCOLS = ("rgb", "y", "y-matlab")
_NAMES_TOLD = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this sub-command's arguments."""
    parser.add_argument("results", metavar="RESULT_DIR", help="folder of the pictures to measure")
    parser.add_argument(
        "clean",
        metavar="GT_DIR",
        nargs="?",
        help="folder of the clean pictures, paired by name; without it only metrics that need none, such as niqe",
    )
    parser.add_argument(
        "--protocol",
        nargs="+",
        choices=_PROTOCOLS,
        metavar="NAME",
        help=f"what PSNR and SSIM mean: {', '.join(_PROTOCOLS)} (without it: {' '.join(_DEFAULT_PROTOCOLS)})",
    )
    parser.add_argument(
        "--metric",
        nargs="+",
        default=[],
        metavar="NAME",
        help="further metrics: niqe, or pyiqa's, such as lpips or musiq (extra [iqa], not for commercial use)",
    )
    parser.add_argument("--csv", metavar="FILE", help="write every picture's numbers and the means as CSV")
    parser.add_argument("--json", metavar="FILE", help="write the same as JSON")


def run(args: argparse.Namespace) -> int:
    """Measure every picture.

    Returns:
        0 when all are measured, 1 when some failed or have no partner; they are named on the standard error.
    """
    from msgnn_plugin.cli.measures import choose_measures
    from msgnn_plugin.metrics.table import MeasureTable

    pairs = _find_pairs(args)
    tables = {"--csv": args.csv, "--json": args.json}
    read = [picture for pair in pairs.pairs for picture in pair if picture is not None]
    for option, path in tables.items():
        if path is not None:
            check_file("metrics", option, path, inputs=[*read, *pairs.lone_results, *pairs.lone_cleans])
    if None not in tables.values() and Path(args.csv).absolute() == Path(args.json).absolute():
        raise ValueError(f"metrics: `--csv` and `--json` must name two files, got {args.csv!r} twice.")
    measures = choose_measures(_protocols(args), args.metric)
    for measure in measures:
        if measure.needs_clean and args.clean is None:
            raise ValueError(f"metrics: GT_DIR must be given for {measure.name}, which compares with clean pictures.")
    table = MeasureTable([column for measure in measures for column in measure.columns])
    _measure(pairs, measures, table, args)
    _print_means(args, measures, table, pairs)
    _write(args, measures, table, pairs)
    return 1 if table.failures else 0


def _protocols(args: argparse.Namespace) -> Sequence[str]:
    if args.protocol is not None:
        return args.protocol
    if args.clean is None and not args.metric:
        raise ValueError("metrics: GT_DIR must be given unless `--metric niqe` or the like is asked for, got neither.")
    return () if args.clean is None else _DEFAULT_PROTOCOLS


def _find_pairs(args: argparse.Namespace) -> "ResultPairs":
    from msgnn_plugin.data.images import list_images
    from msgnn_plugin.data.result_pairs import ResultPairs, list_results, pair_results

    for name, folder in (("RESULT_DIR", args.results), ("GT_DIR", args.clean)):
        if folder is not None and not os.path.isdir(folder):
            raise ValueError(f"metrics: {name} must be a folder, got {folder!r}.")
    results = list_results(args.results)
    if args.clean is None:
        return ResultPairs([(result, None) for result in results], [], [])
    cleans = list_images(args.clean)
    if not cleans:
        raise ValueError(f"metrics: GT_DIR must hold at least one picture, got none directly in {args.clean!r}.")
    return pair_results(results, cleans)


def _measure(
    pairs: "ResultPairs", measures: Sequence["Measure"], table: "MeasureTable", args: argparse.Namespace
) -> None:
    from msgnn_plugin.cli.progress import progress_bar
    from msgnn_plugin.data.image_file import read_picture

    with progress_bar() as (begin, advance, tell):
        _tell_alone(pairs.lone_results, "clean picture", args.clean, table, tell)
        _tell_alone(pairs.lone_cleans, "result", args.results, table, tell)
        begin("Measuring", len(pairs.pairs))
        for result, clean in pairs.pairs:
            try:
                derained = read_picture(result)
                wanted = None if clean is None else read_picture(clean)
                values = {}
                for measure in measures:
                    values.update(zip(measure.columns, measure.take(derained, wanted), strict=True))
                table.add(result.name, None if clean is None else clean.name, values)
            except (ValueError, OSError, RuntimeError, MemoryError) as error:
                table.fail(result.name, name_once(error, result))
                tell(f"basicsr metrics: error: {table.failures[-1][1]}")
            advance(1)


def _tell_alone(
    files: Sequence[Path], missing: str, folder: str, table: "MeasureTable", tell: Callable[[str], None]
) -> None:
    """Note every file without a partner, and tell of all in one sentence."""
    for file in files:
        table.fail(file.name, f"{file}: a {missing} of that name must be in {folder}, got none.")
    if files:
        names = ", ".join(file.name for file in files[:_NAMES_TOLD])
        rest = f" and {len(files) - _NAMES_TOLD} others" if len(files) > _NAMES_TOLD else ""
        tell(
            f"basicsr metrics: error: {folder} must hold a {missing} for every picture of {files[0].parent}, "
            f"got none for {names}{rest}; names may differ in what all results begin or end with."
        )


def _print_means(
    args: argparse.Namespace, measures: Sequence["Measure"], table: "MeasureTable", pairs: "ResultPairs"
) -> None:
    against = "" if args.clean is None else f" against {args.clean}"
    failed = f", {len(table.failures)} failed" if table.failures else ""
    rows = []
    for column in table.columns:
        mean = table.mean(column)
        rows.append([column, "-" if math.isnan(mean.value) else f"{mean.value:.4f}", str(mean.count), _left_out(mean)])
    additions = filter(None, (pairs.beginning, pairs.ending))
    print_table(
        f"{args.results}{against}: {len(table.rows)} measured{failed}",
        [("measure_protocol", "left"), ("mean", "right"), ("pictures", "right"), ("left out", "left")],
        rows,
        [
            *(f"{measure.name}: {measure.about}." for measure in measures),
            *(f"Taken off the name of every result: {addition}" for addition in additions),
        ],
    )


def _left_out(mean: "Mean") -> str:
    infinite = [f"{mean.infinite} equal to the clean one"] if mean.infinite else []
    missing = [f"{mean.missing} too small or flat to have one"] if mean.missing else []
    return ", ".join(infinite + missing)


def _write(
    args: argparse.Namespace, measures: Sequence["Measure"], table: "MeasureTable", pairs: "ResultPairs"
) -> None:
    from msgnn_plugin.data.atomic import write_bytes_atomic

    if args.csv is not None:
        write_bytes_atomic(Path(args.csv), table.to_csv().encode())
    if args.json is not None:
        about = {
            "results": args.results,
            "clean": args.clean,
            "taken_off_results": {"beginning": pairs.beginning, "ending": pairs.ending},
            "protocols": {measure.name: measure.about for measure in measures},
        }
        write_bytes_atomic(Path(args.json), table.to_json(about).encode())
