"""`basicsr distill`: out of many labelled pairs those that are whole and look like real rain, in one manifest."""

import argparse
import os
import sys

NAME = "distill"
HELP = "judge labelled pairs beside real rain and keep the good ones, in a manifest that training reads"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this sub-command's arguments."""
    parser.add_argument(
        "pools", nargs="+", metavar="POOL", help="folder of one or several sets of pairs, or a Parquet list of pairs"
    )
    parser.add_argument("--reference", metavar="REAL_DIR", help="folder of real rainy pictures, at any depth")
    parser.add_argument("-o", "--out", required=True, help="folder of the result, manifest.parquet")
    parser.add_argument(
        "--settings", metavar="FILE", help="YAML of describer, retrieval and judges (the embedded ones)"
    )
    parser.add_argument(
        "--left", choices=("clean", "rainy"), default="clean", help="left half of one-file pairs (%(default)s)"
    )
    parser.add_argument("--runner", choices=("native", "ray"), default="native", help="where to work (%(default)s)")
    parser.add_argument(
        "--ray-address", metavar="ADDRESS", help="of a running Ray cluster (starts one on this machine)"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="workers (%(default)s)")
    parser.add_argument("--unit", type=int, default=64, metavar="PAIRS", help="pairs a worker takes at a time (64)")


def run(args: argparse.Namespace) -> int:
    """Write the manifest; a run that was interrupted goes on.

    Returns:
        0 when every pair was judged, 1 when pictures lack their partner or could not be read or judges gave no answer.
    """
    from msgnn_plugin.cli.progress import progress_bar

    try:
        from msgnn_plugin.curation.pipeline import MANIFEST, Work, distill
        from msgnn_plugin.curation.settings import load_settings
    except ModuleNotFoundError as error:
        raise ImportError(
            f"distill: the extra [distill] must be installed, got no {error.name}. Install msgnn_plugin[distill]."
        ) from error
    if args.jobs < 1:
        raise ValueError(f"distill: `--jobs` must be at least 1, got {args.jobs}.")
    with progress_bar() as (begin, advance, tell):
        summary = distill(
            args.pools,
            args.reference,
            args.out,
            load_settings(args.settings),
            work=Work(args.runner, args.ray_address, args.jobs),
            unit=args.unit,
            left=args.left,
            on_stage=begin,
            on_done=advance,
            on_bad=lambda sentence: tell(f"basicsr distill: error: {sentence}"),
        )
    print(f"{os.path.join(args.out, MANIFEST)}: keeps {summary['kept']} of {summary['pairs']} pairs.")
    for reason, count in summary["reasons"].items():
        print(f"  {count:8d} {reason}")
    for name, counts in summary["judges"].items():
        if counts["unparseable"] or counts["failures"]:
            print(f"  {name}: {counts['unparseable']} unparseable answers, {counts['failures']} failed calls")
    if summary["undecided"]:
        print(
            f"basicsr distill: error: no verdict on {summary['undecided']} pairs, whose judges gave no answer; run the "
            "command again to ask for these.",
            file=sys.stderr,
        )
    if unreadable := summary["reasons"].get("unreadable", 0):
        print(
            f"basicsr distill: error: {unreadable} pairs could not be read; the manifest's column reason says why.",
            file=sys.stderr,
        )
    return 1 if summary["undecided"] or summary["bad"] or unreadable else 0
