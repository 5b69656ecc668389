"""BasicSR looks for states below the working directory, needs a GPU to read them, and takes the newest unseen."""

import importlib
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from msgnn_plugin.adapters.basicsr.checkpoints import networks_beside, newest_checkpoint, remove_leftovers
from msgnn_plugin.adapters.basicsr.compat.inspection import source_contains
from msgnn_plugin.archs import load_weights

MENDS = "resume without a GPU, from any working directory, from the newest state that is whole"


def needed() -> bool:
    """Whether the published function asks for the current GPU."""
    return source_contains(importlib.import_module("basicsr.train").load_resume_state, "torch.cuda.current_device()")


def apply() -> None:
    """Replace the function."""
    importlib.import_module("basicsr.train").load_resume_state = load_resume_state


def load_resume_state(opt: dict[str, Any]) -> dict[str, Any] | None:
    """Find and read the state to go on from, and write into ``opt`` what depends on it.

    Args:
        opt: The parsed options. ``path.resume_state`` and ``path.pretrain_network_*`` are set, and
            ``datasets.train.start_iteration``, which the sampler reads.

    Returns:
        The state, on the CPU, or None to start anew.

    Raises:
        ValueError: If a state was asked for and cannot be read, or states lie there and none is whole.
    """
    path = _same_everywhere(_find(opt))
    if path is None:
        return None
    state = load_weights(path)
    if not isinstance(state, dict) or "iter" not in state:
        raise ValueError(f"{path}: not a training state of BasicSR.")
    opt["path"]["resume_state"] = str(path)
    importlib.import_module("basicsr.train").check_resume(opt, state["iter"])
    for label, network in networks_beside(path, state["iter"]).items():
        opt["path"][f"pretrain_network_{label}"] = str(network)
    opt["datasets"]["train"]["start_iteration"] = state["iter"]
    # BasicSR makes the folders only when it starts anew; a state of another experiment may be the first one here.
    for key in ("experiments_root", "models", "training_states", "log", "visualization"):
        Path(opt["path"][key]).mkdir(parents=True, exist_ok=True)
    return state


def _find(opt: dict[str, Any]) -> str | None:
    """Return the state's path; only the first process looks, so that all of them agree."""
    if opt["rank"] != 0:
        return None
    if opt["auto_resume"]:
        for key in ("models", "training_states"):
            remove_leftovers(opt["path"][key])
        found = newest_checkpoint(opt["path"]["training_states"])
        if found is not None:
            return str(found)
    explicit = opt["path"].get("resume_state")
    if explicit and not Path(explicit).is_file():
        raise ValueError(
            f"`path.resume_state` must be a training state (ITERATION.state), got {explicit}, which is no file."
        )
    return explicit or None


def _same_everywhere(path: str | None) -> str | None:
    if not (dist.is_available() and dist.is_initialized()):
        return path
    device = torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else None
    holder = [path]
    dist.broadcast_object_list(holder, src=0, device=device)
    return holder[0]
