"""Measure derained pictures against clean ones: a table by image, its CSV, and strips to look at."""

import csv
import inspect
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from msgnn_plugin.data.atomic import atomic_path, write_bytes_atomic

INPUT_PREFIX = "input_"


class MetricTable:
    """Metrics of every image of one set, and their means.

    Args:
        metrics: ``val.metrics``: name to the metric's options.
        measure_input: Whether the rainy input is measured too, in columns that begin with ``input_``.
    """

    def __init__(self, metrics: Mapping[str, Mapping[str, Any]], measure_input: bool) -> None:
        self.metrics = metrics
        self.measure_input = measure_input
        self.rows: list[tuple[str, dict[str, float]]] = []

    def add(
        self,
        image: str,
        rainy: NDArray[np.uint8],
        derained: NDArray[np.uint8],
        clean: NDArray[np.uint8] | None = None,
    ) -> None:
        """Measure one image. All are (H, W, 3) BGR with range [0, 255], as BasicSR's metrics take them.

        Without a clean picture only metrics that need none are measured, such as NIQE.
        """
        from basicsr.metrics import calculate_metric

        values = {}
        pictures = {"": derained, INPUT_PREFIX: rainy} if self.measure_input else {"": derained}
        for prefix, picture in pictures.items():
            for name, options in self.metrics.items():
                if clean is not None and _takes_clean(options["type"]):
                    values[prefix + name] = float(calculate_metric({"img": picture, "img2": clean}, dict(options)))
                elif not _takes_clean(options["type"]):
                    values[prefix + name] = float(calculate_metric({"img": picture}, dict(options)))
        if values:
            self.rows.append((image, values))

    def means(self) -> dict[str, float]:
        """Return the mean of every column over the images that have such a number; empty where none was measured."""
        return {name: float(np.mean(numbers)) if numbers else float("nan") for name, numbers in self._columns().items()}

    def _columns(self) -> dict[str, list[float]]:
        """Return each column without what is not a number, which a metric gives where it does not apply."""
        names = self.rows[0][1] if self.rows else ()
        return {name: [values[name] for _, values in self.rows if not np.isnan(values[name])] for name in names}

    def write(self, path: Path) -> None:
        """Write the table as CSV, one row an image, the means last.

        Raises:
            OSError: If it cannot be written; nothing half-written stays.
        """
        means = self.means()
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["image", *means])
        for image, values in [*self.rows, ("mean", means)]:
            writer.writerow([image, *(f"{value:.6f}" for value in values.values())])
        write_bytes_atomic(path, text.getvalue().encode())

    def summary(self) -> str:
        """Return one line a metric: the mean, and with the input measured what was gained over it."""
        means, columns = self.means(), self._columns()
        lines = []
        for name in filter(means.__contains__, self.metrics):
            line = f"\t # {name}: {means[name]:.4f}"
            if self.measure_input:
                before = means[INPUT_PREFIX + name]
                line += f" (input {before:.4f}, {means[name] - before:+.4f})"
            if len(columns[name]) < len(self.rows):
                line += f" (of {len(columns[name])} images, the others have none)"
            lines.append(line)
        return "\n".join(lines)


def _takes_clean(metric: str) -> bool:
    """Whether a registered metric compares with a clean picture."""
    from basicsr.utils.registry import METRIC_REGISTRY

    return "img2" in inspect.signature(METRIC_REGISTRY.get(metric)).parameters


def write_picture(picture: NDArray[np.uint8], path: Path) -> None:
    """Write a (H, W, 3) BGR picture whole or not at all.

    Raises:
        OSError: If it cannot be written.
    """
    with atomic_path(path) as temporary:
        if not cv2.imwrite(str(temporary), picture):
            raise OSError(f"{path}: the picture cannot be written.")


def side_by_side(pictures: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Join pictures of one height left to right, with a white line of 4 pixels between them."""
    line = np.full((pictures[0].shape[0], 4, 3), 255, np.uint8)
    parts = [part for picture in pictures for part in (line, picture)][1:]
    return np.concatenate(parts, axis=1)
