import os

import cv2
import numpy as np
import pytest

from msgnn_plugin.data import ExemplarSampler, PairedExemplarDataset, description_cache, find_pairs
from msgnn_plugin.data.description_cache import describe_pictures
from msgnn_plugin.data.lmdb_writer import build_lmdb
from msgnn_plugin.data.synthesis import add_streaks

# Pictures 1 to 4 have rain of one kind, 5 to 8 of another, 9 to 12 of a third.
RAINS = ({"angle": -30, "width": 2, "length": 25}, {"angle": 25, "width": 2, "length": 25}, {"angle": 25, "width": 6})


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "msgnn_plugin"


@pytest.fixture
def rainy_set(tmp_path, write):
    """Four scenes, each under three rains."""
    for number in range(12):
        rng = np.random.default_rng(number % 4)
        clean = cv2.resize(rng.integers(0, 180, (6, 6, 3), dtype=np.uint8), (140, 140))
        rainy = add_streaks(clean, **RAINS[number // 4], density=0.3, rng=np.random.default_rng(number))[0]
        write(tmp_path / "set/norain" / f"{number + 1}.png", image=clean)
        write(tmp_path / "set/rain" / f"{number + 1}.png", image=rainy)
    return tmp_path / "set"


def exemplar_number(sample):
    return int(os.path.basename(sample["exemplar_path"]).removesuffix(".png")) - 1


def test_retrieved_picks_other_pictures_with_the_same_rain(rainy_set):
    dataset = PairedExemplarDataset(root=rainy_set, exemplar="retrieved", exemplar_nearest=3)
    for index in range(12):
        picked = {exemplar_number(dataset[index, number]) for number in range(30)}
        assert picked == {other for other in range(12) if other // 4 == index // 4} - {index}


def test_a_sample_is_a_function_of_seed_and_number(rainy_set):
    datasets = [PairedExemplarDataset(root=rainy_set, exemplar="retrieved", crop_size=40) for _ in range(2)]
    draws = [[dataset[3, number]["exemplar_path"] for number in range(20)] for dataset in datasets]
    assert draws[0] == draws[1]
    assert [datasets[1][3, number]["exemplar_path"] for number in reversed(range(20))] == draws[0][::-1]
    other_seed = PairedExemplarDataset(root=rainy_set, exemplar="retrieved", crop_size=40, seed=1)
    assert [other_seed[3, number]["exemplar_path"] for number in range(20)] != draws[0]


def test_sampler_draws_among_the_nearest_alone():
    descriptions = np.array([[0.0], [1], [3], [6], [10]], np.float32)
    sampler = ExemplarSampler("retrieved", count=5, nearest=2, descriptions=descriptions)
    generator = np.random.default_rng(0)
    picked = [{sampler(index, generator) for _ in range(40)} for index in range(5)]
    assert picked == [{1, 2}, {0, 2}, {0, 1}, {2, 4}, {3, 2}]
    few = ExemplarSampler("retrieved", count=2, nearest=9, descriptions=descriptions[:2])
    assert {few(0, generator) for _ in range(9)} == {1}


def test_wrong_settings_are_told(pair_folder):
    with pytest.raises(ValueError, match="`exemplar_nearest` must be at least 1, got 0"):
        PairedExemplarDataset(root=pair_folder, exemplar="retrieved", exemplar_nearest=0)
    with pytest.raises(ValueError, match="`descriptions` must be 3 for 'retrieved', got none"):
        ExemplarSampler("retrieved", count=3)
    with pytest.raises(ValueError, match="`descriptions` must be 3 for 'retrieved', got 2"):
        ExemplarSampler("retrieved", count=3, descriptions=np.zeros((2, 4), np.float32))
    with pytest.raises(ValueError, match="`exemplar` must be 'self' or a path be given for a set of 1"):
        PairedExemplarDataset(root=pair_folder, exemplar="retrieved", exclude=["1", "2", "3", "4"])


def test_descriptions_are_kept_and_only_changed_pictures_read_again(pair_folder, write, cache, monkeypatch):
    pictures = [pair.rainy for pair in find_pairs(pair_folder)]
    first = describe_pictures(pictures)
    assert len(list(cache.iterdir())) == 1
    described = []
    plain = description_cache.describe_rain
    monkeypatch.setattr(description_cache, "describe_rain", lambda image: described.append(1) or plain(image))
    np.testing.assert_array_equal(describe_pictures(pictures), first)
    assert described == []
    write(pair_folder / "rain/3.png", size=(33, 24))
    changed = describe_pictures(pictures)
    assert len(described) == 1
    np.testing.assert_array_equal(np.delete(changed, 2, axis=0), np.delete(first, 2, axis=0))
    for damaged in (b"PK\x03\x04 cut short", b""):
        next(cache.iterdir()).write_bytes(damaged)
        np.testing.assert_array_equal(describe_pictures(pictures), changed)


def test_a_broken_picture_costs_no_descriptions(pair_folder, monkeypatch):
    pictures = [pair.rainy for pair in find_pairs(pair_folder)]
    whole = (pair_folder / "rain/2.png").read_bytes()
    (pair_folder / "rain/2.png").write_bytes(whole[:40])
    with pytest.raises(ValueError, match=r"got 1 of 5 that cannot be, the first: .*2\.png"):
        describe_pictures(pictures)
    (pair_folder / "rain/2.png").write_bytes(whole)
    described = []
    plain = description_cache.describe_rain
    monkeypatch.setattr(description_cache, "describe_rain", lambda image: described.append(1) or plain(image))
    assert describe_pictures(pictures).shape == (5, 44)
    assert len(described) == 1


def test_works_without_a_cache_folder(pair_folder, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert describe_pictures([pair.rainy for pair in find_pairs(pair_folder)]).shape == (5, 44)
    assert "Cannot keep the descriptions" in caplog.text


def test_an_lmdb_and_deep_pictures_are_described_as_the_files(pair_folder, tmp_path, write):
    build_lmdb(find_pairs(pair_folder), tmp_path / "packed")
    files, packed = ([pair.rainy for pair in find_pairs(root)] for root in (pair_folder, tmp_path / "packed"))
    np.testing.assert_array_equal(describe_pictures(files), describe_pictures(packed))
    deep = write(tmp_path / "deep/rain/1.png", dtype=np.uint16)
    write(tmp_path / "deep/norain/1.png", dtype=np.uint16)
    described = describe_pictures([find_pairs(tmp_path / "deep")[0].rainy])[0]
    np.testing.assert_array_equal(described, description_cache.describe_rain((deep >> 8).astype(np.uint8)))
