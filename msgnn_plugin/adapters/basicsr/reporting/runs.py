"""The results of a run: metrics of each set, by image and along the training, beside the paper's numbers."""

import csv
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from msgnn_plugin.adapters.basicsr.measuring import INPUT_PREFIX
from msgnn_plugin.adapters.basicsr.reporting.logs import (
    parse_facts,
    parse_losses,
    parse_options,
    parse_type_weights,
    read_logs,
)

Values = dict[str, float]
# Metrics of which less is better, where the options do not say so.
_LOWER = ("calculate_niqe", "calculate_lpips")
_BY_TYPE = "_by_type"


@dataclass
class SetResult:
    """What was measured on one set.

    Attributes:
        name: The set.
        iteration: Iteration of the newest table; None in testing.
        images: Metrics of each image, in the set's order.
        means: Their means, as the run wrote them.
        types: Means of each type of rain; empty where the set has none.
        curve: (iteration, means) of every table.
    """

    name: str
    iteration: int | None
    images: list[tuple[str, Values]]
    means: Values
    types: dict[str, Values] = field(default_factory=dict)
    curve: list[tuple[int, Values]] = field(default_factory=list)

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics, the rainy input's columns left out."""
        return [name for name in self.means if not name.startswith(INPUT_PREFIX)]


@dataclass
class RunResult:
    """What a run has left.

    Attributes:
        folder: Its folder.
        options: What it ran by; empty where nothing tells.
        facts: Hardware, versions, parameters and the like, by name.
        losses: (iteration, value) of each loss.
        type_weights: (iteration, validation L1, weight) of each type of rain.
        sets: Its sets, the one that decides about the best weights first.
        problems: A sentence for each file that could not be read.
    """

    folder: Path
    options: dict[str, Any]
    facts: dict[str, str]
    losses: dict[str, list[tuple[int, float]]]
    type_weights: dict[str, list[tuple[int, float, float]]]
    sets: list[SetResult]
    problems: list[str]

    @property
    def name(self) -> str:
        """What it is called: the folder and the one it lies in, since a training and its test share names."""
        return "/".join(self.folder.resolve().parts[-2:])

    @property
    def training(self) -> bool:
        """Whether it trained."""
        measured = any(result.iteration is not None for result in self.sets)
        return measured or bool(self.losses) or "train" in section(self.options, "datasets")

    @property
    def state(self) -> str:
        """Whether it is a test, or how far its training has come."""
        if not self.training:
            return "test"
        if "training time" in self.facts:
            return "finished"
        reached = [points[-1][0] for points in self.losses.values()] + [each.iteration or 0 for each in self.sets]
        total = section(self.options, "train").get("total_iter")
        return f"stopped or running at iteration {max(reached, default=0):,}" + (f" of {total:,}" if total else "")

    @property
    def paper(self) -> Values:
        """The paper's numbers that its options name (``ablation.paper``), for the first set and ``params``."""
        return section(self.options, "ablation", "paper")

    def lower_is_better(self, metric: str) -> bool:
        """Whether less of a metric is better."""
        options = section(self.options, "val", "metrics", metric)
        return options.get("better") == "lower" or options.get("type") in _LOWER


def section(options: dict[str, Any], *keys: str) -> dict[str, Any]:
    """Return a section of the options, empty where it is missing or no section."""
    for key in keys:
        below = options.get(key)
        options = below if isinstance(below, dict) else {}
    return options


def read_run(folder: Path) -> RunResult:
    """Read the folder of a training run (``experiments/NAME``) or a test run (``results/NAME``).

    Raises:
        ValueError: If it is no such folder.
    """
    text = read_logs(folder)
    if not (text or (folder / "metrics").is_dir() or any(folder.glob("*.yml"))):
        raise ValueError(
            f"report: RUN must be a folder that `basicsr train` or `basicsr test` wrote, such as experiments/NAME or "
            f"results/NAME, got {str(folder)!r} without log, options and metrics."
        )
    problems: list[str] = []
    options = _read_options(folder, problems) or parse_options(text)
    sets = _read_sets(folder / "metrics", problems)
    order = [str(data.get("name")) for data in section(options, "datasets").values() if isinstance(data, dict)]
    sets.sort(key=lambda each: order.index(each.name) if each.name in order else len(order))
    return RunResult(folder, options, parse_facts(text), parse_losses(text), parse_type_weights(text), sets, problems)


