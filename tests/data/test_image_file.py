import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from msgnn_plugin.data.image_file import Picture, decode_picture, read_picture, write_picture

PNG_COLOUR = {1: 0, 2: 4, 3: 2, 4: 6}


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(values, extra=b""):
    """Encode (H, W, C) values by hand, independent of the libraries under test."""
    height, width, channels = values.shape
    header = struct.pack(">IIBBBBB", width, height, 8 * values.itemsize, PNG_COLOUR[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(values.dtype.newbyteorder(">")).tobytes() for row in values)
    body = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def random_values(channels, dtype, size=(5, 7)):
    rng = np.random.default_rng(channels)
    return rng.integers(0, np.iinfo(dtype).max + 1, (*size, channels)).astype(dtype)


def decoded(path):
    values = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    return values[..., None] if values.ndim == 2 else values[..., [2, 1, 0, 3][: values.shape[2]]]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_every_form_comes_back_bit_for_bit(tmp_path, channels, dtype):
    values = random_values(channels, dtype)
    (tmp_path / "in.png").write_bytes(png(values))
    picture = read_picture(tmp_path / "in.png")
    limit = np.iinfo(dtype).max
    colour = values[..., :1].repeat(3, axis=2) if channels <= 2 else values[..., :3]
    np.testing.assert_array_equal(np.rint(picture.rgb.astype(np.float64) * limit), colour)
    assert (picture.rgb.dtype, picture.grey, picture.bit_depth) == (np.float32, channels <= 2, np.iinfo(dtype).bits)
    if channels in (2, 4):
        np.testing.assert_array_equal(picture.alpha, values[..., -1])
        assert picture.alpha.dtype == dtype
    else:
        assert picture.alpha is None

    write_picture(tmp_path / "out.png", picture.rgb, picture)
    written = decoded(tmp_path / "out.png")
    assert written.dtype == dtype
    # OpenCV shows grey with alpha as three equal channels with alpha.
    np.testing.assert_array_equal(written, np.dstack([colour, values[..., 1]]) if channels == 2 else values)


def test_eight_bit_grey_with_alpha_stays_grey(tmp_path):
    (tmp_path / "in.png").write_bytes(png(random_values(2, np.uint8)))
    picture = read_picture(tmp_path / "in.png")
    write_picture(tmp_path / "out.png", picture.rgb, picture)
    assert Image.open(tmp_path / "out.png").mode == "LA"


def test_palette_is_expanded(tmp_path):
    image = Image.fromarray(random_values(3, np.uint8)).quantize(8)
    image.save(tmp_path / "in.png")
    picture = read_picture(tmp_path / "in.png")
    np.testing.assert_array_equal(np.rint(picture.rgb * 255), np.asarray(image.convert("RGB")))
    assert picture.alpha is None
    assert not picture.grey


def test_transparent_palette_entry_is_alpha(tmp_path):
    image = Image.fromarray(random_values(3, np.uint8)).quantize(8)
    image.save(tmp_path / "in.png", transparency=bytes([0, 100, 255]))
    expected = np.asarray(Image.open(tmp_path / "in.png").convert("RGBA"))
    picture = read_picture(tmp_path / "in.png")
    np.testing.assert_array_equal(picture.alpha, expected[..., 3])
    assert 0 in picture.alpha
    assert 100 in picture.alpha


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_transparent_colour_is_alpha(tmp_path, channels, dtype):
    values = random_values(channels, dtype)
    (tmp_path / "in.png").write_bytes(png(values, chunk(b"tRNS", values[2, 3].astype(">u2").tobytes())))
    picture = read_picture(tmp_path / "in.png")
    opaque = (values != values[2, 3]).any(axis=2)
    np.testing.assert_array_equal(picture.alpha, np.where(opaque, np.iinfo(dtype).max, 0))
    assert picture.rgb.shape == (5, 7, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_exif_orientation_is_applied(tmp_path, orientation, dtype):
    values = random_values(4, dtype)
    exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01" + struct.pack(">H", orientation) + b"\0\0\0\0\0\0"
    (tmp_path / "in.png").write_bytes(png(values, chunk(b"eXIf", exif)))
    # Pillow's own turning of an 8-bit picture is the reference: of the values' high bytes, which mark each pixel.
    high = (values >> (values.itemsize * 8 - 8)).astype(np.uint8)
    tagged = Image.open(io.BytesIO(png(high, chunk(b"eXIf", exif))))
    expected = np.asarray(ImageOps.exif_transpose(tagged))
    picture = read_picture(tmp_path / "in.png")
    limit = np.iinfo(dtype).max
    rgb = np.rint(picture.rgb.astype(np.float64) * limit).astype(dtype)
    np.testing.assert_array_equal(np.dstack([rgb, picture.alpha]) >> (values.itemsize * 8 - 8), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_rotated_jpeg_is_turned(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(random_values(3, np.uint8)).save(tmp_path / "in.jpg", exif=exif)
    expected = ImageOps.exif_transpose(Image.open(tmp_path / "in.jpg"))
    np.testing.assert_array_equal(np.rint(read_picture(tmp_path / "in.jpg").rgb * 255), np.asarray(expected))


@pytest.mark.parametrize("orientation", [3, 6])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiff_is_turned_once(tmp_path, orientation, dtype):
    values = random_values(1, dtype)[..., 0]
    Image.fromarray(values).save(tmp_path / "in.tif", tiffinfo={0x0112: orientation})
    expected = np.rot90(values, {3: 2, 6: -1}[orientation])
    rgb = read_picture(tmp_path / "in.tif").rgb
    np.testing.assert_array_equal(np.rint(rgb[..., 0] * np.iinfo(dtype).max), expected)


def test_content_decides_not_the_name(tmp_path):
    image = Image.fromarray(random_values(3, np.uint8))
    path = tmp_path / "Regen über Köln, 雨.png"
    with path.open("wb") as file:
        image.save(file, "BMP")
    np.testing.assert_array_equal(np.rint(read_picture(path).rgb * 255), np.asarray(image))


def test_16_bit_colour_tiff_keeps_its_depth(tmp_path):
    values = random_values(3, np.uint16)
    (tmp_path / "in.tif").write_bytes(cv2.imencode(".tif", values)[1].tobytes())
    picture = read_picture(tmp_path / "in.tif")
    assert picture.bit_depth == 16
    np.testing.assert_array_equal(np.rint(picture.rgb * 65535), values[..., ::-1])


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.95])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".bmp"])
def test_truncated_file_is_refused(tmp_path, suffix, share):
    smooth = cv2.resize(random_values(3, np.uint8, (6, 6)), (120, 90))
    data = cv2.imencode(suffix, smooth)[1].tobytes()
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ValueError, match=r"cut\..*must be") as caught:
        read_picture(path)
    assert "\n" not in str(caught.value)


