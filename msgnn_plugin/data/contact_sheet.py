"""A contact sheet: many pairs of a data set at a glance, rainy and clean side by side with their names."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from msgnn_plugin.data.pairs import Pair
from msgnn_plugin.data.parts import Single
from msgnn_plugin.data.reading import PictureReader

_HEIGHT, _GAP, _LINE, _TEXT = 140, 8, 20, 14
_INK, _PAPER, _BAD = (30, 30, 30), (255, 255, 255), (200, 0, 0)


def make_contact_sheet(
    entries: Sequence[Pair | Single], count: int = 24, columns: int = 3
) -> tuple[NDArray[np.uint8], list[str]]:
    """Draw some of a set's pairs, taken evenly from all of it, each 140 pixels high under its name.

    Args:
        entries: Pairs, or pictures without a clean side.
        count: How many to show.
        columns: How many beside each other.

    Returns:
        The sheet, RGB, shape (h, w, 3), and a sentence for each pair that could not be read.

    Raises:
        ValueError: If ``count`` or ``columns`` is below 1, or there are no entries.
    """
    for name, value in (("count", count), ("columns", columns), ("entries", len(entries))):
        if value < 1:
            raise ValueError(f"make_contact_sheet: `{name}` must be at least 1, got {value}.")
    chosen = [entries[place] for place in np.unique(np.linspace(0, len(entries) - 1, count).round().astype(int))]
    reader, errors = PictureReader(), []
    tiles = [_tile(reader, entry, errors) for entry in chosen]
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    widths = [max(row[place].width for row in rows if place < len(row)) for place in range(len(rows[0]))]
    sheet = Image.new(
        "RGB", (_GAP + sum(widths) + _GAP * len(widths), _GAP + len(rows) * (_LINE + _HEIGHT + _GAP)), _PAPER
    )
    for row_number, row in enumerate(rows):
        for place, tile in enumerate(row):
            sheet.paste(tile, (_GAP + sum(widths[:place]) + _GAP * place, _GAP + row_number * (tile.height + _GAP)))
    return np.asarray(sheet), errors


def _tile(reader: PictureReader, entry: Pair | Single, errors: list[str]) -> Image.Image:
    """Draw one pair under its name, or the name alone where it cannot be read."""
    font = ImageFont.load_default(_TEXT)
    try:
        pictures = [reader.read_picture(entry.rainy)] if entry.clean is None else list(reader.read_pair(entry))
    except (OSError, ValueError) as error:
        errors.append(str(error))
        pictures = []
    small = [_shrink(picture) for picture in pictures]
    title = entry.name if pictures else f"{entry.name}: cannot be read"
    width = max(sum(picture.shape[1] for picture in small) + 2 * (len(small) - 1), int(font.getlength(title)) + 1)
    tile = Image.new("RGB", (width, _LINE + _HEIGHT), _PAPER)
    ImageDraw.Draw(tile).text((0, _LINE / 2), title, _INK if pictures else _BAD, font, anchor="lm")
    left = 0
    for picture in small:
        tile.paste(Image.fromarray(picture), (left, _LINE))
        left += picture.shape[1] + 2
    return tile


def _shrink(picture: NDArray[np.unsignedinteger]) -> NDArray[np.uint8]:
    """Bring a picture to the sheet's height, 8 bits."""
    values = picture if picture.dtype == np.uint8 else (picture >> 8).astype(np.uint8)
    width = max(1, round(values.shape[1] * _HEIGHT / values.shape[0]))
    return cv2.resize(np.ascontiguousarray(values), (width, _HEIGHT), interpolation=cv2.INTER_AREA)
