import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from msgnn_plugin.data.image_file import Picture, read_picture, write_picture
from msgnn_plugin.data.result_mark import digest_file, make_mark, read_png_mark


@pytest.mark.parametrize(("bits", "grey"), [(8, False), (8, True), (16, False), (16, True)])
def test_a_mark_comes_back_and_changes_no_pixel(tmp_path, bits, grey):
    rgb = np.random.default_rng(0).random((5, 7, 3), np.float32)
    like = Picture(rgb, bits, grey)
    write_picture(tmp_path / "plain.png", rgb, like)
    write_picture(tmp_path / "marked.png", rgb, like, mark="some words")
    assert read_png_mark(tmp_path / "marked.png") == "some words"
    assert Image.open(tmp_path / "marked.png").text == {"Comment": "some words"}
    plain, marked = (read_picture(tmp_path / f"{name}.png") for name in ("plain", "marked"))
    np.testing.assert_array_equal(plain.rgb, marked.rgb)
    assert (plain.bit_depth, plain.grey) == (marked.bit_depth, marked.grey)


def test_no_mark_is_no_error(tmp_path):
    write_picture(tmp_path / "plain.png", np.zeros((2, 2, 3), np.float32))
    (tmp_path / "short.png").write_bytes(b"x" * 35)
    (tmp_path / "noise.png").write_bytes(np.random.default_rng(0).bytes(500))
    for name in ("plain.png", "short.png", "noise.png", "missing.png"):
        assert read_png_mark(tmp_path / name) == ""


def test_marks_differ_with_every_fact(tmp_path):
    marks = {make_mark(*facts) for facts in ((), ("a",), ("a", "b"), ("ab",), ({"a": 1},), ({"a": "1"},), (None,))}
    assert len(marks) == 7
    assert make_mark({"a": 1, "b": 2}) == make_mark({"b": 2, "a": 1})
    content = io.BytesIO(b"rain" * 700_000).getvalue()
    (tmp_path / "file").write_bytes(content)
    assert digest_file(tmp_path / "file") == hashlib.sha256(content).hexdigest()
