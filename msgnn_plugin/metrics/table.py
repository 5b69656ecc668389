"""Measures of many pictures: rows, means, CSV and JSON."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np


class Mean(NamedTuple):
    """A mean over pictures.

    Attributes:
        value: Mean of the finite values; inf where all values are infinite, nan where there are none.
        count: Over how many pictures.
        infinite: How many equal pictures, of infinite PSNR, are left out of it.
        missing: How many pictures have no such value and are left out.
    """

    value: float
    count: int
    infinite: int
    missing: int


class MeasureTable:
    """Measures of the pictures of one folder, and which pictures failed.

    Args:
        columns: Names of the measures, each with its protocol in it.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = tuple(columns)
        self.rows: list[tuple[str, str | None, Mapping[str, float]]] = []
        self.failures: list[tuple[str, str]] = []

    def add(self, image: str, clean: str | None, values: Mapping[str, float]) -> None:
        """Note the measures of one picture; ``clean`` is the name of what it was compared with."""
        self.rows.append((image, clean, values))

    def fail(self, file: str, error: str) -> None:
        """Note that a file could not be measured, and why."""
        self.failures.append((file, error))

    def mean(self, column: str) -> Mean:
        """Return the mean of a column over the pictures that have a finite value there."""
        values = np.array([values[column] for _, _, values in self.rows])
        finite = values[np.isfinite(values)]
        infinite, missing = int(np.isinf(values).sum()), int(np.isnan(values).sum())
        if finite.size:
            return Mean(float(finite.mean()), finite.size, infinite, missing)
        # Nothing but equal pictures: their mean is what they all have.
        return Mean(math.inf, infinite, 0, missing) if infinite else Mean(math.nan, 0, 0, missing)

    def to_csv(self) -> str:
        """Return one row a picture, then the failed files, then the means; ``inf`` and ``nan`` are written so."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["image", "clean", *self.columns, "error"])
        for image, clean, values in self.rows:
            writer.writerow([image, clean or "", *(f"{values[column]:.6f}" for column in self.columns), ""])
        for file, error in self.failures:
            writer.writerow([file, "", *("" for _ in self.columns), error])
        writer.writerow(["mean", "", *(f"{self.mean(column).value:.6f}" for column in self.columns), ""])
        return text.getvalue()

    def to_json(self, about: Mapping[str, Any]) -> str:
        """Return everything as standard JSON: an infinite value is the text "Infinity", a missing one null.

        Args:
            about: What stands in front: folders, protocols.
        """
        means = {column: self.mean(column) for column in self.columns}
        document = {
            **about,
            "means": {column: _json_number(mean.value) for column, mean in means.items()},
            "images_in_mean": {column: mean.count for column, mean in means.items()},
            "images": [
                {"image": image, "clean": clean, **{column: _json_number(values[column]) for column in self.columns}}
                for image, clean, values in self.rows
            ],
            "failed": [{"file": file, "error": error} for file, error in self.failures],
        }
        return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _json_number(value: float) -> float | str | None:
    # JSON has no infinity; this text is what both Python's float() and JavaScript's Number() read as one.
    return None if math.isnan(value) else "Infinity" if math.isinf(value) else value
