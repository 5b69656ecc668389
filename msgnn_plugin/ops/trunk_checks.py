"""What the trunk's inference-only ops ask of their arguments; each raises one sentence."""

from collections.abc import Sequence

import torch
from torch import Tensor

from msgnn_plugin import _extension
from msgnn_plugin.ops.checks import check_map

VECTOR = 16  # channels that the compiled kernels take at a time


def check_maps(op: str, maps: Sequence[Tensor], **others: Tensor | None) -> None:
    """Raise unless ``maps`` and those of ``others`` that are there are maps of one shape, dtype and device."""
    if len(maps) < 1:
        raise ValueError(f"{op}: `maps` must hold at least one map, got none.")
    named = {f"maps[{number}]": image for number, image in enumerate(maps)}
    named.update((name, image) for name, image in others.items() if image is not None)
    first = maps[0]
    for name, image in named.items():
        check_map(op, name, image)
        if image.shape != first.shape:
            raise ValueError(f"{op}: `{name}` must have shape {tuple(first.shape)}, got {tuple(image.shape)}.")
        check_kind(op, name, image, first)


def check_kind(op: str, name: str, value: Tensor, like: Tensor) -> None:
    """Raise unless ``value`` has the dtype and device of the maps."""
    if value.dtype != like.dtype or value.device != like.device:
        raise TypeError(
            f"{op}: `{name}` must have the dtype and device of the maps, {like.dtype} on {like.device}, "
            f"got {value.dtype} on {value.device}."
        )


def check_parameter(op: str, name: str, value: Tensor, shape: tuple[int, ...], like: Tensor) -> None:
    """Raise unless a weight, bias or gate has this shape and the maps' dtype and device."""
    if tuple(value.shape) != shape:
        raise ValueError(f"{op}: `{name}` must have shape {shape}, got {tuple(value.shape)}.")
    check_kind(op, name, value, like)


def check_inference(op: str, *tensors: Tensor | None) -> None:
    """Raise if a gradient is asked for."""
    if torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors):
        raise RuntimeError(
            f"{op}: no input may require a gradient, since this op is for inference only, but one does; "
            f"call it under torch.no_grad()."
        )


def runs_fused(image: Tensor) -> bool:
    """Whether the inference-only ops are the way to go: compiled, on the CPU, in float32, no gradient asked for.

    Exported programs hold plain operations, which other runtimes know.
    """
    return not torch.is_grad_enabled() and not torch.compiler.is_exporting() and _takes_kernels(image)


def trains_fused(image: Tensor) -> bool:
    """Whether functions with compiled gradients are the way to go: as `runs_fused`, but a gradient is asked for.

    Compiled and exported programs hold plain operations instead, which they can differentiate themselves.
    """
    return torch.is_grad_enabled() and not torch.compiler.is_compiling() and _takes_kernels(image)


def _takes_kernels(image: Tensor) -> bool:
    return (
        _extension.LOADED
        and image.device.type == "cpu"
        and fits_kernels(image)
        and not torch.is_autocast_enabled("cpu")
    )


def fits_kernels(image: Tensor) -> bool:
    """Whether the compiled kernels take such maps; others run in plain PyTorch."""
    return image.dtype == torch.float32 and image.shape[1] % VECTOR == 0
