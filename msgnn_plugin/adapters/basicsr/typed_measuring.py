"""Metrics of a set whose images are of several types: means by type, and the mean of these."""

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np

from msgnn_plugin.adapters.basicsr.measuring import MetricTable
from msgnn_plugin.data.atomic import write_bytes_atomic


class TypedMetricTable(MetricTable):
    """`MetricTable` that knows each image's type. Its means are the unweighted means of the types' means.

    Attributes:
        current_type: Type of the image that is added next; None where the set has no types.
        row_types: Type of each row.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.current_type: str | None = None
        self.row_types: list[str | None] = []

    def add(self, *args: Any, **pictures: Any) -> None:
        """Measure one image, as `MetricTable.add`."""
        super().add(*args, **pictures)
        self.row_types += [self.current_type] * (len(self.rows) - len(self.row_types))

    def by_type(self) -> dict[str, tuple[int, dict[str, float]]]:
        """Return by type the number of images and their means; empty where the set has no types."""
        result = {}
        for name in dict.fromkeys(self.row_types):
            if name is not None:
                part = MetricTable(self.metrics, self.measure_input)
                part.rows = [row for row, of in zip(self.rows, self.row_types, strict=True) if of == name]
                result[name] = len(part.rows), part.means()
        return result

    def means(self) -> dict[str, float]:
        """Return the mean over the types of every column, each type counting alike; else the mean of the images."""
        parts = [means for _, means in self.by_type().values()]
        if not parts:
            return super().means()
        return {column: float(np.mean([means[column] for means in parts])) for column in parts[0]}

    def summary(self) -> str:
        """Return one line a metric, and one a type."""
        lines = [super().summary()]
        for name, (count, means) in self.by_type().items():
            values = ", ".join(f"{column} {value:.4f}" for column, value in means.items())
            lines.append(f"\t # {name} ({count} images): {values}")
        return "\n".join(lines)

    def write_by_type(self, path: Path) -> None:
        """Write one row a type, and the mean of them last.

        Raises:
            OSError: If it cannot be written; nothing half-written stays.
        """
        parts, means = self.by_type(), self.means()
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["type", "images", *means])
        for name, (count, row) in [*parts.items(), ("mean", (len(self.rows), means))]:
            writer.writerow([name, count, *(f"{value:.6f}" for value in row.values())])
        write_bytes_atomic(path, text.getvalue().encode())
