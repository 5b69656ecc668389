"""One picture as plain bytes: a header of three numbers, then its rows, so that a crop is read without decoding."""

import struct
from typing import Any

import numpy as np

# Height, width, bytes a channel; 64 bits each and little-endian, as the pixels are.
_HEADER = struct.Struct("<qqq")
_DTYPES = {1: np.dtype("u1"), 2: np.dtype("<u2")}
# LMDB keeps a value's length in 32 bits.
MAX_BYTES = 2**32 - 1


def pack(image: np.ndarray) -> bytes:
    """Return a picture with its header.

    Args:
        image: RGB, shape (H, W, 3), uint8 or uint16.

    Returns:
        The header, then the pixels row by row, RGB interleaved, 16 bit ones little-endian.

    Raises:
        ValueError: If that is more than a value of an LMDB may have; the sentence lacks its subject.
    """
    height, width, _ = image.shape
    size = _HEADER.size + image.nbytes
    if size > MAX_BYTES:
        raise ValueError(f"must have at most {MAX_BYTES} bytes as raw rows, got {size}. Store it as PNG.")
    rows = np.ascontiguousarray(image, _DTYPES[image.itemsize])
    return _HEADER.pack(height, width, image.itemsize) + rows.tobytes()


def unpack(buffer: memoryview, owner: object) -> np.ndarray:
    """Return the picture inside a buffer, without copying.

    Args:
        buffer: What ``pack`` returned.
        owner: Kept alive as long as the picture or a part of it lives, because the buffer may lie in a mapped file.

    Returns:
        RGB, shape (H, W, 3), uint8 or uint16, read-only.

    Raises:
        ValueError: If the buffer holds something else; the sentence lacks its subject.
    """
    height, width, itemsize = read_header(buffer)
    first = np.frombuffer(buffer, np.uint8).__array_interface__["data"][0] + _HEADER.size
    return np.asarray(_Pixels(first, (height, width, 3), _DTYPES[itemsize], owner))


def read_header(buffer: memoryview) -> tuple[int, int, int]:
    """Return height, width and bytes a channel of a packed picture.

    Raises:
        ValueError: As ``unpack``.
    """
    header = _HEADER.unpack_from(buffer) if len(buffer) >= _HEADER.size else (0, 0, 0)
    height, width, itemsize = header
    if itemsize not in _DTYPES or min(height, width) < 1 or len(buffer) != _HEADER.size + 3 * height * width * itemsize:
        raise ValueError(f"must be a picture as raw rows, got {len(buffer)} bytes that are none.")
    return header


class _Pixels:
    """Tells numpy where pixels lie; an array made of it refers to it, and so to the owner of the memory."""

    def __init__(self, address: int, shape: tuple[int, ...], dtype: np.dtype, owner: object) -> None:
        self.owner = owner
        self.__array_interface__: dict[str, Any] = {
            "version": 3,
            "data": (address, True),
            "shape": shape,
            "typestr": dtype.str,
        }
