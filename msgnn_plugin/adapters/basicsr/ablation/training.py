"""Train a row of an ablation table by the toolbox's own pipeline, in a process of its own."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgnn_plugin.adapters.basicsr.ablation.rows import Row
from msgnn_plugin.adapters.basicsr.ablation.settings import decisive_settings, differences
from msgnn_plugin.adapters.basicsr.options import plan_options
from msgnn_plugin.data.lock import sole_use

# What is counted in iterations. `logger.print_freq` stays: a short run wants no more lines.
SCHEDULE = (
    *("train.total_iter", "train.warmup_iter", "train.scheduler.milestones", "train.scheduler.periods"),
    *("train.scheduler.constant", "train.scheduler.decay"),
    *("train.scheduler.restarts", "train.balancing.freq", "val.val_freq", "logger.save_checkpoint_freq"),
)


def scaled_schedule(options: dict[str, Any], factor: float) -> list[str]:
    """Return ``KEY:KEY=VALUE`` entries that multiply a file's schedule, each count rounded and at least 1.

    Args:
        options: The file's options.
        factor: What to multiply by; 1 gives no entries.
    """
    entries = []
    for key in SCHEDULE if factor != 1 else ():
        value: Any = options
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        # A negative warm-up stands for none.
        if value is None or (isinstance(value, int) and value <= 0):
            continue
        scaled = [_scale(item, factor) for item in value] if isinstance(value, list) else _scale(value, factor)
        entries.append(f"{key.replace('.', ':')}={json.dumps(scaled)}")
    return entries


class SettingsChangedError(ValueError):
    """A run was begun with other settings than it is to go on with, or two rows that differ would share one."""


def check_rows(rows: Sequence[Row], forced: Mapping[Path, Sequence[str]]) -> dict[Path, Exception]:
    """See that rows can be trained with these options, and that what lies in their folders ran with the same.

    Args:
        rows: The rows.
        forced: ``KEY:KEY=VALUE`` entries of each row, by its file.

    Returns:
        What is wrong with a row's options, data or weights, by its file.

    Raises:
        SettingsChangedError: If a folder holds a run with other options, or two rows of one name differ.
    """
    failed: dict[Path, Exception] = {}
    runs: dict[Path, tuple[str, dict[str, Any]]] = {}
    for row in rows:
        try:
            planned = decisive_settings(plan_options(row.file, list(forced[row.file]), row.root), row.root)
            before = row.run.settings()
        except (ValueError, TypeError, OSError) as error:
            failed[row.file] = error
            continue
        if before is not None:
            where = f"in the run that lies in {row.folder}"
            _require_same(before, planned, row, where, "Keep the settings to go on with it, or give another `--out`.")
        file, settings = runs.setdefault(row.folder, (str(row.file), planned))
        _require_same(settings, planned, row, f"in {file}, which has the same `name`", "Give each a name of its own.")
    return failed


def _require_same(before: dict[str, Any], planned: dict[str, Any], row: Row, where: str, remedy: str) -> None:
    for key, (old, new) in differences(before, planned).items():
        raise SettingsChangedError(f"{row.file}: `{key}` must be {_text(old)} as {where}, got {_text(new)}. {remedy}")


def train_row(row: Row, forced: Sequence[str]) -> None:
    """Train a row from where it stands to its end.

    Args:
        row: The row.
        forced: ``KEY:KEY=VALUE`` entries.

    Raises:
        RuntimeError: If it fails, with the last line that it printed.
        BlockingIOError: If another process is training it.
    """
    command = [sys.executable, "-m", "msgnn_plugin.cli", "train", "-opt", str(row.file), "--auto_resume"]
    command += ["--force_yml", *forced] if forced else []
    last = ""
    file = row.folder.parent / f".{row.folder.name}.lock"
    with sole_use(file, f"{row.folder}: another process is training here; wait for it or end it.") as lock:
        # The lock goes along: it stays where this process is killed and the training, for a while, is not.
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", pass_fds=(lock,)
        )
        try:
            for line in process.stdout:
                sys.stderr.write(line)
                last = line.strip() or last
            process.wait()
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if process.returncode:
        last = last.removeprefix("basicsr train: error: ")
        raise RuntimeError(last if process.returncode > 0 else f"killed by signal {-process.returncode}; {last}")


def _scale(count: int, factor: float) -> int:
    return max(1, round(count * factor))


def _text(value: Any) -> str:
    return "nothing" if value is None else str(value)
