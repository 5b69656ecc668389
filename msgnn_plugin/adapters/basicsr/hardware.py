"""What a run computes on, in words."""

import os
import platform
import re
from pathlib import Path

import torch


def cpu_model() -> str:
    """Return the processor's name as the system gives it."""
    table = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", table.read_text(), re.MULTILINE) if table.exists() else None
    return found[1].strip() if found else platform.processor() or platform.machine()


def describe_hardware(device: torch.device | None = None) -> str:
    """Return the processor with its cores and torch's threads, behind the GPU where ``device`` is one."""
    processor = f"{cpu_model()}, {_count(os.cpu_count(), 'core')}, {_count(torch.get_num_threads(), 'thread')}"
    if device is None or device.type != "cuda":
        return processor
    return f"{torch.cuda.get_device_name(device)} with {processor}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
