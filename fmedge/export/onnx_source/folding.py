"""Work out the constants of an ONNX graph: what depends on constants alone, and sizes that are known."""
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import onnx
from onnx import NodeProto, TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from fmedge.export.onnx_source.evaluator import EVALUATOR_ERRORS

Shape = tuple[int | None, ...]
"""The extents of a tensor; None stands for an open one."""


def fold_shapes(graph: onnx.GraphProto, shapes: Mapping[str, Shape]) -> None:
    """Replace operators that ask for extents that are known by these, in place.

    Args:
        graph: The graph.
        shapes: Shapes of tensors; None stands for an extent that is open.
    """
    asked = {node.output[0]: shapes.get(node.input[0]) for node in graph.node if node.op_type == "Shape"}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    kept = list[NodeProto]()
    for node in graph.node:
        whole = asked.get(node.output[0] if node.op_type == "Shape" else node.input[0] if node.input else "")
        extents = None if whole is None else _asked_for(node, whole, constants)
        if extents is None:
            kept.append(node)
        else:
            graph.initializer.append(numpy_helper.from_array(extents, node.output[0]))
    del graph.node[:]
    graph.node.extend(kept)


def _asked_for(node: NodeProto, whole: Shape, constants: Mapping[str, TensorProto]) -> npt.NDArray[np.int64] | None:
    """Return the extents of a shape that an operator gives; None if they are open, or it does something else."""
    places = np.arange(len(whole))
    names = [name for name in node.input[1:] if name]
    values = [numpy_helper.to_array(constants[name]) for name in names if name in constants]
    if len(values) < len(names) or (node.op_type == "Shape" and node.attribute):
        return None
    if node.op_type == "Gather" and len(values) == 1 and np.all(np.abs(values[0] + 0.5) < len(whole)):
        places = places[values[0]]
    elif node.op_type == "Slice" and len(values) > 1 and all(value.size == 1 for value in values):
        start, end, *others = (int(value.reshape(-1)[0]) for value in values)
        places = places[start : end : others[1] if len(others) > 1 else 1]
    elif node.op_type != "Shape":
        return None
    found = [whole[place] for place in places.reshape(-1)]
    known = [extent for extent in found if extent is not None]
    return None if len(known) < len(found) else np.array(known, np.int64).reshape(places.shape)


_MAX_FOLDED = 1 << 16
"""Most values that a constant may have that is worked out here: what says sizes has a few."""

_FOLDED = (
    *("Add", "Sub", "Mul", "Div", "Neg", "Cast", "Identity", "Concat", "Reshape", "Squeeze", "Unsqueeze", "Transpose"),
    *("Gather", "Slice", "Shape", "ConstantOfShape", "Floor", "Ceil", "Mod", "Clip", "Min", "Max", "Equal", "Where"),
)
"""Operators by which sizes are computed."""


def fold_constants(graph: onnx.GraphProto, opsets: Sequence[onnx.OperatorSetIdProto]) -> None:
    """Replace operators on small constants by their values, as onnx's reference evaluator computes them, in place."""
    small = {tensor.name: tensor for tensor in graph.initializer if prod(tensor.dims) <= _MAX_FOLDED}
    kept = list[NodeProto]()
    for node in graph.node:
        values = _folded(node, small, opsets)
        if values is None:
            kept.append(node)
        else:
            tensor = numpy_helper.from_array(values, node.output[0])
            graph.initializer.append(tensor)
            small[tensor.name] = tensor
    outputs = {entry.name for entry in graph.output}
    if len(kept) < len(graph.node) and not outputs & small.keys():
        del graph.node[:]
        graph.node.extend(kept)


def _folded(
    node: NodeProto, small: Mapping[str, TensorProto], opsets: Sequence[onnx.OperatorSetIdProto]
) -> npt.NDArray[np.generic] | None:
    """Return what an operator on small constants gives; None if it is none, or gives too much."""
    names = [name for name in node.input if name]
    if node.op_type not in _FOLDED or len(node.output) != 1 or not names or any(name not in small for name in names):
        return None
    inputs = {name: numpy_helper.to_array(small[name]) for name in names}
    if node.op_type == "ConstantOfShape" and not 0 <= prod(map(int, inputs[names[0]].reshape(-1))) <= _MAX_FOLDED:
        return None
    part = onnx.helper.make_graph(
        [node],
        "constant",
        [onnx.helper.make_tensor_value_info(name, small[name].data_type, None) for name in inputs],
        [onnx.helper.make_tensor_value_info(node.output[0], TensorProto.UNDEFINED, None)],
    )
    try:
        found = ReferenceEvaluator(onnx.helper.make_model(part, opset_imports=opsets)).run(None, inputs)
        values = np.asarray(cast("list[Any]", found)[0])
    except EVALUATOR_ERRORS:  # then it stays an operator
        return None
    return values if values.size <= _MAX_FOLDED and values.dtype.kind in "fiub" else None
