"""The data set of made rain as BasicSR builds it."""

import importlib

import numpy as np
import pytest

from msgnn_plugin.adapters.basicsr import register


@pytest.fixture
def build(tmp_path):
    import cv2

    register()
    for number in range(2):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((40, 40, 3), 90, np.uint8))
    basicsr_data = importlib.import_module("basicsr.data")
    section = {"name": "made", "type": "SyntheticRainDataset", "dataroot": str(tmp_path), "preset": "rain200l"}
    return lambda **keys: basicsr_data.build_dataset({**section, **keys})


def test_training_crops_and_other_phases_do_not(build):
    assert build(phase="train", gt_size=24, use_hflip=True, seed=3)[0, 5]["lq"].shape == (3, 24, 24)
    assert build(phase="val", gt_size=24)[0]["lq"].shape == (3, 40, 40)


def test_what_must_be_given_is_named(build):
    cls = type(build(phase="val"))
    with pytest.raises(ValueError, match="SyntheticRainDataset: `preset` must be given"):
        cls({"dataroot": "somewhere"})
