"""Move the Transposes that tf2onnx leaves after the preprocessing up to the image.

TensorFlow computes in NHWC, ONNX in NCHW. Transposes that tf2onnx cannot cancel stay before the first convolution,
where a pixel is three floats. Before the preprocessing a pixel is three bytes, and several such Transposes become one.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
from onnx import helper, numpy_helper

TO_NCHW = [0, 3, 1, 2]

_ONE_TO_ONE = {"Cast", "Identity", "Relu", "Neg", "Abs", "Clip", "Sqrt", "Exp", "Tanh", "Sigmoid", "LeakyRelu"}
_TWO_TO_ONE = {"Add", "Sub", "Mul", "Div", "Max", "Min"}


def lift_input_transposes(graph: onnx.GraphProto) -> None:
    """Swap each Transpose to NCHW with the pointwise nodes before it, up to the image, and merge equal ones."""
    while _merge(graph) or _lift_one(graph):
        pass


def _is_to_nchw(node: onnx.NodeProto) -> bool:
    return node.op_type == "Transpose" and [list(a.ints) for a in node.attribute] == [TO_NCHW]


def _merge(graph: onnx.GraphProto) -> bool:
    """Remove one Transpose that repeats another; return whether there was one."""
    first: dict[str, onnx.NodeProto] = {}
    outputs = {output.name for output in graph.output}
    for node in graph.node:
        if not _is_to_nchw(node):
            continue
        kept = first.setdefault(node.input[0], node)
        if kept is not node and node.output[0] not in outputs:
            _rename_reads(graph, node.output[0], kept.output[0])
            graph.node.remove(node)
            return True
    return False


def _lift_one(graph: onnx.GraphProto) -> bool:
    makers = {name: node for node in graph.node for name in node.output}
    reads = Counter(name for node in graph.node for name in node.input)
    reads.update(output.name for output in graph.output)
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        before = makers.get(node.input[0]) if _is_to_nchw(node) else None
        if before is not None and reads[node.input[0]] == 1 and _swap(graph, node, before, constants):
            return True
    return False


def _swap(
    graph: onnx.GraphProto, transpose: onnx.NodeProto, before: onnx.NodeProto, constants: dict[str, onnx.TensorProto]
) -> bool:
    """Move a Transpose before the node that feeds it: ``T(f(x))`` becomes ``f(T(x))``. Return False if impossible."""
    varying = [index for index, name in enumerate(before.input) if name not in constants]
    if len(varying) != 1:
        return False
    if before.op_type in _TWO_TO_ONE:
        other = 1 - varying[0]
        values = numpy_helper.to_array(constants[before.input[other]])
        if values.ndim > 4:
            return False
        turned = values.reshape((1,) * (4 - values.ndim) + values.shape).transpose(TO_NCHW)
        name = before.input[other] if values.size == 1 else f"{before.input[other]}_nchw"
        if name not in constants:
            graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(turned), name))
        before.input[other] = name
    elif before.op_type == "Gather" and varying == [0]:
        axis = next((attribute for attribute in before.attribute if attribute.name == "axis"), None)
        if axis is None or len(constants[before.input[1]].dims) != 1:
            return False
        axis.i = TO_NCHW.index(axis.i % 4)
    elif before.op_type not in _ONE_TO_ONE:
        return False
    source, inner, result = before.input[varying[0]], f"{transpose.output[0]}_lifted", transpose.output[0]
    moved = helper.make_node("Transpose", [source], [inner], f"{before.name}_nchw", perm=TO_NCHW)
    before.input[varying[0]] = inner
    before.output[0] = result
    position = next(index for index, node in enumerate(graph.node) if node is before or node == before)
    graph.node.remove(transpose)
    graph.node.insert(position, moved)
    return True


def _rename_reads(graph: onnx.GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
