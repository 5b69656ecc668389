"""The command line of `basicsr train` and `basicsr test`: BasicSR's own, with torchrun's spelling beside it."""

import argparse
import os
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what both commands take."""
    parser.add_argument("-opt", required=True, metavar="FILE", help="option file (YAML)")
    parser.add_argument(
        "--launcher",
        choices=("none", "pytorch", "slurm"),
        default=None,
        help="how several processes were started; under torchrun `pytorch` is found out by itself",
    )
    parser.add_argument("--auto_resume", action="store_true", help="go on from the experiment's newest checkpoint")
    parser.add_argument("--debug", action="store_true", help="print and validate every few iterations, as debug_NAME")
    # torchrun sets LOCAL_RANK; the older launcher passes the number, in either spelling.
    parser.add_argument("--local_rank", "--local-rank", type=int, default=None, help=argparse.SUPPRESS)
    parser.add_argument(
        "--force_yml",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="set options, for example train:total_iter=20 datasets:train:gt_size=48",
    )


def parse_arguments() -> argparse.Namespace:
    """Parse ``sys.argv`` and settle what the environment decides."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    args = parser.parse_args()
    if args.local_rank is not None:
        os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    if args.launcher is None:
        args.launcher = "pytorch" if int(os.environ.get("WORLD_SIZE", 1)) > 1 and "RANK" in os.environ else "none"
    return args


def as_argv(args: argparse.Namespace) -> list[str]:
    """Turn parsed arguments back into a command line for BasicSR's pipelines, which read ``sys.argv`` themselves."""
    argv = ["-opt", args.opt]
    if args.launcher is not None:
        argv += ["--launcher", args.launcher]
    argv += ["--auto_resume"] if args.auto_resume else []
    argv += ["--debug"] if args.debug else []
    if args.local_rank is not None:
        argv += ["--local_rank", str(args.local_rank)]
    return argv + (["--force_yml", *args.force_yml] if args.force_yml else [])


def project_root(option_file: str | Path) -> Path:
    """Return the folder that an option file's relative paths start from.

    It is the parent of the folder called ``options`` that the file lies in or below, else the file's own folder, so
    that a run is the same from any working directory.
    """
    path = Path(os.path.abspath(Path(option_file).expanduser()))
    for folder in path.parents:
        if folder.name == "options":
            return folder.parent
    return path.parent
