"""Write an exported program as ONNX, and run such a file."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import onnx
import onnxruntime
import torch
from onnx import inliner
from torch import Tensor
from torch.export import ExportedProgram

from msgnn_plugin.exporting.onnx_ops import TRANSLATIONS
from msgnn_plugin.exporting.program import OUTPUT

SEARCH = "Scan"  # the one operator of a search that nothing else uses


def write_onnx(program: ExportedProgram, names: Sequence[str], path: Path) -> None:
    """Write a program as one ONNX file, weights inside.

    Args:
        program: What `trace` gave.
        names: Names of its inputs; their sides are named ``height`` and ``width``, with NAME_ in front from the second
            input on.
        path: The file.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Runtimes optimise by themselves; torch's optimiser would take ten times as long as everything else.
        written = torch.onnx.export(
            program,
            input_names=list(names),
            output_names=[OUTPUT],
            custom_translation_table=TRANSLATIONS,
            optimize=False,
            verbose=False,
        )
    model = inliner.inline_local_functions(written.model_proto)
    del model.graph.value_info[:]
    _name_sides(model)
    model.producer_name = "msgnn_plugin"
    onnx.save(model, path)


def _name_sides(model: onnx.ModelProto) -> None:
    named = {}
    for number, value in enumerate(model.graph.input):
        prefix = f"{value.name}_" if number else ""
        for side, dimension in zip(("height", "width"), value.type.tensor_type.shape.dim[2:], strict=True):
            named[dimension.dim_param] = dimension.dim_param = prefix + side
    for dimension in model.graph.output[0].type.tensor_type.shape.dim[2:]:
        dimension.dim_param = named.get(dimension.dim_param, "")


class OnnxRunner:
    """Run an ONNX file on the CPU.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        model = onnx.load(path)
        onnx.checker.check_model(model)
        found = [node.output[0] for node in model.graph.node if node.op_type == SEARCH]
        # What the searches found becomes a result too, in memory alone.
        model.graph.output.extend(
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT64, None) for name in found
        )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = torch.get_num_threads()
        self.session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, *pictures: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the derained picture and the neighbours (1, M, K) of every search, in the order of the graphs."""
        names = [value.name for value in self.session.get_inputs()]
        inputs = {name: picture.numpy() for name, picture in zip(names, pictures, strict=True)}
        derained, *found = map(torch.from_numpy, self.session.run(None, inputs))
        return derained, [each.flatten(0, 1)[None] for each in found]
