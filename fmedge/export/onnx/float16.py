"""Convert an ONNX model from float32 to float16."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fmedge.errors import ParityError, UsageError
from fmedge.model.submodel import MAX_FLOAT16

RECIPE = {
    "weights": "float16",
    "arithmetic": "float16 from the first convolution on; an engine without float16 kernels, such as ONNX Runtime on "
    "the CPU, computes in float32",
    "preprocessing and outputs": "float32",
}


def to_float16(model: onnx.ModelProto) -> None:
    """Convert everything from the first convolution on to float16, in place; inputs and outputs stay as declared.

    Args:
        model: Float32 throughout; its first Conv reads the preprocessed image.

    Raises:
        ParityError: A weight is too large for float16.
        UsageError: The model has no Conv.
    """
    graph = model.graph
    first = next((index for index, node in enumerate(graph.node) if node.op_type == "Conv"), None)
    if first is None:
        raise UsageError("There is no convolution to compute in float16.", hint="Use --precision fp32.")
    entry = graph.node[first].input[0]
    _convert_weights(graph, first)
    for node in graph.node[first:]:
        node.input[:] = ["image_half" if name == entry else name for name in node.input]
    graph.node.insert(first, helper.make_node("Cast", [entry], ["image_half"], "image_half", to=TensorProto.FLOAT16))
    for output in graph.output:
        inner = f"{output.name}_half"
        for node in graph.node:
            for names in (node.input, node.output):
                names[:] = [inner if name == output.name else name for name in names]
        graph.node.append(
            helper.make_node("Cast", [inner], [output.name], f"{output.name}_float", to=TensorProto.FLOAT)
        )


_FLOAT_BEHIND = {"Resize": 1}
"""Operators with inputs that ONNX requires in float32 in any case, and how many other inputs come before those."""


def _convert_weights(graph: onnx.GraphProto, first: int) -> None:
    used = {name for node in graph.node[first:] for name in node.input[: _FLOAT_BEHIND.get(node.op_type)]}
    before = {name for node in graph.node[:first] for name in node.input}
    for tensor in list(graph.initializer):
        if tensor.name in used and tensor.data_type == TensorProto.FLOAT:
            values = numpy_helper.to_array(tensor)
            if np.abs(values).max(initial=0.0) > MAX_FLOAT16:
                raise ParityError(
                    f"'{tensor.name}' holds values too large for float16, which ends at {MAX_FLOAT16:,.0f}.",
                    hint="Use --precision fp32.",
                )
            if tensor.name in before:  # the float32 part uses it too
                shared, tensor = tensor.name, graph.initializer.add(name=f"{tensor.name}_half")
                for node in graph.node[first:]:
                    node.input[:] = [tensor.name if name == shared else name for name in node.input]
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), tensor.name))
