"""`basicsr data prepare`: any layout of a data set to one, or to LMDBs for disks that are slow with many files."""

import argparse
from pathlib import Path

NAME = "prepare"
HELP = "bring a data set into one layout, or into LMDBs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this sub-command's arguments."""
    parser.add_argument("name", metavar="NAME", help="set, see `basicsr data list`, or the path of a manifest")
    parser.add_argument("path", metavar="PATH", help="folder that holds it, in any published layout, or one part of it")
    parser.add_argument(
        "-o", "--out", required=True, help="folder of the result: OUT/train and OUT/test, each good as dataroot"
    )
    parser.add_argument(
        "--form",
        choices=("folder", "png-lmdb", "raw-lmdb"),
        default="folder",
        help="pictures in rainy/ and clean/ (folder), BasicSR's LMDB, or LMDBs of pixels that need no decoding",
    )
    parser.add_argument("--split", metavar="PART", help="part that PATH is, where its folder's name does not tell")
    parser.add_argument(
        "--left", choices=("clean", "rainy"), help="left half of files that hold a pair (the manifest's)"
    )
    parser.add_argument(
        "--exclude", nargs="+", default=[], metavar="NAME", help="pictures to leave out, by their names"
    )


def run(args: argparse.Namespace) -> int:
    """Prepare every part that is found.

    Returns:
        0 when all are finished, 1 when pictures could not be read and a part therefore is not.
    """
    from msgnn_plugin.cli.progress import progress_bar
    from msgnn_plugin.data.manifests import load_manifest
    from msgnn_plugin.data.parts import find_parts
    from msgnn_plugin.data.preparation import prepare

    if Path(args.out).resolve().is_relative_to(Path(args.path).resolve()):
        raise ValueError(f"Data set: `-o` must lie outside PATH, which is {args.path}, got {args.out}.")
    parts = find_parts(load_manifest(args.name), args.path, split=args.split, left=args.left, exclude=args.exclude)
    parts = [part for part in parts if part.entries or part.alone or part.fault] or parts
    # An interrupted run goes on with the parts it had not finished.
    done = [part for part in parts if Path(args.out, part.name).exists()]
    if len(done) == len(parts):
        raise FileExistsError(
            f"Data set: `-o` must have a part left to make, got {args.out}, which holds "
            f"{', '.join(part.name for part in done)} already. Remove it or choose another."
        )
    failed = 0
    told = [f"{Path(args.out, part.name)}: there already, left as it is." for part in done]
    with progress_bar() as (begin, advance, tell):
        for part in parts:
            if part in done:
                continue
            begin(f"Preparing {part.name}", len(part.entries))
            target = Path(args.out, part.name)
            bad = prepare(
                part,
                target,
                form=args.form,
                on_done=advance,
                on_bad=lambda sentence: tell(f"basicsr {args.command}: error: {sentence}"),
            )
            if bad:
                failed += 1
                tell(
                    f"basicsr {args.command}: error: {len(bad)} of {len(part.entries)} pairs could not be read, so "
                    f"{target} is not finished; mend the files above or --exclude them and run the command again, what "
                    "is done is kept."
                )
            else:
                told.append(f"{target}: {len(part.entries)} {'pairs' if part.entries[0].clean else 'pictures'}.")
    print("\n".join(told))
    return 1 if failed else 0
