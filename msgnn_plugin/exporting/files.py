"""Write a network as a program, and see that the file gives what the network gives."""

import copy
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from msgnn_plugin.data.atomic import atomic_path
from msgnn_plugin.exporting.agreement import Agreement, Program, Searches, compare
from msgnn_plugin.exporting.program import input_names, trace


def export_network(
    network: nn.Module, path: str | Path, *, kind: Literal["onnx", "pt2"], exemplar_input: bool = False
) -> Agreement:
    """Write a network as ONNX or as `torch.export` saves programs; the file appears whole and checked, or not at all.

    Programs take one picture at a time, float32 (1, 3, H, W), RGB with range [0, 1], on the CPU or what their runtime
    supports, and return the derained one, not clipped.

    Args:
        network: An arch that derains.
        path: The file; an older one is replaced.
        kind: "onnx": needs the extra ``[export]``, and nothing of this package where it is run. "pt2": MSGNN's asks
            for ``import msgnn_plugin.ops`` where it is loaded.
        exemplar_input: Whether the program takes an exemplar (1, 3, h, w) as its second input. Without, MSGNN searches
            the first of its bank, or where that is empty the picture itself.

    Returns:
        How program and network agree.

    Raises:
        ValueError: If an exemplar is asked for that the network would not look at.
        ImportError: If the packages of ONNX are missing.
        RuntimeError: If the network cannot be exported, or the program gives something else.
    """
    network = copy.deepcopy(network).cpu().float().eval().requires_grad_(False)
    names = input_names(network, exemplar_input)
    write, read = _onnx_functions() if kind == "onnx" else (_write_pt2, _read_pt2)
    with atomic_path(path) as temporary:
        try:
            write(trace(network, exemplar_input), names, temporary)
            agreement = compare(network, read(temporary), len(names))
        except Exception as error:  # torch's exporters raise classes of their own, with pages of text
            reason = " ".join(str(error).split())[:200]
            raise RuntimeError(
                f"export: {type(network).__name__} cannot be written as {kind} by torch {torch.__version__}, "
                f"got {type(error).__name__}: {reason}"
            ) from error
        agreement.require(str(path))
    return agreement


def _onnx_functions() -> tuple:
    try:
        from msgnn_plugin.exporting.onnx_file import OnnxRunner, write_onnx
    except ImportError as error:
        raise ImportError(
            "export: .onnx files need the packages onnx, onnxruntime and onnxscript, got: "
            f'{error}; `pip install "msgnn_plugin[export]"`.'
        ) from error
    return write_onnx, OnnxRunner


def _write_pt2(program: torch.export.ExportedProgram, names: list[str], path: Path) -> None:
    with open(path, "wb") as file:
        torch.export.save(program, file)


def _read_pt2(path: Path) -> Program:
    with open(path, "rb") as file:
        module = torch.export.load(file).module()

    def run(*pictures: Tensor) -> tuple[Tensor, list[Tensor]]:
        with Searches() as searches:
            return module(*pictures), searches.found

    return run
