"""mmengine resumes from the path noted in `last_checkpoint`, also where that is empty or the folder was moved."""

import re
from pathlib import Path

from mmengine.runner import runner as runner_module

from msgnn_plugin.adapters.basicsr.compat.inspection import source_contains

MENDS = "resuming after a kill that left an empty note, or in a folder that was moved"
NAME = re.compile(r"(?:iter|epoch)_(\d+)\.pth")


def needed() -> bool:
    """Whether the published function returns the note unseen."""
    return not source_contains(runner_module.find_latest_checkpoint, "isfile")


def apply() -> None:
    """Replace the name that the Runner calls."""
    runner_module.find_latest_checkpoint = find_latest_checkpoint


def find_latest_checkpoint(path: str) -> str | None:
    """Return the checkpoint to go on from: the one noted if it is there, else the newest in the folder, or None.

    Args:
        path: The run's ``work_dir``.
    """
    folder = Path(path)
    note = folder / "last_checkpoint"
    noted = note.read_text().strip() if note.is_file() else ""
    if noted:
        for candidate in (Path(noted), folder / Path(noted).name):
            if candidate.is_file():
                return str(candidate)
    numbered = {int(match[1]): file for file in folder.glob("*.pth") if (match := NAME.fullmatch(file.name))}
    return str(numbered[max(numbered)]) if numbered else None
