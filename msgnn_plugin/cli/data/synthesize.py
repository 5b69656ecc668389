"""`basicsr data synthesize`: a set of rainy and clean pairs out of clean photographs."""

import argparse
import os
import sys

NAME = "synthesize"
HELP = "make rain on clean photographs: a set of rainy and clean pairs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this sub-command's arguments."""
    parser.add_argument("clean", metavar="CLEAN", help="folder of clean photographs, at any depth")
    parser.add_argument("-o", "--out", required=True, help="folder to make, with rainy and clean in it")
    parser.add_argument(
        "--preset", required=True, help="kind of rain: rain200h, rain200l, rain1200, rain1400, drs, ..."
    )
    parser.add_argument("--seed", type=int, default=0, help="another seed, another rain (%(default)s)")
    parser.add_argument("--per-picture", type=int, metavar="N", help="rains a photograph (14 for rain1400, else 1)")
    parser.add_argument("--rain", action="store_true", help="write the known rain too, to rain_layer, where it is one")
    parser.add_argument(
        "--exclude", nargs="+", default=[], metavar="NAME", help="photographs to leave out, by their names"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (%(default)s)")


def run(args: argparse.Namespace) -> int:
    """Write the pairs; a run that was interrupted goes on.

    Returns:
        0 when all are written, 1 when photographs could not be read.
    """
    from msgnn_plugin.cli.progress import progress_bar
    from msgnn_plugin.data.rain_writing import RainSet, write_rain_set

    rain_set = RainSet(args.preset, args.seed, args.per_picture, args.rain)
    with progress_bar() as (begin, advance, tell):
        count, bad = write_rain_set(
            args.clean,
            args.out,
            rain_set,
            exclude=args.exclude,
            jobs=args.jobs,
            on_start=lambda total: begin("Making rain", total),
            on_done=lambda: advance(1),
            on_bad=lambda sentence: tell(f"basicsr {args.command}: error: {sentence}"),
        )
    pairs = (count - bad) * rain_set.per_picture
    print(f"{args.out}: {pairs} pairs of {count - bad} photographs in rainy and clean.")
    if bad:
        print(
            f"basicsr {args.command}: error: {bad} of {count} photographs could not be read; mend or --exclude them "
            "and run the command again, what is written is kept.",
            file=sys.stderr,
        )
    return 1 if bad else 0
