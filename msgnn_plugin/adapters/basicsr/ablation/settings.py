"""What decides about a run's numbers, and how two sets of options differ in it."""

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from msgnn_plugin.adapters.basicsr.places import DATA_KEYS, data_candidates

# What a run may change from start to start without another result: names, machine, speed, what is printed and kept.
INDIFFERENT = (
    *("name", "num_gpu", "dist_params.*", "find_unused_parameters", "logger.*", "ablation.*"),
    *("path.resume_state", "path.*_root", "path.log", "path.models", "path.training_states", "path.visualization"),
    "network_g.checkpoint",
    *("val.val_freq", "val.save_img", "val.suffix", "val.pbar", "val.compare", "val.save_best"),
    *("datasets.*.name", "datasets.*.num_worker_per_gpu", "datasets.*.prefetch_mode", "datasets.*.num_prefetch_queue"),
    *("datasets.*.pin_memory", "datasets.*.persistent_workers"),
)


def decisive_settings(opt: dict[str, Any], root: Path) -> dict[str, Any]:
    """Return every setting that the result depends on, by dotted key.

    A key that holds nothing counts as one that is not there. Paths are given where they lead, relative ones
    below ``root`` or the working directory.
    """
    settings = {}
    for key, value in _flat(opt, ""):
        if value is None or any(fnmatchcase(key, pattern) for pattern in INDIFFERENT):
            continue
        if is_place(key):
            candidates = data_candidates(value, root)
            value = str(next((place for place in candidates if place.exists()), candidates[0]).resolve())
        settings[key] = value
    return settings


def differences(one: dict[str, Any], other: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return {key: (value in one, value in other)} where two results of `decisive_settings` differ; None for absent."""
    pairs = {key: (one.get(key), other.get(key)) for key in dict.fromkeys((*one, *other))}
    return {key: (first, second) for key, (first, second) in pairs.items() if first != second}


def is_place(key: str) -> bool:
    """Whether a dotted key holds a path."""
    return key.rpartition(".")[2] in DATA_KEYS or key.startswith("path.pretrain_network_")


def _flat(section: dict[str, Any], prefix: str) -> list[tuple[str, Any]]:
    items = []
    for key, value in section.items():
        items += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, value)]
    return items
