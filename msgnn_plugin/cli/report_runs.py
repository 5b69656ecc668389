"""The report of runs: their numbers put into tables, and these into one HTML page or into Markdown."""

import base64
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from msgnn_plugin.adapters.basicsr.hardware import describe_hardware
from msgnn_plugin.adapters.basicsr.measuring import INPUT_PREFIX
from msgnn_plugin.adapters.basicsr.reporting.pictures import Example, load_examples
from msgnn_plugin.adapters.basicsr.reporting.runs import RunResult, SetResult, ranked
from msgnn_plugin.cli.report_curves import Panel, draw_panels
from msgnn_plugin.cli.tables import markdown_table, markdown_text

Table = list[list[str]]
_TEMPLATE = Path(__file__).with_name("report_page.html")
# The page's only script: it moves a slider's edge.
_SCRIPT = """
document.addEventListener("input", function (event) {
  event.target.parentElement.style.setProperty("--cut", event.target.value + "%");
});
"""


@dataclass
class SetPart:
    """What a report shows of a set.

    Attributes:
        title: The set, and at which iteration of how many pictures.
        metrics: Table of the means.
        types: Table of the means by type of rain, empty where there are none.
        names: Names of the best images and of the worst, with their values.
        examples: What a page shows of each picture, by the same two titles.
        note: What could not be shown.
    """

    title: str
    metrics: Table
    types: Table
    names: dict[str, list[tuple[str, str]]]
    examples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    note: str = ""


@dataclass
class RunPart:
    """What a report shows of a run; its fields are what `RunResult` calls so, as text."""

    name: str
    state: str
    facts: Table
    sets: list[SetPart]
    settings: str
    problems: list[str]


def describe_run(run: RunResult, pictures: int, *, embed: bool) -> RunPart:
    """Put a run into tables.

    Args:
        run: The run.
        pictures: How many of the best and of the worst to show.
        embed: Whether to load the pictures.
    """
    parts = []
    for number, result in enumerate(run.sets):
        best, worst = ranked(run, result, pictures)
        part = SetPart(
            _title(result), _metric_table(run, result, number == 0), _type_table(result), _names(result, best, worst)
        )
        if embed and best:
            loaded, part.note = load_examples(run, result, best + worst)
            shown = {example.name: _as_entry(example) for example in loaded}
            part.examples = {
                title: [{"name": name, "caption": caption, **shown.get(name, {})} for name, caption in names]
                for title, names in part.names.items()
            }
        parts.append(part)
    here = f"not in the log; this report was made on {describe_hardware()}"
    facts = {"hardware": run.facts.get("hardware", here)} | run.facts
    settings = yaml.safe_dump(run.options, sort_keys=False, allow_unicode=True) if run.options else ""
    return RunPart(run.name, run.state, [[*item] for item in facts.items()], parts, settings, run.problems)


def make_page(runs: Sequence[RunResult], parts: Sequence[RunPart], problems: Sequence[str]) -> str:
    """Return the page: one file that fetches nothing; every name is escaped."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(autoescape=True, undefined=StrictUndefined)
    drawn = {title: _uri(draw_panels(panels), "svg+xml") for title, panels in _panels(runs).items() if panels}
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        title=_page_title(runs),
        runs=parts,
        problems=problems,
        overview=_overview(runs),
        curves=drawn,
        script=Markup(_SCRIPT),
        script_hash=base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode(),
    )


def make_markdown(runs: Sequence[RunResult], parts: Sequence[RunPart], problems: Sequence[str]) -> str:
    """Return the tables as Markdown, without pictures and curves."""
    blocks = [f"# {markdown_text(_page_title(runs))}", *map(markdown_text, problems)]
    if overview := _overview(runs):
        blocks.append(markdown_table(overview))
    for part in parts:
        blocks += [f"## {markdown_text(part.name)}", markdown_text(part.state), *map(markdown_text, part.problems)]
        blocks.append("\n".join(f"- {markdown_text(name)}: {markdown_text(value)}" for name, value in part.facts))
        for result in part.sets:
            blocks += [f"### {markdown_text(result.title)}", markdown_table(result.metrics)]
            blocks += [markdown_table(result.types)] if result.types else []
            for title, names in result.names.items():
                blocks.append(
                    "\n".join(
                        [f"{markdown_text(title)}:", *(f"- {markdown_text(': '.join(entry))}" for entry in names)]
                    )
                )
        if not part.sets:
            blocks.append("No metrics yet: nothing was validated or tested.")
    return "\n\n".join(blocks) + "\n"


def _page_title(runs: Sequence[RunResult]) -> str:
    return f"Report: {', '.join(run.name for run in runs)}"


def _title(result: SetResult) -> str:
    at = "" if result.iteration is None else f", iteration {result.iteration:,}"
    count = len(result.images)
    return f"{result.name}: {count:,} picture{'' if count == 1 else 's'}{at}"


def _metric_table(run: RunResult, result: SetResult, first: bool) -> Table:
    """Return one row a metric: rainy, derained, gain, and the paper's number for the first set."""
    paper = run.paper if first else {}
    rows = []
    for name in result.metrics:
        ours, before = result.means[name], result.means.get(INPUT_PREFIX + name)
        rows.append(
            [
                name,
                "" if before is None else _number(name, before),
                _number(name, ours),
                "" if before is None else f"{ours - before:+.{_digits(name)}f}",
                _number(name, paper[name]) if name in paper else "",
            ]
        )
    if "params" in paper:
        rows.append(["parameters", "", run.facts.get("parameters", ""), "", f"{paper['params']:,.0f}"])
    columns = ["metric", "rainy", "derained", "gain", "paper"]
    # What no row has needs no column.
    kept = [place for place in range(len(columns)) if place in (0, 2) or any(row[place] for row in rows)]
    return [[row[place] for place in kept] for row in (columns, *rows)]


