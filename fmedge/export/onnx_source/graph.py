"""An ONNX network as a graph: who makes and who reads each tensor, its shape, and the order of its axes."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from fmedge.errors import UsageError
from fmedge.export.onnx_source.names import Name, layer_names
from fmedge.export.onnx_source.reading import obstacle_of_node
from fmedge.model.network_input import NetworkInput

_MAX_ROUNDS = 64
"""How often shapes are worked out anew with sizes that came out of them: EfficientNet-Lite takes five rounds."""

_MAPS = 4
"""Axes of feature maps."""

_CHANNELS_FIRST = (
    *("Conv", "ConvTranspose", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LRN", "LpPool"),
    *("BatchNormalization", "InstanceNormalization", "GroupNormalization", "DepthToSpace", "SpaceToDepth"),
)
"""Operators whose inputs and outputs are (N, C, H, W) by definition."""

_OTHER_AXES = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Gather", "GatherND", "Einsum", "Expand", "Gemm", "Shape")
"""Operators after which nobody knows which axis is which."""

Shape = tuple[int | None, ...]


@dataclass(frozen=True, slots=True, eq=False)
class OnnxGraph:
    """A network and what was found about it.

    Attributes:
        model: The network, in the opset in which it was written.
        nodes: Its operators, each after those that it reads from.
        names: The names of each operator.
        constants: Its initializers by name.
        made_by: For every tensor the operator that makes it.
        read_by: For every tensor the operators that read it.
        image: Name of the input that takes the image.
        layout: Order of the image's axes: ``NCHW`` or ``NHWC``.
        takes: What the network takes, the channels last.
    """

    model: ModelProto
    nodes: tuple[NodeProto, ...]
    names: tuple[Name, ...]
    constants: Mapping[str, TensorProto]
    made_by: Mapping[str, int]
    read_by: Mapping[str, tuple[int, ...]]
    image: str
    layout: str
    takes: NetworkInput

    @property
    def all_names(self) -> frozenset[str]:
        """Every name that its layers can be requested by."""
        return frozenset(name for names in self.names for name in names.every)

    def value(self, name: str) -> npt.NDArray[np.generic] | None:
        """Return the value of a constant; None for any other tensor."""
        return numpy_helper.to_array(self.constants[name]) if name in self.constants else None


def graph_of(model: ModelProto) -> OnnxGraph:
    """Find out how a network hangs together.

    What depends on constants alone, as PyTorch writes paddings and sizes, becomes a constant.

    Raises:
        UsageError: It takes no image, or its operators do not follow on each other.
    """
    graph = model.graph
    fold_constants(graph, model.opset_import)
    constants = {tensor.name: tensor for tensor in graph.initializer}
    made_by: dict[str, int] = {}
    read_by: dict[str, list[int]] = {}
    inputs = [entry for entry in graph.input if entry.name not in constants]
    known = {entry.name for entry in inputs} | constants.keys() | {""}
    for index, node in enumerate(graph.node):
        for name in node.input:
            if name not in known:
                raise UsageError(f"'{node.name or node.op_type}' reads '{name[:60]}', which nothing before it makes.")
            read_by.setdefault(name, []).append(index)
        if not any(node.output):
            raise UsageError(f"'{node.name or node.op_type}' makes nothing.")
        for name in filter(None, node.output):
            if name in known:
                raise UsageError(f"'{name[:60]}' is made twice.")
            made_by[name] = index
            known.add(name)
    image, layout, takes = _image(inputs)
    return OnnxGraph(
        model,
        tuple(graph.node),
        tuple(layer_names(graph.node)),
        constants,
        made_by,
        {name: tuple(readers) for name, readers in read_by.items()},
        image,
        layout,
        takes,
    )


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
    except Exception:
        return None
    return values if values.size <= _MAX_FOLDED and values.dtype.kind in "fiub" else None


def _image(inputs: Sequence[onnx.ValueInfoProto]) -> tuple[str, str, NetworkInput]:
    if len(inputs) != 1:
        names = ", ".join(f"'{entry.name[:30]}'" for entry in inputs[:4])
        raise UsageError(f"The ONNX model takes {len(inputs)} inputs: {names}. Allowed: one image.")
    kind = inputs[0].type.tensor_type
    shape = tuple(axis.dim_value if axis.HasField("dim_value") else None for axis in kind.shape.dim)
    if len(shape) == _MAPS and kind.elem_type == TensorProto.FLOAT:
        for layout, channels in (("NCHW", shape[1]), ("NHWC", shape[3])):
            if channels in (1, 3):
                axes = [shape[layout.index(axis)] for axis in "NHWC"]
                return inputs[0].name, layout, NetworkInput((tuple(axes),), what="ONNX model")
    extents = " x ".join("any" if extent is None else str(extent) for extent in shape)
    dtype = TensorProto.DataType.Name(kind.elem_type).lower()
    raise UsageError(
        f"The ONNX model takes '{inputs[0].name[:30]}', {dtype}, {extents or 'no axes'}. "
        "Allowed: one image of float32, 1 or 3 channels, first or last."
    )


def needed(graph: OnnxGraph, tensors: Sequence[str]) -> list[int]:
    """Return the operators that some tensors depend on, in order."""
    found = set[int]()
    waiting = [graph.made_by[name] for name in tensors if name in graph.made_by]
    while waiting:
        index = waiting.pop()
        if index not in found:
            found.add(index)
            waiting += [graph.made_by[name] for name in graph.nodes[index].input if name in graph.made_by]
    return sorted(found)


def with_size(graph: OnnxGraph, batch: int | None, size: tuple[int | None, int | None]) -> ModelProto:
    """Return a copy of the network for images of another number and size; None leaves an extent open."""
    copy = ModelProto()
    copy.CopyFrom(graph.model)
    del copy.graph.value_info[:]
    (entry,) = (entry for entry in copy.graph.input if entry.name == graph.image)
    extents = {"N": batch, "H": size[0], "W": size[1]}
    for axis, extent in zip(graph.layout, entry.type.tensor_type.shape.dim, strict=True):
        if axis in extents:
            extent.Clear()
            if (value := extents[axis]) is None:
                extent.dim_param = f"any_{axis}"
            else:
                extent.dim_value = value
    for output in copy.graph.output:
        output.type.tensor_type.ClearField("shape")
    return copy


def shapes_of(graph: OnnxGraph, size: tuple[int | None, int | None]) -> dict[str, Shape]:
    """Return the shapes of all tensors, as far as onnx finds them, for one image of a size.

    Raises:
        UsageError: The network does not work at this size.
    """
    model = with_size(graph, 1, size)
    imported = {entry.domain for entry in model.opset_import}
    custom = {node.domain for node in graph.nodes} - imported
    model.opset_import.extend(onnx.helper.make_opsetid(domain, 1) for domain in sorted(custom))
    strict = not any(map(obstacle_of_node, graph.nodes))  # nobody knows what custom operators give
    found: dict[str, Shape] = {}
    for _ in range(_MAX_ROUNDS):
        try:
            model = onnx.shape_inference.infer_shapes(model, strict_mode=strict, data_prop=True)
        except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError, ValueError) as error:
            said = str(error).strip().splitlines()[-1][:90]
            raise UsageError(f"The ONNX model does not work at this size: {said}", flags=("--size",)) from error
        found = _declared(model)
        count = len(model.graph.node)
        fold_shapes(model.graph, found)  # sizes that are computed from shapes may give further shapes
        fold_constants(model.graph, model.opset_import)
        if len(model.graph.node) == count:
            break
    return found


def _declared(model: ModelProto) -> dict[str, Shape]:
    return {
        entry.name: tuple(
            axis.dim_value if axis.HasField("dim_value") else None for axis in entry.type.tensor_type.shape.dim
        )
        for entry in (*model.graph.value_info, *model.graph.input, *model.graph.output)
        if entry.type.tensor_type.HasField("shape")
    }


def layouts_of(graph: OnnxGraph, shapes: Mapping[str, Shape]) -> dict[str, str]:
    """Return the order of axes, ``NCHW`` or ``NHWC``, of every tensor of four axes for which it is known."""
    found = {graph.image: graph.layout}
    for node in graph.nodes:
        layout = _layout_after(graph, node, found)
        if layout is not None:
            found.update({name: layout for name in node.output if len(shapes.get(name, ())) == _MAPS})
    return found


def _layout_after(graph: OnnxGraph, node: NodeProto, found: Mapping[str, str]) -> str | None:
    if node.op_type in _CHANNELS_FIRST:
        return "NCHW"
    before = next((found[name] for name in node.input if name in found), None)
    if before is None or node.op_type in _OTHER_AXES:
        return None
    if node.op_type == "Transpose":
        order = [int(axis) for attribute in node.attribute if attribute.name == "perm" for axis in attribute.ints]
        after = "".join(before[axis] for axis in order) if sorted(order) == [0, 1, 2, 3] else ""
        return after if after in ("NCHW", "NHWC") else None
    return before
