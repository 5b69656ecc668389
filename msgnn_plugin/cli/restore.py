"""`basicsr restore`: take the rain out of pictures and videos."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from msgnn_plugin.cli.outputs import check_folder
from msgnn_plugin.weights import default_path, weights_path

if TYPE_CHECKING:
    from msgnn_plugin.data.picture_files import PictureJob
    from msgnn_plugin.restoration import Restorer
    from msgnn_plugin.tiling import Tiling

NAME = "restore"
MODELS = ("msgnn", "nlcl", "unirain")
HELP = "take the rain out of pictures and videos: files, folders or patterns"
DTYPES = ("float32", "bfloat16", "float16")
PIPE = "-"
NO_WEIGHTS = (
    "`--weights` must name a weights file (.pth or .safetensors), got none. Train some by "
    "`basicsr train -opt options/train_msgnn_rain200h.yml` (`make demo` makes small ones in minutes, in demo/), or "
    "give the authors' checkpoint."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this sub-command's arguments."""
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help='picture, video, folder, pattern such as "photos/*.jpg", or -: a picture from the standard input',
    )
    parser.add_argument(
        "-o",
        "--out",
        required=True,
        help="folder for the results, STEM.png, or -: the standard output, for the standard input",
    )
    parser.add_argument(
        "--weights",
        metavar="FILE",
        help="weights, or a name that `basicsr weights` lists; without, its default, if it has one",
    )
    parser.add_argument(
        "--model", choices=MODELS, help="family that the weights must be of (without it they say which they are of)"
    )
    parser.add_argument(
        "--exemplar",
        default="auto",
        metavar="FILE|DIR|auto|self",
        help="rainy picture to look for similar patches in; DIR: the one of these whose rain is most alike; auto: the "
        "one of the bank in the weights, or where they have none the picture itself; self: the picture itself (auto)",
    )
    parser.add_argument("--compare", action="store_true", help="also write rainy | derained strips into OUT/compare")
    parser.add_argument(
        "--clean", metavar="PATH", help="rain-free picture, or folder of them by the same names: strips show it too"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where to compute (auto)")
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="what to compute in (float32)")
    parser.add_argument(
        "--self-ensemble",
        action="store_true",
        help="give the mean over each picture's four mirrored forms, in four times the time",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=1,
        metavar="N",
        help="pictures, or frames, at a time; they share cores and memory (1)",
    )
    parser.add_argument(
        "--tile", metavar="PIXELS", help="cut pictures into tiles of this side; auto: only those too large, as needed"
    )
    parser.add_argument(
        "--tile-overlap", type=int, default=32, metavar="PIXELS", help="what tiles share (32); not for NLCL"
    )
    parser.add_argument(
        "--database",
        choices=("image", "tile"),
        default="image",
        help="what a tile searches: the whole picture's windows (image), or itself (not NLCL)",
    )
    parser.add_argument(
        "--memory", type=float, metavar="GIB", help="memory that may be taken, if not all that is available"
    )
    parser.add_argument(
        "--rounding",
        choices=("nearest", "truncate"),
        default="nearest",
        help="how values become whole numbers; truncate: always down, as NLCL's authors do (nearest)",
    )
    parser.add_argument(
        "--crf", type=int, default=16, metavar="0-51", help="quality of videos, 0 the best and largest (16)"
    )
    parser.add_argument("--force", action="store_true", help="restore again what an earlier run has done")
    parser.add_argument("--recursive", action="store_true", help="search folders to any depth, keeping sub-folders")


def run(args: argparse.Namespace) -> int:
    """Restore every picture and video that is not done yet.

    Returns:
        0 when all are done, 1 when some failed; each of those is named on the standard error.
    """
    args.weights = default_path() if args.weights is None else weights_path(args.weights)
    if args.weights is None:
        raise ValueError(f"restore: {NO_WEIGHTS}")
    if args.jobs < 1:
        raise ValueError(f"restore: `--jobs` must be at least 1, got {args.jobs}.")
    if not 0 <= args.crf <= 51:
        raise ValueError(f"restore: `--crf` must be from 0 to 51, got {args.crf}.")
    if PIPE in (*args.inputs, args.out):
        return _restore_pipe(args)
    from msgnn_plugin.cli.progress import progress_bar
    from msgnn_plugin.cli.restore_files import FileRun
    from msgnn_plugin.data.picture_files import plan_pictures

    jobs = plan_pictures(args.inputs, args.out, recursive=args.recursive)
    check_folder(Path(args.out))
    cleans = _clean_pictures(args.clean, jobs)
    videos = [job for job in jobs if job.is_video]
    if videos and (args.compare or args.clean is not None):
        raise ValueError(
            "restore: `--compare` and `--clean` must be left out for videos, got one among the inputs, "
            f"{str(videos[0].source)!r}."
        )
    restorer = _load(args)  # draws a bar of its own where it describes exemplars
    with progress_bar() as progress:
        run = FileRun(args, restorer, progress)
        run.restore_pictures([pair for pair in zip(jobs, cleans, strict=True) if not pair[0].is_video])
        run.restore_videos(videos)
    kinds = " and ".join(["pictures"] * (len(videos) < len(jobs)) + ["videos"] * bool(videos))
    print(f"Restored {run.restored} of {len(jobs)} {kinds} into {args.out}.{run.note}")
    return 1 if run.failed else 0


