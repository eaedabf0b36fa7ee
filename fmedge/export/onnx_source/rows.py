"""List the layers of an ONNX network: what each gives, what it costs, and what one of its values sees of the image."""
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import ceil, prod

from onnx import TensorProto, helper

from fmedge.export.onnx_source.activations import activation_after, function_of
from fmedge.export.onnx_source.folding import Shape
from fmedge.export.onnx_source.graph import OnnxGraph, layouts_of, shapes_of
from fmedge.export.onnx_source.products import multiplications
from fmedge.export.onnx_source.reading import obstacle_of_node
from fmedge.export.onnx_source.taps import obstacle_of_tensor
from fmedge.export.views import PIXEL, POINT, WHOLE, Views, Window, as_floats, views_after
from fmedge.model.activations import LINEAR
from fmedge.model.layer_row import LayerRow

_POINTWISE = (
    *(
        "Add",
        "Sub",
        "Mul",
        "Div",
        "Pow",
        "Max",
        "Min",
        "Sum",
        "Mean",
        "Neg",
        "Abs",
        "Sqrt",
        "Exp",
        "Erf",
        "Clip",
        "Cast",
    ),
    *("Identity", "Dropout", "BatchNormalization", "Concat", "Pad", "Transpose", "Split", "Where", "Floor", "Round"),
)
"""Operators of which a value sees one place of their input; every activation is another."""

_WINDOWS = ("Conv", "MaxPool", "AveragePool", "LpPool")
"""Operators of which a value sees a window of their input."""

_WHOLE = ("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
"""Operators of which a value sees the whole image."""


def onnx_rows(graph: OnnxGraph, size: tuple[int | None, int | None]) -> list[LayerRow]:
    """Return the operators of a network in their order.

    Args:
        graph: The network.
        size: Height and width of the image; None for any.

    Raises:
        UsageError: The network does not work at this size.
    """
    shapes = shapes_of(graph, size)
    layouts = layouts_of(graph, shapes)
    views: dict[str, Views] = {graph.image: PIXEL}
    rows = list[LayerRow]()
    for index, node in enumerate(graph.nodes):
        output = node.output[0]
        before = [views.get(name, ()) for name in node.input if name and name not in graph.constants]
        views[output] = views_after(_windows(graph, index, shapes, layouts), before)
        for other in node.output[1:]:
            views[other] = views[output]
        rows.append(_row(graph, index, shapes, layouts, views[output]))
    return rows


def _row(
    graph: OnnxGraph, index: int, shapes: Mapping[str, Shape], layouts: Mapping[str, str], views: Views
) -> LayerRow:
    node = graph.nodes[index]
    output = node.output[0]
    obstacle = obstacle_of_node(node) or obstacle_of_tensor(output, shapes, layouts)
    function = function_of(graph, index)
    if function == LINEAR and obstacle is None:
        function = activation_after(graph, output)[1]
    stride, field = as_floats(views)
    shape = shapes.get(output)
    if shape is not None:
        order = [layouts[output].index(axis) for axis in "CHW"] if obstacle is None else range(1, len(shape))
        shape = tuple(shape[axis] for axis in order)
    return LayerRow(
        name=graph.names[index].shown,
        kind=node.op_type,
        activation=None if function == LINEAR else function,
        shape=shape,
        stride=stride,
        receptive_field=field,
        parameters=sum(prod(graph.constants[name].dims) for name in set(node.input) if _is_weight(graph, name)),
        macs=multiplications(graph, node, shapes),
        obstacle=obstacle,
    )


def _is_weight(graph: OnnxGraph, name: str) -> bool:
    return name in graph.constants and graph.constants[name].data_type == TensorProto.FLOAT


def _windows(graph: OnnxGraph, index: int, shapes: Mapping[str, Shape], layouts: Mapping[str, str]) -> Sequence[Window]:
    node = graph.nodes[index]
    if node.op_type in _POINTWISE or function_of(graph, index) != LINEAR:
        return POINT
    if node.op_type in _WHOLE:
        return WHOLE
    settings = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    if node.op_type in _WINDOWS or node.op_type == "ConvTranspose":
        size = settings.get("kernel_shape") or (
            graph.constants[node.input[1]].dims[2:] if len(node.input) > 1 and node.input[1] in graph.constants else ()
        )
        if len(size) != 2:
            return []
        steps, gaps = settings.get("strides") or [1, 1], settings.get("dilations") or [1, 1]
        if node.op_type == "ConvTranspose":
            return [(ceil(extent / step) - 1, Fraction(1, step)) for extent, step in zip(size, steps, strict=True)]
        return [((extent - 1) * gap, Fraction(step)) for extent, gap, step in zip(size, gaps, steps, strict=True)]
    if node.op_type in ("Resize", "Upsample", "DepthToSpace", "SpaceToDepth"):
        sides = [_side(name, shapes, layouts) for name in (node.input[0], node.output[0])]
        if not all(sides):
            return []
        more = 0 if settings.get("mode", b"nearest") == b"nearest" or "Space" in node.op_type else 1
        return [(more, Fraction(before, after)) for before, after in zip(*sides, strict=True)]
    return []


def _side(name: str, shapes: Mapping[str, Shape], layouts: Mapping[str, str]) -> list[int]:
    """Return height and width of a tensor; empty if they are not known."""
    if name not in layouts or name not in shapes:
        return []
    extents = [shapes[name][layouts[name].index(axis)] for axis in "HW"]
    return [extent for extent in extents if extent] if all(extents) else []
