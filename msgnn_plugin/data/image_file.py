"""Read a user's picture in whatever form it has, and write a result back in that form."""

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from msgnn_plugin.data.atomic import atomic_path
from msgnn_plugin.data.result_mark import add_png_mark

Rounding = Literal["nearest", "truncate"]

# Only formats that are pure pixel data: Pillow would hand EPS to Ghostscript, for one.
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF", "PPM", "JPEG2000", "TGA")
# Names that count as pictures when a whole folder is taken. A file that is named by hand may be called anything.
SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".ppm", ".pgm", ".jp2", ".tga"}
)
# Where Pillow refuses too: a small file can unpack to more than the memory holds.
MAX_PIXELS = 178_956_970
_GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N"})
_ORIENTATION_TAG = 0x0112
# EXIF orientation as (turns by 90 degrees anticlockwise, then mirrored left to right).
_ORIENTATIONS = {2: (0, True), 3: (2, False), 4: (2, True), 5: (3, True), 6: (3, False), 7: (1, True), 8: (1, False)}


@dataclass(frozen=True)
class Picture:
    """A decoded picture, upright, with what is needed to write a result back in the same form.

    Attributes:
        rgb: RGB in [0, 1], shape (H, W, 3), float32. A grey picture holds its value three times.
        bit_depth: Bits a channel of the file, 8 or 16.
        grey: Whether the file has no colour channels.
        alpha: Transparency as the file gives it, shape (H, W), uint8 or uint16 by ``bit_depth``; None if it has none.
    """

    rgb: NDArray[np.float32]
    bit_depth: int = 8
    grey: bool = False
    alpha: NDArray[np.unsignedinteger] | None = None


def read_picture(path: str | Path) -> Picture:
    """Decode a picture by its content, whatever its name, and turn it upright by its EXIF orientation.

    Palettes are expanded (a transparent palette entry counts as alpha), CMYK and the like turn into RGB, and of an
    animation only the first frame is taken. Colour profiles (ICC) are ignored: values are taken as they stand.

    Args:
        path: The file.

    Returns:
        The picture.

    Raises:
        FileNotFoundError: If there is no such file.
        OSError: If it cannot be read from the disk.
        ValueError: If it is empty, cut short, damaged, no picture, or has too many pixels.
    """
    return decode_picture(Path(path).read_bytes(), path)


