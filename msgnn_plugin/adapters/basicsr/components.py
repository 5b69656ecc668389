"""What an option section with a `type` may hold: the keywords of the class or function that it names."""

import importlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from msgnn_plugin.adapters.basicsr.option_types import signature_annotations

# BasicSR hands data sets their whole section. These keys are read by its loaders or by most of its data sets.
LOADER_KEYS: dict[str, Any] = {
    "name": str,
    "batch_size_per_gpu": int,
    "num_worker_per_gpu": int,
    "dataset_enlarge_ratio": int,
    "prefetch_mode": Literal["cpu", "cuda"] | None,
    "num_prefetch_queue": int,
    "pin_memory": bool,
    "persistent_workers": bool,
    "io_backend": dict,
    "gt_size": int | None,
}
# BasicSR's own models know the first alone.
OPTIMIZERS = ("Adam", "AdamW")
SCHEDULER_KEYS: dict[str, dict[str, Any]] = {
    "MultiStepLR": {"milestones": list[int], "gamma": float, "restarts": list[int], "restart_weights": list[float]},
    "LinearDecayLR": {"constant": int, "decay": int},
    "CosineAnnealingRestartLR": {"periods": list[int], "restart_weights": list[float], "eta_min": float},
}
SCHEDULER_KEYS["MultiStepRestartLR"] = SCHEDULER_KEYS["MultiStepLR"]
REGISTRIES = {
    "arch": "ARCH_REGISTRY",
    "loss": "LOSS_REGISTRY",
    "metric": "METRIC_REGISTRY",
    "dataset": "DATASET_REGISTRY",
    "model": "MODEL_REGISTRY",
}


@dataclass(frozen=True)
class Component:
    """A section that says by `type` what is built from the rest.

    Args:
        kind: "arch", "loss", "metric", "dataset", "part" (of a mixed data set), "optimizer" or "scheduler".
        extra: Keys that the toolbox takes for itself.
    """

    kind: str
    extra: dict[str, Any] = field(default_factory=dict, hash=False)

    def types(self) -> list[str]:
        """Return the names that `type` may take."""
        if self.kind == "optimizer":
            return list(OPTIMIZERS)
        if self.kind == "part":
            return [name for name, thing in registered("dataset").items() if getattr(thing, "mixable", False)]
        return list(SCHEDULER_KEYS) if self.kind == "scheduler" else list(registered(self.kind))

    def annotations(self, name: str) -> tuple[dict[str, Any], bool]:
        """Return the keywords of one type with their annotations, and whether further ones may pass unchecked."""
        if self.kind == "scheduler":
            return SCHEDULER_KEYS[name], False
        if self.kind == "optimizer":
            keys, _ = signature_annotations(getattr(torch.optim, name), skip=1)
            return keys, False
        if self.kind == "part":
            # What a loader reads, the size of the crops too, is of the whole mixture.
            return {**registered("dataset")[name].option_keys, "share": float}, False
        thing = registered(self.kind)[name]
        if self.kind == "dataset":
            # A data set of BasicSR's form cannot be asked for its keys, unless it lists them as ours does.
            own = getattr(thing, "option_keys", None)
            return {**LOADER_KEYS, **(own or {})}, own is None
        if self.kind == "metric":
            # The two images come from the model; `better` is read by BasicSR's record of best values.
            keys = {key: kind for key, kind in signature_annotations(thing)[0].items() if key not in ("img", "img2")}
            return {**keys, "better": Literal["higher", "lower"]}, False
        return signature_annotations(thing)


def registered(kind: str) -> dict[str, Any]:
    """Return what BasicSR's registry of one kind holds, by name."""
    registry: Iterable = getattr(importlib.import_module("basicsr.utils.registry"), REGISTRIES[kind])
    # BasicSR finds `X_basicsr` under the name `X` too.
    return {name.removesuffix("_basicsr"): thing for name, thing in iter(registry)}
