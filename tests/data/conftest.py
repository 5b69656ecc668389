"""Made-up pictures for the tests of the data layer."""

import cv2
import numpy as np
import pytest


@pytest.fixture
def write():
    """Write a picture (noise drawn from its path's name, or the given RGB array) and return its pixels."""

    def write_picture(path, size=(20, 24), image=None, dtype=np.uint8):
        path.parent.mkdir(parents=True, exist_ok=True)
        if image is None:
            generator = np.random.default_rng(list(str(path).encode()))
            image = generator.integers(np.iinfo(dtype).max + 1, size=(*size, 3), dtype=dtype)
        path.write_bytes(cv2.imencode(path.suffix, np.ascontiguousarray(image[:, :, ::-1]))[1].tobytes())
        return image

    return write_picture


@pytest.fixture
def pair_folder(tmp_path, write):
    """A set of five pairs, 20x24 pixels, in `rain` and `norain`."""
    for number in range(1, 6):
        for side in ("rain", "norain"):
            write(tmp_path / "set" / side / f"{number}.png")
    return tmp_path / "set"
