import csv
import io
import json
import math

import pytest

from msgnn_plugin.metrics.table import MeasureTable


@pytest.fixture
def table():
    table = MeasureTable(["psnr_y", "ssim_y"])
    table.add("1.png", "norain-1.png", {"psnr_y": 30.0, "ssim_y": 0.5})
    table.add("2.png", None, {"psnr_y": math.inf, "ssim_y": 1.0})
    table.add("3.png", "norain-3.png", {"psnr_y": 20.0, "ssim_y": math.nan})
    table.fail("4.png", '4.png: the file must hold a picture, got "x", an empty file.')
    return table


def test_means_leave_out_what_has_no_finite_value_and_say_so(table):
    assert table.mean("psnr_y") == (25, 2, 1, 0)
    assert table.mean("ssim_y") == (0.75, 2, 0, 1)


def test_means_of_equal_pictures_alone_and_of_none():
    table = MeasureTable(["psnr_rgb"])
    assert math.isnan(table.mean("psnr_rgb").value)
    table.add("1.png", "1.png", {"psnr_rgb": math.inf})
    assert table.mean("psnr_rgb") == (math.inf, 1, 0, 0)
    assert json.loads(table.to_json({}))["means"] == {"psnr_rgb": "Infinity"}


def test_csv(table):
    rows = list(csv.DictReader(io.StringIO(table.to_csv())))
    assert [row["image"] for row in rows] == ["1.png", "2.png", "3.png", "4.png", "mean"]
    assert [row["psnr_y"] for row in rows] == ["30.000000", "inf", "20.000000", "", "25.000000"]
    assert [row["ssim_y"] for row in rows] == ["0.500000", "1.000000", "nan", "", "0.750000"]
    assert rows[3]["error"].endswith('got "x", an empty file.')
    assert rows[0]["clean"] == "norain-1.png"


def test_json_is_standard_and_tells_infinity_from_nothing(table):
    def refuse(constant):
        raise AssertionError(constant)

    document = json.loads(table.to_json({"results": "R"}), parse_constant=refuse)
    assert document["results"] == "R"
    assert document["means"] == {"psnr_y": 25, "ssim_y": 0.75}
    assert document["images_in_mean"] == {"psnr_y": 2, "ssim_y": 2}
    assert document["images"][1] == {"image": "2.png", "clean": None, "psnr_y": "Infinity", "ssim_y": 1}
    assert document["images"][2]["ssim_y"] is None
    assert document["failed"] == [{"file": "4.png", "error": table.failures[0][1]}]
    assert float(document["images"][1]["psnr_y"]) == math.inf
