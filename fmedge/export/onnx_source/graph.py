"""An ONNX network as a graph: who makes and who reads each tensor, its shape, and the order of its axes."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from fmedge.errors import UsageError
from fmedge.export.onnx_source.folding import Shape, fold_constants, fold_shapes
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
