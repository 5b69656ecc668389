"""What `benchmarks.deraining` sets side by side: nothing, PReNet and ours, each run as its own test would run it."""

import inspect
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.harness import Contender, fresh_process_memory
from benchmarks.prenet import load_prenet
from msgnn_plugin.archs import from_state_dict, load_weights
from msgnn_plugin.data.exemplar_bank import ExemplarBank
from msgnn_plugin.tiling import Tiling, derain

# Takes a rainy image and an exemplar, (1, 3, H, W), RGB in [0, 1]; gives the derained one.
Derain = Callable[[Tensor, Tensor], Tensor]
CORNER = 64


@dataclass(frozen=True)
class Method:
    """One column of strips, one row of tables.

    Attributes:
        name: What tables call it.
        load: Makes it ready; None for the rainy input as it is. Goes to a fresh process by name.
        file: Its weights.
    """

    name: str
    load: Callable[[], Derain] | None = None
    file: Path | None = None


def peer(label: str, path: Path) -> Method:
    """Return PReNet with released weights."""
    return Method(f"PReNet, {label}", partial(_load_peer, path), path)


def ours(label: str, path: Path, policy: str) -> Method:
    """Return a network of ours, with exemplars as a test set's ``exemplar: policy`` gives them in option files."""
    return Method(f"ours, {label}", partial(_load_ours, path, policy), path)


def _load_peer(path: Path) -> Derain:
    network = load_prenet(path).to(memory_format=torch.channels_last)
    return lambda rainy, exemplar: network(rainy)


def _load_ours(path: Path, policy: str) -> Derain:
    network = from_state_dict(load_weights(path)).to(memory_format=torch.channels_last).eval()
    bank = ExemplarBank.of(network) if policy == "retrieved" else None
    takes_exemplar = "exemplar" in inspect.signature(network.forward).parameters

    def run(rainy: Tensor, exemplar: Tensor) -> Tensor:
        if bank is not None:
            exemplar = bank.nearest(rainy)
        return derain(network, rainy, exemplar if takes_exemplar else None, Tiling())

    return run


@torch.inference_mode()
def warm_up(runs: Iterable[Derain], rainy: Tensor) -> None:
    """Run each once on a corner of a picture, so that no picture pays for what happens once."""
    corner = rainy[..., :CORNER, :CORNER]
    for run in runs:
        run(corner, corner)


@torch.inference_mode()
def timed(run: Derain, rainy: Tensor, exemplar: Tensor) -> tuple[Tensor, float]:
    """Return the derained image and the seconds of wall time that it took, an exemplar's choice included."""
    start = time.perf_counter()
    derained = run(rainy, exemplar)
    return derained, time.perf_counter() - start


def peak_memory(method: Method, rainy: Tensor, exemplar: Tensor) -> float:
    """Return the peak of the resident set of a fresh process that derains one picture, in MiB, PyTorch included."""
    prepare = partial(_prepare, method, rainy.numpy(), exemplar.numpy())
    return fresh_process_memory(Contender(method.name, prepare, timed))[0]


def _prepare(method: Method, *images: NDArray[np.float32]) -> tuple:
    return method.load(), *map(torch.from_numpy, images)