def _restore_pipe(args: argparse.Namespace) -> int:
    """Restore the picture on the standard input to the standard output, which carries nothing else."""
    from msgnn_plugin.data.image_file import decode_picture, encode_picture

    if args.inputs != [PIPE] or args.out != PIPE:
        raise ValueError(
            "restore: `-` must stand for INPUT and for `-o` alike, with no other INPUT, got "
            f"{' '.join(args.inputs)} and -o {args.out}; let the shell redirect: < in.png > out.png."
        )
    if args.compare or args.clean is not None:
        raise ValueError("restore: `--compare` and `--clean` must be left out for the standard input, got one.")
    picture = decode_picture(sys.stdin.buffer.read(), "standard input")
    sys.stdout.buffer.write(encode_picture(_load(args)(picture), picture, args.rounding, "standard output"))
    sys.stdout.buffer.flush()
    return 0


def _load(args: argparse.Namespace) -> "Restorer":
    import torch

    from msgnn_plugin.archs import FAMILIES, from_state_dict, load_weights
    from msgnn_plugin.data.exemplar_folder import ExemplarFolder
    from msgnn_plugin.data.image_file import read_picture
    from msgnn_plugin.restoration import Restorer, choose_device

    device = choose_device(args.device)
    network = from_state_dict(load_weights(args.weights))
    if args.model is not None and not isinstance(network, FAMILIES[args.model]):
        raise ValueError(
            f"restore: `--weights` must be of {FAMILIES[args.model].__name__} with `--model {args.model}`, got weights "
            f"of {type(network).__name__} in {str(args.weights)!r}; leave `--model` out to take what they are."
        )
    if args.exemplar != "auto" and not hasattr(network, "exemplar_bank"):
        raise ValueError(
            f"restore: `--exemplar` must be left out for {type(network).__name__}, which looks at no exemplar, "
            f"got {args.exemplar!r}."
        )
    if args.exemplar in ("auto", "self"):
        exemplar = None if args.exemplar == "auto" else "self"
    elif Path(args.exemplar).is_dir():
        exemplar = ExemplarFolder(args.exemplar)
    else:
        exemplar = read_picture(args.exemplar).rgb
    tiling = _tiling(args)
    tiling = tiling if args.jobs == 1 else tiling.shared(args.jobs, device)
    dtype = getattr(torch, args.dtype)
    return Restorer(network, device, exemplar, tiling, dtype=dtype, self_ensemble=args.self_ensemble)


def _tiling(args: argparse.Namespace) -> "Tiling":
    from msgnn_plugin.tiling import Tiling

    tile = args.tile
    if tile not in (None, "auto"):
        try:
            tile = int(tile)
        except ValueError:
            raise ValueError(
                f"restore: `--tile` must be a whole number of pixels or auto, got {args.tile!r}."
            ) from None
    return Tiling(tile=tile, tile_overlap=args.tile_overlap, tile_database=args.database, memory=args.memory)


def _clean_pictures(clean: str | None, jobs: list["PictureJob"]) -> list[Path | None]:
    """Return the clean picture of each job; a missing one is told before hours of work, not after."""
    from msgnn_plugin.data.picture_files import find_partner

    if clean is None:
        return [None] * len(jobs)
    path = Path(clean)
    if not path.is_dir():
        if len(jobs) > 1:
            raise ValueError(f"restore: `--clean` must be a folder if there are several inputs, got {clean!r}.")
        if not path.is_file():
            raise FileNotFoundError(f"restore: `--clean` must be a picture or a folder of some, got {clean!r}.")
        return [path]
    partners = [find_partner(path, job.place) for job in jobs]
    missing = [job.place for job, partner in zip(jobs, partners, strict=True) if partner is None]
    if missing:
        raise FileNotFoundError(
            f"restore: `--clean` must hold a picture of the same name for every input, got none for {str(missing[0])!r}"
            f"{f' and {len(missing) - 1} others' if missing[1:] else ''} in {clean!r}."
        )
    return partners
