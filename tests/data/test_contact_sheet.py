"""The contact sheet shows what it says."""

import numpy as np
import pytest

from msgnn_plugin.data.contact_sheet import make_contact_sheet
from msgnn_plugin.data.parts import guess_entries


def test_pairs_are_shown_rainy_then_clean(tmp_path, write):
    for name, red in (("rain", 200), ("norain", 50)):
        write(tmp_path / name / "1.png", image=np.full((70, 100, 3), (red, 0, 0), np.uint8))
    sheet, errors = make_contact_sheet(guess_entries(tmp_path), columns=1)
    assert errors == []
    # 8 pixels of margin, a line of 20 for the name, the pictures 140 high and 200 wide, 2 apart.
    assert sheet.shape == (8 + 20 + 140 + 8, 8 + 402 + 8, 3)
    assert (sheet[28:168, 8:208] == (200, 0, 0)).all()
    assert (sheet[28:168, 210:410] == (50, 0, 0)).all()
    assert (sheet[8:28, 8:60] < 100).any()


def test_takes_evenly_and_tells_of_a_broken_picture(tmp_path, write):
    for number in range(9):
        write(tmp_path / f"{number}.png", image=np.full((20, 20, 3), 20 * number, np.uint8))
    (tmp_path / "8.png").write_bytes(b"x")
    sheet, errors = make_contact_sheet(guess_entries(tmp_path), count=3, columns=3)
    assert [(sheet == 20 * number).all(2).sum() >= 140 * 140 for number in (0, 4)] == [True, True]
    assert len(errors) == 1
    assert "8.png` must be a whole picture" in errors[0]
    with pytest.raises(ValueError, match="`count` must be at least 1, got 0"):
        make_contact_sheet(guess_entries(tmp_path), count=0)