def _read_options(folder: Path, problems: list[str]) -> dict[str, Any]:
    """Return the newest copy of the options, which a training keeps."""
    copies = sorted(folder.glob("*.yml"), key=lambda path: path.stat().st_mtime)
    if not copies:
        return {}
    try:
        options = yaml.safe_load(copies[-1].read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        options = None
    if not isinstance(options, dict):
        problems.append(f"{copies[-1]}: the copy of the options must be plain YAML; those of the log are shown.")
        return {}
    return options


def _read_sets(folder: Path, problems: list[str]) -> list[SetResult]:
    """Read every table: ``SET.csv`` of a test, ``SET/ITERATION.csv`` of a training."""
    results = []
    for place in sorted(folder.glob("*")):
        if place.is_dir():
            files = [path for path in place.glob("*.csv") if path.stem.isdecimal()]
            tables = {int(path.stem): table for path in files if (table := _try_read(path, problems))}
            if tables:
                last = max(tables)
                curve = [(iteration, means) for iteration, (_, means) in sorted(tables.items())]
                types = _read_types(place / f"{last}{_BY_TYPE}.csv", problems)
                results.append(SetResult(place.name, last, *tables[last], types, curve))
        elif place.suffix == ".csv" and not place.stem.endswith(_BY_TYPE) and (table := _try_read(place, problems)):
            types = _read_types(place.with_name(place.stem + _BY_TYPE + ".csv"), problems)
            results.append(SetResult(place.stem, None, *table, types))
    return results


def _read_types(path: Path, problems: list[str]) -> dict[str, Values]:
    table = _try_read(path, problems, "type") if path.is_file() else None
    return {} if table is None else dict(table[0])


def _try_read(path: Path, problems: list[str], by: str = "image") -> tuple[list[tuple[str, Values]], Values] | None:
    try:
        return read_table(path, by)
    except (ValueError, OSError) as error:
        problems.append(str(error))
        return None


def read_table(path: Path, by: str = "image") -> tuple[list[tuple[str, Values]], Values]:
    """Read a table of metrics.

    Args:
        path: The file, as a validation writes it: a row for each image, then their means.
        by: What its first column is called.

    Returns:
        (name, values) of each row, and the means.

    Raises:
        ValueError: If it is no such table.
        OSError: If it cannot be read.
    """
    rows = []
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        reader = csv.DictReader(file)
        try:
            for row in reader:
                name = row.pop(by)
                row.pop("images", None)
                rows.append((name, {column: float(value) for column, value in row.items()}))
        except (KeyError, TypeError, ValueError, csv.Error) as error:
            raise ValueError(
                f"{path}: a table of metrics must have the column `{by}` and numbers in every other, got line "
                f"{reader.line_num} without; validate or test again."
            ) from error
    if len(rows) < 2 or rows[-1][0] != "mean":
        raise ValueError(f"{path}: a table of metrics must end with the row `mean`; validate or test again.")
    return rows[:-1], rows[-1][1]


def ranked(run: RunResult, result: SetResult, count: int) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
    """Return (place in the set, name) of the best images by the first metric, best first, and the worst, worst first.

    Args:
        run: The run.
        result: Its result on a set.
        count: How many of each at most; no image is among both.
    """
    if not result.metrics:
        return [], []
    metric = result.metrics[0]
    sign = 1 if run.lower_is_better(metric) else -1
    numbered = [(place, name, values[metric]) for place, (name, values) in enumerate(result.images)]
    order = [
        (place, name)
        for place, name, value in sorted(numbered, key=lambda entry: sign * entry[2])
        if not math.isnan(value)
    ]
    best = order[: min(count, -(-len(order) // 2))]
    return best, order[len(best) :][::-1][:count]
