"""A row of an ablation table: its option file, and the state of the run that it names."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgnn_plugin.adapters.basicsr.ablation.settings import decisive_settings
from msgnn_plugin.adapters.basicsr.arguments import project_root
from msgnn_plugin.adapters.basicsr.options import complete_options
from msgnn_plugin.adapters.basicsr.places import experiment_folder


@dataclass(frozen=True)
class Row:
    """One option file with the section `ablation`.

    Rows of one name share one run: a network that stands in several tables is trained once.

    Attributes:
        file: The option file.
        root: Where its relative paths start.
        options: The file's own options, nothing forced.
        folder: Folder of its run.
    """

    file: Path
    root: Path
    options: dict[str, Any]
    folder: Path

    @property
    def run(self) -> "Run":
        """What its run has left so far."""
        return Run(self.folder, self.root)


def read_row(file: str | Path, out: Path | None = None) -> Row:
    """Read an option file as a row.

    Args:
        file: Option file.
        out: Folder of the experiments; None for what the file says.

    Raises:
        FileNotFoundError: If the file or a base of it does not exist.
        ValueError: If it is no sound option file, or lacks what a row needs.
        TypeError: If a value is of a wrong kind.
    """
    options = complete_options(file)
    for key in ("table", "row"):
        if not (options.get("ablation") or {}).get(key):
            raise ValueError(f"{file}: `ablation.{key}` must be given in a row of an ablation table, got nothing.")
    if not any(phase.startswith("val") for phase in options["datasets"]):
        raise ValueError(f"{file}: `datasets` must hold a `val` set, whose numbers the table shows, got none.")
    if not (options.get("train") or {}).get("total_iter"):
        raise ValueError(f"{file}: `train.total_iter` must be given in a row of an ablation table, got nothing.")
    root = project_root(file)
    folder = experiment_folder(options, root) if out is None else out.resolve() / options["name"]
    return Row(Path(file), root, options, folder)


def read_rows(files: Sequence[str | Path], out: Path | None = None) -> list[Row]:
    """Read several rows; see `read_row`."""
    return [read_row(file, out) for file in files]


@dataclass(frozen=True)
class Run:
    """What a training run left in its folder.

    Attributes:
        folder: Folder of the experiment.
        root: Where the option file's relative paths start.
    """

    folder: Path
    root: Path

    def options(self) -> dict[str, Any] | None:
        """Return the options that it ran by, from the copy it keeps; None where nothing ran."""
        copies = sorted(self.folder.glob("*.yml"), key=lambda path: path.stat().st_mtime)
        return complete_options(copies[-1]) if copies else None

    def settings(self) -> dict[str, Any] | None:
        """Return its `decisive_settings`; None where nothing ran."""
        options = self.options()
        return None if options is None else decisive_settings(options, self.root)

    def iteration(self) -> int:
        """Return the iteration of its newest state, 0 where there is none."""
        states = (path.stem for path in (self.folder / "training_states").glob("*.state"))
        return max((int(stem) for stem in states if stem.isdigit()), default=0)

    def finished(self) -> bool:
        """Whether it was trained to its end and measured there."""
        options = self.options()
        if options is None or not (self.folder / "models" / "net_g_latest.pth").is_file():
            return False
        return self._table(options).is_file()

    def measured(self) -> tuple[dict[str, float], int]:
        """Return the means of the last iteration's validation, by column, and how many pictures they are of.

        Raises:
            ValueError: If the table is not one that a validation writes.
        """
        path = self._table(self.options())
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        if not rows or rows[-1].pop("image", None) != "mean":
            raise ValueError(f"{path}: a table of metrics must end with the row `mean`; validate again.")
        return {name: float(value) for name, value in rows[-1].items()}, len(rows) - 1

    def _table(self, options: dict[str, Any]) -> Path:
        return self.folder / "metrics" / validation_set(options) / f"{options['train']['total_iter']}.csv"


def validation_set(options: dict[str, Any]) -> str:
    """Return the name of the first validation set, the one that is reported."""
    return next(dataset["name"] for phase, dataset in options["datasets"].items() if phase.startswith("val"))
