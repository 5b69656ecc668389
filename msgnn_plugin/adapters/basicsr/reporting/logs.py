"""What a run's log tells: losses, weights of the types of rain, machine and versions, and the options it ran by."""

import re
from pathlib import Path
from typing import Any

import yaml

_PROGRESS = re.compile(r"iter:\s*([\d,]+), .*?\] (\w+: [-\d.e+naif]+ .*)")
_VALUE = re.compile(r"(\w+): ([-\d.e+naif]+)")
_MEASURED = re.compile(r"Validation L1 and weight by type at iteration (\d+): (.*)")
_TYPE = re.compile(r"(\w+) ([\d.]+) -> ([\d.]+)")
# The options stand behind an empty message, each level two blanks deeper.
_OPTIONS = re.compile(r"INFO: \n((?:  .*\n)+)")
_FACTS = {
    "hardware": re.compile(r"INFO: Hardware: (.+)"),
    "PyTorch": re.compile(r"^\s*PyTorch: (\S+)", re.MULTILINE),
    "BasicSR": re.compile(r"^\s*BasicSR: (\S+)", re.MULTILINE),
    "parameters": re.compile(r"INFO: Network: .*, with parameters: ([\d,]+)"),
    "training pictures": re.compile(r"Number of train images: (\d+)"),
    "training time": re.compile(r"End of training\. Time consumed: (.+)"),
}


def read_logs(run: Path) -> str:
    """Return the text of a run's logs, oldest first; empty where it has none."""
    files = [*run.glob("train_*.log"), *run.glob("test_*.log")]
    # Their names end in the time they were begun at.
    files.sort(key=lambda path: re.findall(r"\d+", path.stem)[-2:])
    return "".join(path.read_text(encoding="utf-8", errors="replace") for path in files)


def parse_losses(text: str) -> dict[str, list[tuple[int, float]]]:
    """Return (iteration, value) of each loss. What a resumed run did again counts once, as it was done last."""
    curves: dict[str, dict[int, float]] = {}
    for iteration, values in _PROGRESS.findall(text):
        for name, value in _VALUE.findall(values):
            curves.setdefault(name, {})[int(iteration.replace(",", ""))] = float(value)
    return {name: sorted(points.items()) for name, points in curves.items()}


def parse_type_weights(text: str) -> dict[str, list[tuple[int, float, float]]]:
    """Return (iteration, validation L1, weight) of each type of rain; empty where types are not weighed."""
    paths: dict[str, dict[int, tuple[float, float]]] = {}
    for iteration, values in _MEASURED.findall(text):
        for name, loss, weight in _TYPE.findall(values):
            paths.setdefault(name, {})[int(iteration)] = float(loss), float(weight)
    return {name: [(i, *values) for i, values in sorted(points.items())] for name, points in paths.items()}


def parse_facts(text: str) -> dict[str, str]:
    """Return hardware, versions, parameters, training pictures and time, as far as the log names them, newest first."""
    found = {name: pattern.findall(text) for name, pattern in _FACTS.items()}
    return {name: values[0 if name == "parameters" else -1].strip() for name, values in found.items() if values}


def parse_options(text: str) -> dict[str, Any]:
    """Return the options of the newest run as BasicSR printed them; empty where it did not."""
    blocks = _OPTIONS.findall(text)
    options: dict[str, Any] = {}
    levels = [options]
    for line in blocks[-1].splitlines() if blocks else ():
        key, separator, value = line.strip().partition(":")
        if line.strip() == "]":
            levels.pop()
        elif separator and value == "[":
            levels.append(levels[-1].setdefault(key, {}))
        elif separator:
            levels[-1][key] = _plain(value.strip())
        if not levels:
            return {}
    return options


def _plain(text: str) -> Any:
    if text == "None":
        return None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text
