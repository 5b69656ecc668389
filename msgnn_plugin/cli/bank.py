"""`basicsr bank`: put rainy pictures into weights, to serve as exemplars where none is given."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from msgnn_plugin.cli.errors import sentence
from msgnn_plugin.cli.outputs import check_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NAME = "bank"
HELP = "put rainy pictures into weights, as the exemplars to use where none is given"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this sub-command's arguments."""
    parser.add_argument("weights", metavar="WEIGHTS", help="weights of a network that uses exemplars")
    parser.add_argument("pictures", nargs="+", metavar="PICTURE", help="rainy picture, or folder of them")
    parser.add_argument("-o", "--out", required=True, help="weights to write, .pth or .safetensors")
    parser.add_argument("--count", type=int, default=16, help="pictures to choose, so that they cover all rain (16)")
    parser.add_argument("--size", type=int, default=128, metavar="PIXELS", help="side of the crop taken of each (128)")
    parser.add_argument("--seed", type=int, default=0, help="decides where pictures are cropped (0)")


def run(args: argparse.Namespace) -> int:
    """Fill the bank and write the weights.

    Returns:
        0 when all pictures could be used, 1 when some could not; each of those is named on the standard error.
    """
    import numpy as np

    from msgnn_plugin.adapters.basicsr.checkpoints import write_weights
    from msgnn_plugin.archs import from_state_dict, load_weights
    from msgnn_plugin.data.exemplar_bank import pack_bank
    from msgnn_plugin.data.rain_description import describe_rain
    from msgnn_plugin.data.retrieval import choose_covering
    from msgnn_plugin.weights import weights_path

    for name in ("count", "size"):
        if getattr(args, name) < 1:
            raise ValueError(f"bank: `--{name}` must be at least 1, got {getattr(args, name)}.")
    if args.seed < 0:
        raise ValueError(f"bank: `--seed` must be at least 0, got {args.seed}.")
    out = check_file("bank", "-o", args.out, suffixes=(".pth", ".safetensors"))
    network = from_state_dict(load_weights(weights_path(args.weights)))
    if not network.use_exemplar:
        raise ValueError(f"bank: WEIGHTS must be of a network that uses exemplars, got another in {args.weights!r}.")
    paths = _find_pictures(args.pictures)
    descriptions, usable = [], []
    for path in paths:
        try:
            descriptions.append(describe_rain(_read_crop(path, args.size, args.seed)))
            usable.append(path)
        except (ValueError, OSError) as error:
            print(f"basicsr bank: error: {' '.join(sentence(error).split())}", file=sys.stderr)
    failed = len(paths) - len(usable)
    if not usable:
        raise ValueError(f"bank: PICTURE must name at least one that can be used, got {failed} that cannot.")
    chosen = choose_covering(np.stack(descriptions), args.count)
    network.set_exemplar_bank(pack_bank([_read_crop(usable[number], args.size, args.seed) for number in chosen]))
    write_weights(network.state_dict(), out)
    print(
        f"{out}: carries {len(chosen)} of {len(usable)} pictures, {args.size} x {args.size} pixels each. They travel "
        "with the weights: share these only where the pictures' licence allows it."
    )
    return 1 if failed else 0


def _find_pictures(entries: list[str]) -> list[Path]:
    """Return the files, and the pictures of the folders, none twice."""
    from msgnn_plugin.data.images import list_images

    found: dict[Path, Path] = {}
    for entry in map(Path, entries):
        files = list_images(entry) if entry.is_dir() else [entry]
        if not files:
            raise ValueError(f"bank: PICTURE must be a picture or a folder that holds some, got {str(entry)!r}.")
        for file in files:
            found.setdefault(file.resolve(), file)
    return list(found.values())


def _read_crop(path: Path, size: int, seed: int) -> "NDArray[np.uint8]":
    """Return a square of the picture, uint8, shape (size, size, 3); the same one at each call."""
    import numpy as np

    from msgnn_plugin.data.image_file import read_picture

    rgb = read_picture(path).rgb
    height, width = rgb.shape[:2]
    if min(height, width) < size:
        raise ValueError(f"{path}: must be at least `--size` = {size} pixels a side, got {width}x{height}.")
    # Seeded by the name too, so that the crops of pictures of one size do not all lie in one place.
    generator = np.random.default_rng((seed, *path.name.encode()))
    top, left = (int(generator.integers(side - size + 1)) for side in (height, width))
    return np.rint(rgb[top : top + size, left : left + size] * 255).astype(np.uint8)
