"""Reading pictures for training and measuring: always three channels, RGB, 8 or 16 bit as stored."""

import os
import re
from pathlib import Path

import cv2
import numpy as np

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})


def list_images(folder: str | Path) -> list[Path]:
    """Return the pictures directly in a folder, hidden files left out, in natural order (2 before 10)."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if not entry.name.startswith(".") and entry.is_file()]
    names = [name for name in names if os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES]
    return [Path(folder, name) for name in sorted(names, key=natural_key)]


def natural_key(name: str) -> list[str | int]:
    """Return a sorting key that compares runs of digits as numbers."""
    # re.split with one group alternates text and digits, so equal positions always hold the same type.
    return [int(part) if position % 2 else part for position, part in enumerate(re.split(r"(\d+)", name))]


def decode_image(data: bytes, source: str) -> np.ndarray:
    """Decode a picture; grey becomes three channels, alpha is dropped, an EXIF rotation is applied.

    Args:
        data: The encoded file.
        source: What to call it in an error.

    Returns:
        RGB picture, shape (H, W, 3), uint8 in [0, 255] or uint16 in [0, 65535].

    Raises:
        ValueError: If it is empty, cut short, not a picture, or holds floating-point numbers.
    """
    # OpenCV decodes from memory because its imread cannot open non-ASCII paths everywhere.
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error:
        image = None
    if image is None:
        state = "an empty file" if not data else f"{len(data)} bytes that are cut short or no picture"
        raise ValueError(f"Image: `{source}` must be a whole picture, got {state}. Copy it again or leave it out.")
    if image.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"Image: `{source}` must have 8 or 16 bits a channel, got {image.dtype}. Convert it to PNG.")
    # Not cvtColor: its thread pool does not survive a fork into data-loader workers.
    return image[:, :, ::-1]


def to_unit_range(image: np.ndarray) -> np.ndarray:
    """Turn an 8- or 16-bit picture (H, W, 3) into a contiguous float32 one in [0, 1], shape (3, H, W)."""
    planes = np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32)
    planes /= np.float32(np.iinfo(image.dtype).max)
    return planes
