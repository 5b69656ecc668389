"""One scene is found again though re-encoded, resized and cropped; different scenes are not taken for one."""

import cv2
import numpy as np
import pytest

from msgnn_plugin.data.overlap import find_overlaps, make_thumbnail
from msgnn_plugin.data.parts import guess_entries
from msgnn_plugin.data.reading import PictureReader


def _spoil(image, crop, resize, quality=60):
    """Cut (left, top, right, bottom) off as shares, bring back to size if asked for, save as JPEG."""
    height, width = image.shape[:2]
    left, top, right, bottom = crop
    cut = image[round(top * height) : round((1 - bottom) * height), round(left * width) : round((1 - right) * width)]
    if resize:
        cut = cv2.resize(cut, (width, height), interpolation=cv2.INTER_CUBIC)
    return cv2.imdecode(cv2.imencode(".jpg", cut, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


def _thumbnails(images):
    return np.array([make_thumbnail(image) for image in images])


@pytest.mark.parametrize("resize", [False, True])
@pytest.mark.parametrize("crop", [(0, 0, 0, 0), (0.05, 0, 0, 0.1), (0, 0.12, 0.03, 0), (0.07, 0.07, 0.07, 0.07)])
def test_finds_a_spoiled_picture_both_ways(make_pair, crop, resize):
    images = [make_pair(seed)[1] for seed in range(12)]
    bank, spoiled = _thumbnails(images), _thumbnails([_spoil(image, crop, resize) for image in images])
    assert [(found.first, found.second) for found in find_overlaps(spoiled, bank)] == [(i, i) for i in range(12)]
    back = find_overlaps(bank, spoiled)
    assert [(found.first, found.second) for found in back] == [(i, i) for i in range(12)]
    kept = (1 - crop[0] - crop[2]) * (1 - crop[1] - crop[3])
    assert all(abs(found.covered - kept) < 0.06 for found in back)


def test_within_a_list_each_two_once(make_pair):
    images = [make_pair(seed)[1] for seed in range(8)]
    images.append(_spoil(images[3], (0.05, 0.05, 0, 0), True))
    counts = []
    found = find_overlaps(_thumbnails(images), on_done=counts.append)
    assert [(overlap.first, overlap.second) for overlap in found] == [(3, 8)]
    assert sum(counts) == 9


def test_nothing_in_nothing_and_in_flat_pictures():
    flat = np.full((3, 64, 64), 128, np.uint8)
    assert find_overlaps(flat[:0]) == []
    assert find_overlaps(flat, flat[:0]) == []
    assert find_overlaps(flat) == []


def test_sixteen_bits_look_alike(make_pair):
    image = make_pair(1)[1]
    assert np.array_equal(make_thumbnail(image), make_thumbnail(image.astype(np.uint16) * 257))


def _real(folder):
    entries, reader = guess_entries(folder), PictureReader()
    names = [entry.name for entry in entries]
    return names, _thumbnails([reader.read_picture(entry.clean or entry.rainy) for entry in entries])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rain100h", "rain100l"])
def test_backgrounds_of_rain100_are_found_among_the_photographs(shared, name):
    names, bank = _real(shared / "data" / "clean_bsd")
    lines = (shared / "data" / "rain100_bsd_ids.txt").read_text().splitlines()
    told = {line.split()[0].removesuffix(".png"): line.split()[1] for line in lines}
    pictures, thumbnails = _real(shared / "data" / name)
    found = {pictures[o.first]: names[o.second] for o in find_overlaps(thumbnails, bank)}
    right = [
        picture
        for picture in pictures
        if found.get(picture) == told[picture.removeprefix("norain-")].removesuffix(".jpg").replace("/", "_")
    ]
    assert len(pictures) == 25
    assert len(right) >= 24
    assert len(found) <= 25


@pytest.mark.slow
def test_no_false_alarm_and_no_miss_among_real_photographs(shared):
    _, bank = _real(shared / "data" / "clean_bsd")
    assert find_overlaps(bank) == []
    generator, reader = np.random.default_rng(0), PictureReader()
    entries = guess_entries(shared / "data" / "clean_bsd")
    crops = generator.uniform(0, 0.075, (len(entries), 4))
    spoiled = _thumbnails(
        [_spoil(reader.read_picture(entry.rainy), crop, crop[0] > 0.04) for entry, crop in zip(entries, crops)]
    )
    assert [(o.first, o.second) for o in find_overlaps(spoiled, bank)] == [(i, i) for i in range(300)]


@pytest.mark.slow
def test_rain800_leaks_nothing_and_shares_backgrounds_with_rain100(shared):
    train_names, train = _real(shared / "data" / "rain800" / "train")
    _, test = _real(shared / "data" / "rain800" / "test")
    assert find_overlaps(test, train) == []
    names, rain100 = _real(shared / "data" / "rain100h")
    found = {(names[o.first], train_names[o.second]) for o in find_overlaps(rain100, train)}
    assert found == {("norain-37", "185"), ("norain-45", "166"), ("norain-93", "12"), ("norain-93", "181")}
