"""Cancel inverse Transposes: a tap inside an NHWC model is transposed for the output and back for the next layer."""

from __future__ import annotations

import onnx
from onnx import helper


def cancel_inverse_transposes(graph: onnx.GraphProto) -> None:
    """Where a tensor is transposed and then transposed back, let the readers use the original tensor."""
    makers = {name: node for node in graph.node for name in node.output}
    outputs = {output.name for output in graph.output}
    for node in list(graph.node):
        before = makers.get(node.input[0]) if node.op_type == "Transpose" else None
        if before is None or before.op_type != "Transpose" or node.output[0] in outputs:
            continue
        if [_axes(before)[axis] for axis in _axes(node)] == sorted(_axes(node)):
            for reader in graph.node:
                reader.input[:] = [before.input[0] if name == node.output[0] else name for name in reader.input]
            graph.node.remove(node)


def _axes(node: onnx.NodeProto) -> list[int]:
    return list(helper.get_attribute_value(node.attribute[0]))
