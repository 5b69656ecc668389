"""`basicsr data preview`: a contact sheet of a data set."""

import argparse
import sys
from pathlib import Path

NAME = "preview"
HELP = "draw a contact sheet of a folder of pairs: rainy and clean side by side"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this sub-command's arguments."""
    parser.add_argument("path", metavar="PATH", help="folder of pairs in any published layout, or of pictures")
    parser.add_argument("-o", "--out", default="preview.png", metavar="FILE", help="picture to write (preview.png)")
    parser.add_argument("--count", type=int, default=24, help="pairs to show, taken evenly from all (24)")
    parser.add_argument("--columns", type=int, default=3, help="pairs beside each other (3)")


def run(args: argparse.Namespace) -> int:
    """Draw the sheet.

    Returns:
        0, or 1 when a picture on it could not be read.
    """
    from PIL import Image

    from msgnn_plugin.data.atomic import atomic_path
    from msgnn_plugin.data.contact_sheet import make_contact_sheet
    from msgnn_plugin.data.parts import guess_entries

    suffixes = [suffix for suffix, form in Image.registered_extensions().items() if form in Image.SAVE]
    if Path(args.out).suffix.lower() not in suffixes:
        raise ValueError(f"preview: `-o` must end as a picture's name does, .png or .jpg, got {args.out}.")
    entries = guess_entries(args.path)
    sheet, errors = make_contact_sheet(entries, args.count, args.columns)
    with atomic_path(args.out) as temporary:
        Image.fromarray(sheet).save(temporary)
    for sentence in errors:
        print(f"basicsr data preview: error: {sentence}", file=sys.stderr)
    print(f"{args.out}: {min(args.count, len(entries))} of {len(entries)} pairs or pictures.")
    return 1 if errors else 0
