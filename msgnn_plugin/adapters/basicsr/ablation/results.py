"""Put what the rows' runs left beside the paper's numbers, with what differs between the two said."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from msgnn_plugin.adapters.basicsr.ablation.rows import Row, validation_set
from msgnn_plugin.adapters.basicsr.ablation.settings import decisive_settings, differences, is_place
from msgnn_plugin.adapters.basicsr.components import registered

# Told as a factor, not among the other differences.
_SCHEDULE = (
    *("train.total_iter", "train.scheduler.milestones"),
    *("train.scheduler.constant", "train.scheduler.decay"),
)
# BasicSR writes the number of training pictures into its log alone.
_TRAIN_PAIRS = re.compile(r"Number of train images: (\d+)")


def collect(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return one table for each `ablation.table`, in the order of the rows, as plain data.

    A table holds ``table``, ``rows`` and ``remarks`` (what holds for all finished rows). A row holds ``row``, ``file``,
    ``status`` ("finished", "unfinished" or "missing"), ``paper`` and ``ours`` (numbers by name, parameters as
    ``params``; ``ours`` is empty unless finished), ``differs`` ({option: [file, run]}) and ``remarks`` of its own.

    Raises:
        ValueError: If a run's files are damaged.
    """
    tables: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        tables.setdefault(row.options["ablation"]["table"], []).append(_collect_row(row))
    return [_with_common_remarks(name, content) for name, content in tables.items()]


def _collect_row(row: Row) -> dict[str, Any]:
    ablation = row.options["ablation"]
    result: dict[str, Any] = {
        "row": ablation["row"],
        "file": os.path.relpath(row.file.resolve(), row.root),
        "status": "missing",
        "paper": ablation.get("paper") or {},
        "ours": {},
        "differs": {},
        "remarks": [ablation["note"]] if ablation.get("note") else [],
    }
    run = row.run
    options = run.options()
    if options is None:
        return result
    changed = differences(decisive_settings(row.options, row.root), decisive_settings(options, row.root))
    result["differs"] = {key: [_shown(key, value, row.root) for value in pair] for key, pair in changed.items()}
    if not run.finished():
        result["status"] = "unfinished"
        result["remarks"].append(
            f"stopped or running at iteration {run.iteration():,} of {options['train']['total_iter']:,}"
        )
        return result
    means, images = run.measured()
    result["status"] = "finished"
    result["ours"] = {"params": _count_parameters(options["network_g"]), **means}
    result["remarks"] += [
        _training(row, options),
        _measurement(row, options, means, images),
        *_other_differences(row, changed),
    ]
    return result


def _training(row: Row, options: dict[str, Any]) -> str:
    wanted, own = options["train"]["total_iter"], row.options["train"]["total_iter"]
    factor = "" if wanted == own else f" of {own:,} (schedule x {wanted / own:.4g})"
    return f"Trained for {wanted:,}{factor} iterations{_of_pairs(row)}."


def _measurement(row: Row, options: dict[str, Any], means: dict[str, float], images: int) -> str:
    name = validation_set(options)
    # The whole number is that of the file's own set.
    whole = row.options["ablation"].get("test_images") if name == validation_set(row.options) else None
    of_all = f" of {whole:,}" if whole not in (None, images) else ""
    rainy = [f"{means[key]:.{digits}f}" for key, digits in (("input_psnr", 2), ("input_ssim", 4)) if key in means]
    sentence = f"Measured on {images:,}{of_all} pictures of {name} after the last iteration"
    return sentence + (f"; the rainy input has {' / '.join(rainy)}." if rainy else ".")


def _other_differences(row: Row, changed: dict[str, tuple[Any, Any]]) -> list[str]:
    """Say which settings differ, apart from a schedule that is shorter or longer as a whole: that is told above."""
    own, wanted = changed.get("train.total_iter", (1, 1))
    told = {key for key, pair in changed.items() if key in _SCHEDULE and _scaled_by(wanted / own, *pair)}
    others = [
        f"{key} {_shown(key, old, row.root)} -> {_shown(key, new, row.root)}"
        for key, (old, new) in changed.items()
        if key not in told
    ]
    return [f"Differs from the option file: {'; '.join(others)}."] if others else []


def _scaled_by(factor: float, old: Any, new: Any) -> bool:
    old, new = ([counts] if isinstance(counts, int) else counts for counts in (old, new))
    return len(old) == len(new) and all(abs(one * factor - other) <= 1 for one, other in zip(old, new, strict=True))


def _of_pairs(row: Row) -> str:
    whole = row.options["ablation"].get("train_pairs")
    found: list[str] = []
    for log in sorted(row.folder.glob("train_*.log"), key=lambda path: path.stat().st_mtime):
        found += _TRAIN_PAIRS.findall(log.read_text(encoding="utf-8", errors="replace"))
    if not found:
        return ""
    pairs = int(found[-1])
    return f" on {pairs:,}" + (f" of {whole:,}" if whole not in (None, pairs) else "") + " pairs"


def _count_parameters(network: dict[str, Any]) -> int:
    settings = dict(network)
    built: nn.Module = registered("arch")[settings.pop("type")](**settings)
    return sum(parameter.numel() for parameter in built.parameters())


def _shown(key: str, value: Any, root: Path) -> str:
    if value is None:
        return "nothing"
    # A path of one machine says nothing on another one.
    return os.path.relpath(value, root) if is_place(key) else str(value)


def _with_common_remarks(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Move the remarks that all finished rows share to the table."""
    finished = [row for row in rows if row["status"] == "finished"]
    shared = set.intersection(*(set(row["remarks"]) for row in finished)) if finished else set()
    common = [remark for remark in finished[0]["remarks"] if remark in shared] if finished else []
    for row in finished:
        row["remarks"] = [remark for remark in row["remarks"] if remark not in common]
    return {"table": name, "rows": rows, "remarks": common}
