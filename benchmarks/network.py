"""The default network, forward and in training, on compiled ops and on plain PyTorch, beside PReNet; both variants."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn
from torch.library import CustomOpDef, _scoped_library

from benchmarks import harness
from benchmarks.prenet import PReNet
from msgnn_plugin import _extension
from msgnn_plugin.archs import MSGNNArch
from msgnn_plugin.losses import NegSSIMLoss
from msgnn_plugin.ops import patch_aggregate, patch_difference, patch_knn

FORWARD, STEP = (1, 3, 321, 481), (8, 3, 64, 64)
VARIANTS = ("paper", "official")
MODULES = [__import__(op.__module__, fromlist=["_"]) for op in (patch_aggregate, patch_difference, patch_knn)]
OPS = [op for module in MODULES for op in vars(module).values() if isinstance(op, CustomOpDef)]


@contextmanager
def plain_pytorch() -> Iterator[None]:
    """Let the plain-PyTorch bodies run in place of the compiled kernels, and plain modules in place of fused ones."""
    loaded = _extension.LOADED
    with warnings.catch_warnings(), _scoped_library("msgnn_plugin", "IMPL") as library:
        warnings.filterwarnings("ignore", "Warning only once for all operators")
        for op in OPS:
            library.impl(op._name, op._init_fn, "CPU", allow_override=True)
        _extension.LOADED = False
        try:
            yield
        finally:
            _extension.LOADED = loaded


def build(name: str, shape: tuple[int, ...], **settings: object) -> tuple[nn.Module, Tensor, Tensor]:
    """Return a network, rainy images and clean ones (which serve as exemplar too)."""
    torch.manual_seed(0)
    network = PReNet() if name == "PReNet" else MSGNNArch(variant=name, **settings)
    coarse = torch.rand(*shape[:2], shape[2] // 8, shape[3] // 8)
    clean = nn.functional.interpolate(coarse, shape[2:], mode="bicubic").clamp(0, 1)
    rainy = (clean + 0.1 * torch.rand_like(clean)).clamp(0, 1)
    return network.to(memory_format=torch.channels_last), rainy, clean


def run(network: nn.Module, rainy: Tensor, clean: Tensor, train: bool, low: bool, plain: bool) -> None:
    """Run the network once: forward alone, or a training step up to the gradients."""
    images = (rainy,) if isinstance(network, PReNet) else (rainy, clean)
    with plain_pytorch() if plain else nullcontext(), torch.set_grad_enabled(train):
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            derained = network(*images)
        if train:
            network.zero_grad()
            NegSSIMLoss()(derained.float(), clean).backward()


def contenders(shape: tuple[int, ...], train: bool, low: bool) -> list[harness.Contender]:
    """Return PReNet, then both variants with and without the compiled ops."""
    found = [
        harness.Contender("PReNet", partial(build, "PReNet", shape), partial(run, train=train, low=low, plain=False))
    ]
    for name in VARIANTS:
        for plain in (False, True):
            label = f"{name}, plain PyTorch" if plain else f"{name}, compiled ops"
            job = partial(run, train=train, low=low, plain=plain)
            found.append(harness.Contender(label, partial(build, name, shape), job))
    return found


def training_contenders() -> list[harness.Contender]:
    """Return the training step with the settings that change its memory."""
    settings = {
        "default": {},
        "checkpoint": {"checkpoint": True},
        "stride 1": {"stride": 1},
        "stride 1, checkpoint": {"stride": 1, "checkpoint": True},
    }
    job = partial(run, train=True, low=False, plain=False)
    return [harness.Contender(name, partial(build, "paper", STEP, **more), job) for name, more in settings.items()]


if __name__ == "__main__":
    jobs = {
        f"{what}, {'bfloat16' if low else 'float32'}": contenders(shape, train, low)
        for what, shape, train in (("forward", FORWARD, False), ("training step", STEP, True))
        # Emulated, bfloat16 would only show how slow emulation is.
        for low in ((False, True) if torch.cpu._is_avx512_bf16_supported() else (False,))
    }
    jobs["training step, paper, float32"] = training_contenders()
    harness.main("network", jobs, {"forward": FORWARD, "training step": STEP, "window_size": 30}, rounds=5)