def test_truncated_16_bit_png_is_refused(tmp_path):
    data = png(random_values(3, np.uint16, (60, 70)))
    (tmp_path / "cut.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match="cut short or damaged"):
        read_picture(tmp_path / "cut.png")


def test_empty_file_is_refused(tmp_path):
    (tmp_path / "empty.png").touch()
    with pytest.raises(ValueError, match=r"empty\.png: the file must hold a picture, got an empty file"):
        read_picture(tmp_path / "empty.png")


@pytest.mark.parametrize("content", [b"Dear diary,\n", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"])
def test_other_content_is_refused(tmp_path, content):
    (tmp_path / "text.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"text\.png: the file must be a picture .* got something else"):
        read_picture(tmp_path / "text.png")


def test_too_many_pixels_are_refused(tmp_path):
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000)))
    (tmp_path / "bomb.png").write_bytes(bomb)
    with pytest.raises(ValueError, match=r"bomb\.png: a picture must have at most 178,956,970 pixels"):
        read_picture(tmp_path / "bomb.png")


def test_the_bound_is_our_own_too():
    data = png(random_values(3, np.uint8))
    height, width = decode_picture(data, "in.png").rgb.shape[:2]
    assert decode_picture(data, "in.png", height * width).rgb.shape == (height, width, 3)
    with pytest.raises(ValueError, match=f"at most {height * width - 1} pixels"):
        decode_picture(data, "in.png", height * width - 1)


def test_float_tiff_is_refused(tmp_path):
    Image.fromarray(np.zeros((3, 4), np.float32)).save(tmp_path / "depth.tif")
    with pytest.raises(ValueError, match=r"depth\.tif: a picture must have 8 or 16 bits a channel"):
        read_picture(tmp_path / "depth.tif")


def test_writing_rounds_and_clamps(tmp_path):
    rgb = np.array([[[-0.3, 0.4999 / 255, 0.5001 / 255], [254.6 / 255, 1.7, 0.5]]], np.float32)
    write_picture(tmp_path / "out.png", rgb)
    np.testing.assert_array_equal(decoded(tmp_path / "out.png"), [[[0, 0, 1], [255, 255, 128]]])


def test_nan_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="finite"):
        write_picture(tmp_path / "out.png", np.full((2, 2, 3), np.nan, np.float32))
    assert list(tmp_path.iterdir()) == []


def test_alpha_of_another_size_is_refused(tmp_path):
    like = Picture(rgb=np.zeros((2, 2, 3), np.float32), alpha=np.zeros((2, 2), np.uint8))
    with pytest.raises(ValueError, match=r"size of its alpha \(2, 2\), got \(3, 2\)"):
        write_picture(tmp_path / "out.png", np.zeros((3, 2, 3), np.float32), like)
