"""BasicSR's start of distributed training divides by the number of GPUs and knows only NCCL."""

import gc
import importlib
import os
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from msgnn_plugin.adapters.basicsr.compat.inspection import source_contains

MENDS = "distributed training on machines without a GPU, and torchrun's LOCAL_RANK"
# The other processes wait while the first one validates on whole pictures, which takes longer than torch's own limits.
TIMEOUT = timedelta(hours=6)
# None of them works before all have met, so a process that never comes is told of sooner.
JOIN_TIMEOUT = timedelta(minutes=10)


def needed() -> bool:
    """Whether the published function asks for a GPU first."""
    return source_contains(importlib.import_module("basicsr.utils.dist_util")._init_dist_pytorch, "rank % num_gpus")


def apply() -> None:
    """Replace the launcher's pytorch branch; slurm sets the environment and then takes the same way."""
    dist_util = importlib.import_module("basicsr.utils.dist_util")
    dist_util.init_dist = start
    importlib.import_module("basicsr.utils.options").init_dist = start


def start(launcher: str, backend: str | None = None, port: int | None = None) -> None:
    """Join the process group.

    Args:
        launcher: "pytorch" (torchrun) or "slurm".
        backend: None means NCCL where every process of this machine has a GPU of its own, else gloo.
        port: slurm only, the first node's port; None means ``MASTER_PORT``, else 29500.

    Raises:
        ValueError: If the launcher is unknown or its environment variables are missing.
        ConnectionError: If the processes do not find each other within ``JOIN_TIMEOUT``.
    """
    if launcher == "slurm":
        _read_slurm(port)
    elif launcher != "pytorch":
        raise ValueError(f"init_dist: `launcher` must be pytorch or slurm, got {launcher}.")
    if "RANK" not in os.environ:
        raise ValueError(
            "init_dist: `--launcher pytorch` must be started by torchrun, got no RANK in the environment. "
            "Run `torchrun --nproc_per_node 2 -m msgnn_plugin.cli train -opt FILE --launcher pytorch`."
        )
    gpus = torch.cuda.device_count()
    if gpus:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", os.environ["RANK"])) % gpus)
    if backend is None:
        backend = "nccl" if 0 < int(os.environ.get("LOCAL_WORLD_SIZE", 1)) <= gpus else "gloo"
    store, rank, world_size = _meet()
    dist.init_process_group(backend=backend, store=store, rank=rank, world_size=world_size, timeout=TIMEOUT)


def joined() -> bool:
    """Return whether this process is in a process group."""
    return dist.is_available() and dist.is_initialized()


def leave() -> None:
    """Leave the process group, if there is one; nothing wrapped by `DistributedDataParallel` may be in use any more."""
    if not joined():
        return
    # A wrapper that outlives the group takes it along when it goes itself, and there torch 2.13 can stand still: it
    # waits, with Python's lock in hand, for threads of the group that want this lock.
    gc.collect()
    dist.destroy_process_group()


def _meet() -> tuple[dist.Store, int, int]:
    """Return the store that all processes have reached, this one's rank and their number."""
    try:
        store, rank, world_size = next(dist.rendezvous("env://", timeout=JOIN_TIMEOUT))
    except dist.DistError as error:
        place = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        raise ConnectionError(
            f"init_dist: all {os.environ.get('WORLD_SIZE')} processes must meet at {place} within "
            f"{JOIN_TIMEOUT.total_seconds():g} seconds, got {error} Start them all, or choose another port."
        ) from error
    # Whoever comes first to a later meeting waits as long as in any other exchange.
    store.set_timeout(TIMEOUT)
    return store, rank, world_size


def _read_slurm(port: int | None) -> None:
    """Put what slurm tells about this process where torch looks for it."""
    missing = [name for name in ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_NODELIST") if name not in os.environ]
    if missing:
        raise ValueError(f"init_dist: `--launcher slurm` must run inside srun, got no {missing[0]} in the environment.")
    environment: dict[str, Any] = {
        "RANK": os.environ["SLURM_PROCID"],
        "WORLD_SIZE": os.environ["SLURM_NTASKS"],
        "LOCAL_RANK": os.environ.get("SLURM_LOCALID", "0"),
        "LOCAL_WORLD_SIZE": os.environ.get("SLURM_NTASKS_PER_NODE", "1"),
        "MASTER_ADDR": _first_host(os.environ["SLURM_NODELIST"]),
        "MASTER_PORT": str(port) if port is not None else os.environ.get("MASTER_PORT", "29500"),
    }
    os.environ.update(environment)


def _first_host(nodes: str) -> str:
    """Return the first host of slurm's list, whose forms are ``a``, ``a,b`` and ``a[03-07,9],b``."""
    name, bracket, rest = nodes.partition("[")
    if not bracket or "," in name:
        return nodes.partition(",")[0]
    first = rest.partition("]")[0].partition(",")[0].partition("-")[0]
    return name + first