def _type_table(result: SetResult) -> Table:
    if not result.types:
        return []
    rows = [[name, *(_number(m, values[m]) for m in result.metrics)] for name, values in result.types.items()]
    return [["type of rain", *result.metrics], *rows]


def _names(
    result: SetResult, best: Sequence[tuple[int, str]], worst: Sequence[tuple[int, str]]
) -> dict[str, list[tuple[str, str]]]:
    """Return name and values of the best and the worst images, by a title each."""
    by = f" by {result.metrics[0]}" if result.metrics else ""
    chosen = {f"Best{by}": best, f"Worst{by}": worst}
    return {
        title: [(name, _caption(result, result.images[place][1])) for place, name in images]
        for title, images in chosen.items()
        if images
    }


def _caption(result: SetResult, values: dict[str, float]) -> str:
    shown = []
    for name in result.metrics[:2]:
        before = values.get(INPUT_PREFIX + name)
        come = "" if before is None else f"{_number(name, before)} to "
        shown.append(f"{name} {come}{_number(name, values[name])}")
    return ", ".join(shown)


def _overview(runs: Sequence[RunResult]) -> Table:
    """Return one row a run and set, where there are several."""
    measured = [(run, result) for run in runs for result in run.sets]
    metrics = list(dict.fromkeys(name for _, result in measured for name in result.metrics))
    if len(measured) < 2:
        return []
    rows = [
        [
            run.name,
            result.name,
            f"{len(result.images):,}",
            *(_number(m, result.means.get(m, math.nan)) for m in metrics),
        ]
        for run, result in measured
    ]
    return [["run", "set", "pictures", *metrics], *rows]


def _panels(runs: Sequence[RunResult]) -> dict[str, dict[str, Panel]]:
    """Return what to draw, by the figure's title: metrics and losses with a line a run, weights of the types."""
    metrics: dict[str, Panel] = {}
    losses: dict[str, Panel] = {}
    types: dict[str, Panel] = {}
    for run in runs:
        for result in run.sets:
            for name in result.metrics if len(result.curve) > 1 else ():
                points = [(iteration, means[name]) for iteration, means in result.curve if name in means]
                metrics.setdefault(f"{result.name}: {name}", {})[run.name] = points
        for name, points in run.losses.items():
            losses.setdefault(name, {})[run.name] = points
        if run.type_weights:
            types[f"{run.name}: validation L1"] = {
                name: [(iteration, loss) for iteration, loss, _ in path] for name, path in run.type_weights.items()
            }
            types[f"{run.name}: weight"] = {
                name: [(iteration, weight) for iteration, _, weight in path] for name, path in run.type_weights.items()
            }
    return {"Metrics": metrics, "Losses": losses, "Types of rain": types}


def _as_entry(example: Example) -> dict[str, Any]:
    return {
        **{"width": example.size[0], "height": example.size[1]},
        "derained": _uri(example.derained, "jpeg"),
        "rainy": None if example.rainy is None else _uri(example.rainy, "jpeg"),
    }


def _uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _digits(metric: str) -> int:
    return 2 if "psnr" in metric else 4


def _number(metric: str, value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.{_digits(metric)}f}"
