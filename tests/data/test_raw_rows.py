"""A packed picture comes back as it was, however large, and nothing else is taken for one."""

import mmap

import numpy as np
import pytest

from msgnn_plugin.data import raw_rows


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_round_trip(dtype):
    image = np.random.default_rng(0).integers(np.iinfo(dtype).max + 1, size=(5, 7, 3), dtype=dtype)
    for view in (image, image[:, ::-1, ::-1], image[1:3, 2:3]):
        packed = raw_rows.pack(view)
        assert raw_rows.read_header(packed) == (*view.shape[:2], view.itemsize)
        np.testing.assert_array_equal(raw_rows.unpack(memoryview(packed), packed), view, strict=True)


def test_rows_beyond_what_32_bits_count(tmp_path):
    height, width = 1000, 800_000
    small = raw_rows.pack(np.zeros((1, 1, 3), np.uint8))
    header = np.array([height, width, 1], "<i8").tobytes()
    with (tmp_path / "picture").open("w+b") as file:
        # A hole: nothing of it lies on the disk or in memory but the pages that are written.
        file.truncate(len(small) - 3 + height * width * 3)
        file.write(header)
        file.seek(-6, 2)
        file.write(bytes(range(1, 7)))
        file.flush()
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    image = raw_rows.unpack(memoryview(data), data)
    assert image.shape == (height, width, 3)
    assert image[-1, -2:].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert image[-1, -3].tolist() == [0, 0, 0]


@pytest.mark.parametrize("change", [-1, 1])
def test_refuses_another_length(change):
    packed = raw_rows.pack(np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(ValueError, match=rf"must be a picture as raw rows, got {36 + change} bytes that are none"):
        raw_rows.unpack(memoryview((packed + b"0")[: 36 + change]), packed)
