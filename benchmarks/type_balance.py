"""What weighing the types of rain does: mean and worst type over seeds, and the path that the weights take.

`python -m benchmarks.type_balance paper=RUN,RUN equal=RUN,RUN` reads the finished runs of UniRain trainings, folders of
`experiments/`, one a seed. RGB PSNR of 8-bit pictures, no border cut, from each run's last validation; a spread is
the sample's standard deviation over the seeds.
"""

import argparse
import csv
import json
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.harness import RESULTS, cpu_model, machine_name
from msgnn_plugin.adapters.basicsr.reporting.logs import parse_type_weights, read_logs

METRIC = "psnr"


def read_types(run: Path) -> dict[str, tuple[float, float]]:
    """Return (of the rainy input, derained) of each type and of their mean, from a run's last validation."""
    tables = sorted(run.glob("metrics/*/*_by_type.csv"), key=lambda path: int(path.stem.partition("_")[0]))
    if not tables:
        raise FileNotFoundError(f"type_balance: RUN must hold metrics/SET/ITER_by_type.csv, got {run} without any.")
    with open(tables[-1], newline="") as file:
        return {row["type"]: (float(row[f"input_{METRIC}"]), float(row[METRIC])) for row in csv.DictReader(file)}


def draw_paths(groups: dict[str, list[Path]], file: Path) -> None:
    """Draw loss and weight of each type against the iterations, a column for each run that weighs."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    paths = {f"{name}, {run.name}": parse_type_weights(read_logs(run)) for name, runs in groups.items() for run in runs}
    paths = {name: path for name, path in paths.items() if path}
    size = (4 * len(paths), 5)
    figure, axes = pyplot.subplots(2, len(paths), figsize=size, sharex=True, sharey="row", squeeze=False)
    for column, (name, path) in zip(axes.T, paths.items(), strict=True):
        for of, values in path.items():
            iterations, losses, weights = zip(*values, strict=True)
            column[0].plot(iterations, losses, label=of, linewidth=1)
            column[1].plot(iterations, weights, label=of, linewidth=1)
        column[0].set_title(name, fontsize=9)
        column[1].set_xlabel("iteration")
    axes[0, 0].set_ylabel("validation L1")
    axes[1, 0].set_ylabel("weight")
    axes[1, 0].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(file, dpi=80)


def main() -> None:
    """Print one table, write JSON, draw the paths where asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.type_balance")
    parser.add_argument("groups", nargs="+", metavar="NAME=RUN,RUN", help="runs, one a seed, and what to call them")
    parser.add_argument("--figure", metavar="FILE.png", help="draw losses and weights")
    arguments = parser.parse_args()
    groups = {
        name: [Path(run) for run in runs.split(",")]
        for name, _, runs in (entry.partition("=") for entry in arguments.groups)
    }
    measured = {name: [read_types(run) for run in runs] for name, runs in groups.items()}
    types = [name for name in next(iter(measured.values()))[0] if name != "mean"]
    table = Table(title=f"type_balance: {METRIC}, rainy to derained, mean ± spread over the seeds")
    for column in ("weights", "seeds", *types, "mean", "worst type", "least gain"):
        table.add_column(column)
    rows = {}
    for name, runs in measured.items():
        derained = np.array([[run[of][1] for of in (*types, "mean")] for run in runs])
        gains = np.array([[run[of][1] - run[of][0] for of in types] for run in runs])
        columns = np.column_stack((derained, derained[:, :-1].min(1), gains.min(1)))
        means = columns.mean(0)
        spreads = columns.std(0, ddof=1) if len(runs) > 1 else np.full_like(means, np.nan)
        before = [f"{np.mean([run[of][0] for run in runs]):.2f} to " for of in (*types, "mean")] + ["", ""]
        table.add_row(
            name,
            str(len(runs)),
            *(f"{b}{m:.2f} ± {s:.2f}" for b, m, s in zip(before, means, spreads, strict=True)),
        )
        rows[name] = [{of: {"input": a, METRIC: b} for of, (a, b) in run.items()} for run in runs]
    Console(width=160).print(table)
    content = {"machine": cpu_model(), "metric": METRIC, "runs": rows}
    (RESULTS / f"type_balance-{machine_name()}.json").write_text(json.dumps(content, indent=2) + "\n")
    if arguments.figure:
        draw_paths(groups, Path(arguments.figure))


if __name__ == "__main__":
    main()
