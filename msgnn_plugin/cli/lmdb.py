"""`basicsr lmdb`: pack a data set into an LMDB: two files instead of thousands, for shared or slow disks."""

import argparse
import sys

NAME = "lmdb"
HELP = "pack a data set of image pairs into an LMDB cache"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this sub-command's arguments."""
    parser.add_argument(
        "roots", nargs="+", metavar="ROOT", help="folder of the set, in any published layout; or RAINY_ROOT CLEAN_ROOT"
    )
    parser.add_argument(
        "-o", "--out", required=True, help="folder to make; gets lq.lmdb and gt.lmdb, give it as dataroot afterwards"
    )
    parser.add_argument(
        "--left", choices=("clean", "rainy"), default="clean", help="left half of files that hold a pair (clean)"
    )
    parser.add_argument(
        "--exclude", nargs="+", default=[], metavar="NAME", help="pictures to leave out, by their names"
    )


def run(args: argparse.Namespace) -> int:
    """Build the cache.

    Returns:
        0 when it is finished, 1 when pictures could not be stored and it therefore is not.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from msgnn_plugin.data.layouts import find_pairs
    from msgnn_plugin.data.lmdb_writer import build_lmdb

    if len(args.roots) > 2:
        raise ValueError(f"lmdb: ROOT must be one folder, or a rainy and a clean one, got {len(args.roots)}.")
    one = args.roots[0] if len(args.roots) == 1 else None
    rainy, clean = (None, None) if one else args.roots
    pairs = find_pairs(one, rainy_root=rainy, clean_root=clean, left=args.left, exclude=args.exclude)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("Storing pairs", total=len(pairs))
        bad = build_lmdb(
            pairs,
            args.out,
            on_done=lambda count: progress.advance(task, count),
            on_bad=lambda sentence: print(f"basicsr lmdb: error: {sentence}", file=sys.stderr),
        )
    if bad:
        print(
            f"basicsr lmdb: error: {len(bad)} of {len(pairs)} pairs could not be stored, so {args.out} is not "
            "finished; mend the files above or --exclude them and run the command again, what is stored is kept.",
            file=sys.stderr,
        )
        return 1
    print(f"{args.out}: {len(pairs)} pairs in lq.lmdb and gt.lmdb.")
    return 0
