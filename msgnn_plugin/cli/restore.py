"""`basicsr restore`: take the rain out of pictures."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from msgnn_plugin.cli.errors import name_once

if TYPE_CHECKING:
    from msgnn_plugin.data.picture_files import PictureJob
    from msgnn_plugin.restoration import Restorer
    from msgnn_plugin.tiling import Tiling

NAME = "restore"
MODELS = ("msgnn", "nlcl", "unirain")
HELP = "take the rain out of pictures: files, folders or patterns"
_NO_WEIGHTS = (
    "restore: `--weights` must name a weights file (.pth or .safetensors), got none. Train some by "
    "`basicsr train -opt options/train_msgnn_rain200h.yml` (`make demo` makes small ones in minutes, in demo/), or "
    "give the authors' checkpoint."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this sub-command's arguments."""
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help='picture, folder, or pattern such as "photos/*.jpg"')
    parser.add_argument("-o", "--out", required=True, help="folder for the results, STEM.png; made where it is missing")
    parser.add_argument("--weights", metavar="FILE", help="weights; the network is built from them")
    parser.add_argument(
        "--model", choices=MODELS, help="family that the weights must be of (without it they say which they are of)"
    )
    parser.add_argument(
        "--exemplar",
        metavar="FILE",
        help="another rainy picture to look for similar patches in, or self: the picture itself (without it: the one "
        "of the bank in the weights whose rain is most alike, or where they have no bank the picture itself)",
    )
    parser.add_argument("--compare", action="store_true", help="also write rainy | derained strips into OUT/compare")
    parser.add_argument(
        "--clean", metavar="PATH", help="rain-free picture, or folder of them by the same names: strips show it too"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where to compute (auto)")
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
    parser.add_argument("--recursive", action="store_true", help="search folders to any depth, keeping sub-folders")


def run(args: argparse.Namespace) -> int:
    """Restore every picture.

    Returns:
        0 when all are done, 1 when some failed; each of those is named on the standard error.
    """
    if args.weights is None:
        raise ValueError(_NO_WEIGHTS)
    from msgnn_plugin.cli.progress import progress_bar
    from msgnn_plugin.data.picture_files import plan_pictures

    jobs = plan_pictures(args.inputs, args.out, recursive=args.recursive)
    cleans = _clean_pictures(args.clean, jobs)
    restorer = _load(args)
    failed = 0
    with progress_bar() as (begin, advance, tell):
        begin("Restoring", len(jobs))
        for job, clean in zip(jobs, cleans, strict=True):
            try:
                _restore(restorer, job, clean, compare=args.compare or clean is not None, rounding=args.rounding)
            except (ValueError, OSError, MemoryError) as error:
                failed += 1
                tell(f"basicsr restore: error: {name_once(error, job.source)}")
            advance(1)
    print(f"Restored {len(jobs) - failed} of {len(jobs)} pictures into {args.out}." + _note(failed))
    return 1 if failed else 0


def _load(args: argparse.Namespace) -> "Restorer":
    from msgnn_plugin.archs import FAMILIES, from_state_dict, load_weights
    from msgnn_plugin.data.image_file import read_picture
    from msgnn_plugin.restoration import Restorer, choose_device

    device = choose_device(args.device)
    network = from_state_dict(load_weights(args.weights))
    if args.model is not None and not isinstance(network, FAMILIES[args.model]):
        raise ValueError(
            f"restore: `--weights` must be of {FAMILIES[args.model].__name__} with `--model {args.model}`, got weights "
            f"of {type(network).__name__} in {args.weights!r}; leave `--model` out to take what they are."
        )
    if args.exemplar is not None and not hasattr(network, "exemplar_bank"):
        raise ValueError(
            f"restore: `--exemplar` must be left out for {type(network).__name__}, which looks at no exemplar, "
            f"got {args.exemplar!r}."
        )
    exemplar = args.exemplar if args.exemplar in (None, "self") else read_picture(args.exemplar).rgb
    return Restorer(network, device, exemplar, _tiling(args))


def _tiling(args: argparse.Namespace) -> "Tiling":
    from msgnn_plugin.tiling import Tiling

    tile = args.tile
    if tile is not None and tile.strip().isdecimal():
        tile = int(tile)
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
        return [path]
    partners = [find_partner(path, job.place) for job in jobs]
    missing = [job.place for job, partner in zip(jobs, partners, strict=True) if partner is None]
    if missing:
        raise FileNotFoundError(
            f"restore: `--clean` must hold a picture of the same name for every input, got none for {str(missing[0])!r}"
            f" and {len(missing) - 1} others in {clean!r}."
        )
    return partners


def _restore(restorer: "Restorer", job: "PictureJob", clean: Path | None, *, compare: bool, rounding: str) -> None:
    from msgnn_plugin.data.comparison import make_comparison
    from msgnn_plugin.data.image_file import read_picture, write_picture

    picture = read_picture(job.source)
    derained = restorer(picture)
    write_picture(job.output, derained, picture, rounding)
    if compare:
        strip = make_comparison(picture.rgb, derained, None if clean is None else read_picture(clean).rgb)
        write_picture(job.comparison, strip / 255)


def _note(failed: int) -> str:
    return f" {failed} failed: see the errors above." if failed else ""
