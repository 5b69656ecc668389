"""Labelled strips that show a result beside its input: rainy | derained | clean | error map."""

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

# Mean absolute error over the channels, as a share of white, that the colour map's end stands for.
ERROR_LIMIT = 0.2
# A panel is at least this wide (its title must fit), and tiny pictures are magnified until they can be seen.
MIN_PANEL_WIDTH = 190
MIN_PICTURE_SIDE = 96
_GAP = 8
_INK, _PAPER = (30, 30, 30), (255, 255, 255)


def make_comparison(
    rainy: NDArray[np.floating], derained: NDArray[np.floating], clean: NDArray[np.floating] | None = None
) -> NDArray[np.uint8]:
    """Put pictures side by side under their names; with the clean one, also PSNR and a map of the remaining error.

    Pictures are shown pixel for pixel (tiny ones magnified by a whole factor). The error map is OpenCV's inferno, from
    no error (black) to `ERROR_LIMIT` and above (bright yellow), with that scale drawn below it.

    Args:
        rainy: RGB in [0, 1], shape (H, W, 3).
        derained: Same shape.
        clean: Same shape, or None.

    Returns:
        The strip, RGB, shape (h, w, 3).

    Raises:
        ValueError: If the shapes differ.
    """
    for name, picture in (("derained", derained), ("clean", clean)):
        if picture is not None and picture.shape != rainy.shape:
            raise ValueError(
                f"make_comparison: `{name}` must have the size of the rainy picture {rainy.shape[:2]}, "
                f"got {picture.shape[:2]}."
            )
    if clean is None:
        panels = [("rainy", _to_uint8(rainy)), ("derained", _to_uint8(derained))]
        return _draw(panels, scale_bar=False)
    panels = [
        (f"rainy  {_psnr(rainy, clean)}", _to_uint8(rainy)),
        (f"derained  {_psnr(derained, clean)}", _to_uint8(derained)),
        ("clean", _to_uint8(clean)),
        ("error of derained", _error_map(derained, clean)),
    ]
    return _draw(panels, scale_bar=True)


def _to_uint8(picture: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)


def _psnr(picture: NDArray[np.floating], clean: NDArray[np.floating]) -> str:
    error = np.square(_to_uint8(picture).astype(np.float64) - _to_uint8(clean)).mean()
    return "equal" if error == 0 else f"{10 * np.log10(255**2 / error):.2f} dB"


def _error_map(derained: NDArray[np.floating], clean: NDArray[np.floating]) -> NDArray[np.uint8]:
    error = np.abs(np.clip(derained, 0, 1) - clean).mean(axis=2)
    return _colour(_to_uint8(error / ERROR_LIMIT))


def _colour(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return cv2.cvtColor(cv2.applyColorMap(values, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)


def _draw(panels: list[tuple[str, NDArray[np.uint8]]], *, scale_bar: bool) -> NDArray[np.uint8]:
    height, width = panels[0][1].shape[:2]
    factor = max(1, MIN_PICTURE_SIDE // max(height, width))
    height, width = height * factor, width * factor
    step = max(width, MIN_PANEL_WIDTH) + _GAP
    size = int(np.clip(step / 24, 14, 40))  # Text grows with the picture, so that it is read at any zoom.
    font, line = ImageFont.load_default(size), 2 * size
    strip = Image.new("RGB", (_GAP + step * len(panels), line + height + (line if scale_bar else _GAP)), _PAPER)
    draw = ImageDraw.Draw(strip)
    for index, (title, pixels) in enumerate(panels):
        left = _GAP + index * step
        draw.text((left, line / 2), title, _INK, font, anchor="lm")
        strip.paste(Image.fromarray(pixels).resize((width, height), Image.Resampling.NEAREST), (left, line))
    if scale_bar:
        _draw_scale(strip, _GAP + (len(panels) - 1) * step, line + height, font)
    return np.asarray(strip)


def _draw_scale(strip: Image.Image, left: int, top: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> None:
    """Draw the colour map's scale: 0, the colours, the limit."""
    draw = ImageDraw.Draw(strip)
    line = strip.height - top
    bar = Image.fromarray(_colour(np.arange(256, dtype=np.uint8)[None]))
    width = MIN_PANEL_WIDTH * line // 70
    start = left + line // 2
    draw.text((left, top + line / 2), "0", _INK, font, anchor="lm")
    strip.paste(bar.resize((width, line // 3)), (start, top + line // 3))
    draw.text((start + width + 4, top + line / 2), f"{ERROR_LIMIT}+ of white", _INK, font, anchor="lm")
