import cv2
import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="needs pyarrow, of the extra [distill]")
import pyarrow as pa
from pyarrow import parquet

from msgnn_plugin.data import find_pairs
from msgnn_plugin.data.pairs import Pair, Picture


def write(path, **columns):
    parquet.write_table(pa.table(columns), path)
    return path


def test_kept_pairs_are_found_and_paths_may_be_relative(tmp_path):
    file = write(
        tmp_path / "list.parquet",
        name=["a", "b", "c"],
        kept=[True, False, True],
        rainy_path=["x/a.png", "x/b.png", "/y/c.png"],
        clean_path=["x/a.png", "x/b.png", "/y/store"],
        rainy_half=["right", None, None],
        clean_half=["left", None, None],
        clean_key=[None, None, "c"],
    )
    place = str(tmp_path / "x" / "a.png")
    expected = [
        Pair("a", Picture(place, "right"), Picture(place, "left")),
        Pair("c", Picture("/y/c.png"), Picture("/y/store", key="c")),
    ]
    assert find_pairs(file) == expected
    assert find_pairs(file, exclude=["a"]) == expected[1:]


def test_training_through_a_minimal_list(tmp_path):
    from msgnn_plugin.data import PairedExemplarDataset

    for name in ("a", "b"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((8, 9, 3), 7, np.uint8))
    file = write(tmp_path / "l.parquet", name=["1", "2"], rainy_path=["a.png"] * 2, clean_path=["b.png"] * 2)
    assert PairedExemplarDataset(root=file)[1]["gt"].shape == (3, 8, 9)


def test_bad_manifests(tmp_path):
    (tmp_path / "no.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(ValueError, match="must be a whole Parquet file"):
        find_pairs(tmp_path / "no.parquet")
    with pytest.raises(ValueError, match="must have the columns clean_path, rainy_path"):
        find_pairs(write(tmp_path / "a.parquet", name=["a"]))
    sides = {"rainy_path": ["a", "a"], "clean_path": ["a", "a"]}
    with pytest.raises(ValueError, match="must be unique"):
        find_pairs(write(tmp_path / "b.parquet", name=["a", "a"], **sides))
    with pytest.raises(ValueError, match="must keep at least one pair"):
        find_pairs(write(tmp_path / "c.parquet", name=["a", "b"], kept=[False, False], **sides))
    with pytest.raises(FileNotFoundError, match="must be a folder of image pairs"):
        find_pairs(tmp_path / "absent.parquet")