def decode_picture(data: bytes, path: str | Path, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decode the content of a picture file, as `read_picture` does.

    Args:
        data: The content.
        path: What to call it in an error.
        max_pixels: How many pixels it may have; told by the file's head, before they are decoded.

    Raises:
        ValueError: If it is empty, cut short, damaged, no picture, or has too many pixels.
    """
    if not data:
        raise ValueError(f"{path}: the file must hold a picture, got an empty file.")
    image = _decode_with_pillow(data, path, max_pixels)
    pixels = _decode_deep(data, image)
    if pixels is None:
        pixels = _eight_bit_pixels(image, path)
    # Both decoders turn a TIFF by themselves, and Pillow then drops the tag.
    pixels = _upright(pixels, image.getexif().get(_ORIENTATION_TAG, 1))
    # Pillow reports 16-bit grey with alpha as RGBA; a PNG's own header says that it is grey (colour type 4).
    grey = image.mode in _GREY_MODES or (image.format == "PNG" and data[25] == 4)
    return _as_picture(pixels, grey)


def write_picture(
    path: str | Path,
    rgb: NDArray[np.floating],
    like: Picture | None = None,
    rounding: Rounding = "nearest",
    mark: str | None = None,
) -> None:
    """Write a picture as PNG, whole or not at all, with the depth, channels and alpha of another one.

    Values are clamped to [0, 1] and rounded to a step. Grey is the mean of the three channels. Grey with
    alpha at 16 bits, which no library at hand writes, becomes RGB of three equal channels with alpha.

    Args:
        path: Where to; its suffix should be ``.png``. Missing folders are made.
        rgb: RGB in [0, 1], shape (H, W, 3).
        like: Gives the form; None means 8-bit RGB.
        rounding: To the nearest step, or always down as NLCL's authors do, half a step darker on average.
        mark: Words to keep in the file, for `read_png_mark`.

    Raises:
        ValueError: If ``rgb`` holds a value that is no number, or has another size than the alpha of ``like``.
        OSError: If the file cannot be written; what was there before stays.
    """
    content = encode_picture(rgb, like, rounding, path)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content if mark is None else add_png_mark(content, mark))


def encode_picture(rgb: NDArray[np.floating], like: Picture | None, rounding: Rounding, path: str | Path) -> bytes:
    """Return the content of the PNG file that `write_picture` writes; ``path`` is what an error calls it."""
    like = like or Picture(rgb=np.empty((0, 0, 3), np.float32))
    if not np.isfinite(rgb).all():
        raise ValueError(f"{path}: every value written must be a finite number, got nan or inf.")
    if like.alpha is not None and like.alpha.shape != rgb.shape[:2]:
        raise ValueError(f"{path}: `rgb` must have the size of its alpha {like.alpha.shape}, got {rgb.shape[:2]}.")
    colour = rgb.mean(axis=2, keepdims=True) if like.grey else rgb
    values = to_steps(colour, np.uint16 if like.bit_depth == 16 else np.uint8, rounding)
    if like.alpha is not None:
        if like.grey and like.bit_depth == 16:
            values = values.repeat(3, axis=2)
        values = np.dstack([values, like.alpha])
    return _encode_png(values)


def to_steps(values: NDArray[np.floating], dtype: type[np.unsignedinteger], rounding: Rounding) -> NDArray:
    """Turn values into the whole steps of uint8 or uint16; [0, 1], to which they are clamped, is the whole range."""
    steps = np.clip(values, 0, 1) * np.iinfo(dtype).max
    return (np.rint(steps) if rounding == "nearest" else steps).astype(dtype)


def _decode_with_pillow(data: bytes, path: str | Path, max_pixels: int) -> Image.Image:
    """Return the picture with its pixels loaded, which is what notices a file cut short."""
    image = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd metadata and of half the size it refuses.
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            if image.width * image.height > max_pixels:
                raise Image.DecompressionBombError
            image.load()
    except Image.DecompressionBombError as error:
        raise ValueError(f"{path}: a picture must have at most {max_pixels:,} pixels, got more.") from error
    except Image.UnidentifiedImageError as error:
        raise ValueError(f"{path}: the file must be a picture ({', '.join(FORMATS)}), got something else.") from error
    except MemoryError:
        raise
    except Exception as error:  # Decoders raise nearly any type on damaged data.
        kind = "one" if image is None else f"a {image.format} file"
        raise ValueError(f"{path}: the picture must be complete, got {kind} cut short or damaged ({error}).") from error
    return image


def _decode_deep(data: bytes, image: Image.Image) -> NDArray[np.uint16] | None:
    """Return 16-bit pixels as RGB(A) or grey (H, W, C), or None for a picture of 8 bits (Pillow cuts colour to 8)."""
    if image.format not in {"PNG", "TIFF", "PPM", "JPEG2000"} or (image.format == "PNG" and data[24] != 16):
        return None
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        return None
    if pixels.ndim == 2:
        pixels = pixels[..., None]
        transparent = image.info.get("transparency")
        if isinstance(transparent, int):  # The one grey value that a PNG may declare to be transparent.
            pixels = np.dstack([pixels, np.where(pixels == transparent, 0, 65535).astype(np.uint16)])
        return pixels
    return pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]


def _eight_bit_pixels(image: Image.Image, path: str | Path) -> NDArray[np.uint8]:
    """Return the pixels as L, LA, RGB or RGBA, shape (H, W, C)."""
    if image.mode.startswith(("I", "F")):
        # Deeper than 8 bits and unknown to OpenCV: converting would clip instead of scale.
        raise ValueError(
            f"{path}: a picture must have 8 or 16 bits a channel, got {image.format} with mode {image.mode!r}."
        )
    transparent = image.mode in {"LA", "La", "PA", "RGBA", "RGBa"} or "transparency" in image.info
    mode = "L" if image.mode in _GREY_MODES else "RGB"
    pixels = np.asarray(image.convert({"L": "LA", "RGB": "RGBA"}[mode] if transparent else mode))
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _upright(pixels: NDArray, orientation: int) -> NDArray:
    turns, mirrored = _ORIENTATIONS.get(orientation, (0, False))
    pixels = np.rot90(pixels, turns)
    return pixels[:, ::-1] if mirrored else pixels


def _as_picture(pixels: NDArray[np.unsignedinteger], grey: bool) -> Picture:
    channels = pixels.shape[2]
    alpha = np.ascontiguousarray(pixels[..., -1]) if channels in (2, 4) else None
    colour = pixels[..., : channels - (alpha is not None)]
    rgb = np.broadcast_to(colour, (*colour.shape[:2], 3)).astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)
    return Picture(rgb=rgb, bit_depth=8 * pixels.itemsize, grey=grey, alpha=alpha)


def _encode_png(values: NDArray[np.unsignedinteger]) -> bytes:
    """Encode L, LA, RGB or RGBA values, shape (H, W, C); OpenCV for 16 bits, Pillow for 8 (it alone writes LA)."""
    if values.dtype == np.uint16:
        swapped = values[..., [2, 1, 0, 3][: values.shape[2]]] if values.shape[2] > 1 else values
        return cv2.imencode(".png", swapped)[1].tobytes()
    buffer = io.BytesIO()
    Image.fromarray(values[..., 0] if values.shape[2] == 1 else values).save(buffer, "PNG")
    return buffer.getvalue()
