from pathlib import Path

import pytest

from msgnn_plugin.data.result_pairs import list_results, pair_results


def pair(results, cleans):
    found = pair_results([Path("r", name) for name in results], [Path("g", name) for name in cleans])
    return found, [(result.name, clean.name) for result, clean in found.pairs]


@pytest.mark.parametrize(
    ("results", "cleans"),
    [
        (["1.png", "2.png", "10.png"], ["1.jpg", "2.jpg", "10.jpg"]),
        (["rain-1.png", "rain-2.png"], ["norain-1.png", "norain-2.png"]),
        (["1_DR.png", "2_DR.png"], ["1_GT.png", "2_GT.png"]),
        (["1_train_msgnn.png", "2_train_msgnn.png"], ["1.png", "2.png"]),
        (["norain-1_train_msgnn.png", "norain-2_train_msgnn.png"], ["norain-1.png", "norain-2.png"]),
        (["Derained-Rain100L-rain-001.png", "Derained-Rain100L-rain-002.png"], ["norain-001.png", "norain-002.png"]),
        (["out_1.derained.png", "out_2.derained.png"], ["1.png", "2.png"]),
        (["a b_x_y.png"], ["a b.png"]),
        (["7_5000.png"], ["7.png"]),
    ],
)
def test_usual_names(results, cleans):
    found, names = pair(results, cleans)
    assert names == list(zip(results, cleans))
    assert not found.lone_results
    assert not found.lone_cleans


def test_several_results_of_one_clean_picture():
    results = ["901_1_out.png", "901_2_out.png", "902_1_out.png"]
    found, names = pair(results, ["901.jpg", "902.jpg"])
    assert names == list(zip(results, ["901.jpg", "901.jpg", "902.jpg"]))
    assert (found.beginning, found.ending) == ("", "_out")


def test_nothing_is_taken_off_where_names_are_equal():
    found, names = pair(["a_x.png", "b_x.png"], ["a_x.png", "b_x.png", "a.png"])
    assert names == [("a_x.png", "a_x.png"), ("b_x.png", "b_x.png")]
    assert (found.beginning, found.ending) == ("", "")
    assert [path.name for path in found.lone_cleans] == ["a.png"]


def test_missing_partners_on_both_sides():
    found, names = pair(["1.png", "2.png", "9.png"], ["1.png", "2.png", "3.png"])
    assert names == [("1.png", "1.png"), ("2.png", "2.png")]
    assert [path.name for path in found.lone_results] == ["9.png"]
    assert [path.name for path in found.lone_cleans] == ["3.png"]


def test_pictures_of_two_kinds_in_one_folder_are_not_taken_for_results():
    # Which of the two was meant nobody can tell.
    found, names = pair(["1_in put.png", "1_derained.png"], ["1.png"])
    assert names == []
    assert len(found.lone_results) == 2


def test_uncertain_partners_are_an_error():
    with pytest.raises(ValueError, match=r"must have one clean partner, got norain-1 and rain-1"):
        pair(["1.png"], ["rain-1.png", "norain-1.png"])
    with pytest.raises(ValueError, match="must differ in more than the suffix"):
        pair(["1.png", "1.jpg"], ["1.png"])


def test_strips_are_no_results(tmp_path):
    for name in ("1_name.png", "1_compare.png", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in list_results(tmp_path)] == ["1_name.png"]
    (tmp_path / "1_name.png").unlink()
    with pytest.raises(ValueError, match="RESULT_DIR must hold at least one picture, got none directly in"):
        list_results(tmp_path)
