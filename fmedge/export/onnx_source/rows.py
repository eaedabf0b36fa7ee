"""List the layers of an ONNX network: what each gives, what it costs, and what one of its values sees of the image."""
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, cast

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from fmedge.export.onnx_source.activations import activation_after, function_of
from fmedge.export.onnx_source.folding import Shape
from fmedge.export.onnx_source.graph import OnnxGraph, layouts_of, shapes_of
from fmedge.export.onnx_source.products import multiplications
from fmedge.export.onnx_source.reading import obstacle_of_node
from fmedge.export.onnx_source.taps import obstacle_of_tensor
from fmedge.export.views import (
    PIXEL,
    WHOLE,
    Views,
    Window,
    point,
    resized,
    same_padding,
    tap_view,
    transposed,
    views_after,
    window,
)
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
    *("Identity", "Dropout", "BatchNormalization", "Concat", "Transpose", "Split", "Where", "Floor", "Round"),
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
    views = views_of(graph, shapes, layouts)
    return [_row(graph, index, shapes, layouts, views[node.output[0]]) for index, node in enumerate(graph.nodes)]


def views_of(graph: OnnxGraph, shapes: Mapping[str, Shape], layouts: Mapping[str, str]) -> dict[str, Views]:
    """Return what the values of every tensor see of the image."""
    views: dict[str, Views] = {graph.image: PIXEL}
    for index, node in enumerate(graph.nodes):
        before = [views.get(name, ()) for name in node.input if name and name not in graph.constants]
        seen = views_after(_windows(graph, index, shapes, layouts), before)
        views.update(dict.fromkeys(node.output, seen))
    return views


def _row(
    graph: OnnxGraph, index: int, shapes: Mapping[str, Shape], layouts: Mapping[str, str], views: Views
) -> LayerRow:
    node = graph.nodes[index]
    output = node.output[0]
    obstacle = obstacle_of_node(node) or obstacle_of_tensor(output, shapes, layouts)
    function = function_of(graph, index)
    if function == LINEAR and obstacle is None:
        function = activation_after(graph, output)[1]
    view = tap_view(views)
    shape = shapes.get(output)
    if shape is not None:
        order = [layouts[output].index(axis) for axis in "CHW"] if obstacle is None else range(1, len(shape))
        shape = tuple(shape[axis] for axis in order)
    return LayerRow(
        name=graph.names[index].shown,
        kind=node.op_type,
        activation=None if function == LINEAR else function,
        shape=shape,
        stride=view and view.stride,
        receptive_field=view and view.receptive_field,
        parameters=sum(prod(graph.constants[name].dims) for name in set(node.input) if _is_weight(graph, name)),
        macs=multiplications(graph, node, shapes),
        obstacle=obstacle,
    )


def _is_weight(graph: OnnxGraph, name: str) -> bool:
    return name in graph.constants and graph.constants[name].data_type == TensorProto.FLOAT


def _windows(graph: OnnxGraph, index: int, shapes: Mapping[str, Shape], layouts: Mapping[str, str]) -> Sequence[Window]:
    """Return what a value of an operator sees along rows and columns; empty if that is not known."""
    node = graph.nodes[index]
    if node.op_type in _POINTWISE or function_of(graph, index) != LINEAR:
        return point()
    if node.op_type in _WHOLE:
        return WHOLE
    settings: dict[str, Any] = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    sides = [_side(name, shapes, layouts) for name in (node.input[0], node.output[0])]
    if node.op_type in _WINDOWS or node.op_type == "ConvTranspose":
        size = settings.get("kernel_shape") or (
            graph.constants[node.input[1]].dims[2:] if len(node.input) > 1 and node.input[1] in graph.constants else ()
        )
        if len(size) != 2:
            return []
        steps, gaps = settings.get("strides") or [1, 1], settings.get("dilations") or [1, 1]
        pads = _padding(settings, sides[0], size, steps, gaps)
        if node.op_type == "ConvTranspose":
            return [transposed(*each) for each in zip(size, steps, pads, strict=True)]
        return [window(*each) for each in zip(size, steps, pads, gaps, strict=True)]
    if node.op_type in ("Resize", "Upsample", "DepthToSpace", "SpaceToDepth") and all(map(all, sides)):
        smooth = settings.get("mode", b"nearest") != b"nearest" and "Space" not in node.op_type
        before, after = cast("list[list[int]]", sides)
        return [resized(*each, smooth=smooth) for each in zip(before, after, strict=True)]
    if node.op_type == "Pad" and node.input[0] in layouts:
        return _padded(graph, node, settings, layouts[node.input[0]])
    return []


def _padding(
    settings: Mapping[str, Any],
    extents: Sequence[int | None],
    size: Sequence[int],
    steps: Sequence[int],
    gaps: Sequence[int],
) -> list[int]:
    """Return the padding before rows and columns, for the forms that ONNX has ("Conv", ``auto_pad``)."""
    form = settings.get("auto_pad", b"NOTSET")
    if form == b"VALID":
        return [0, 0]
    if form == b"NOTSET":
        return list(settings.get("pads") or [0] * 4)[:2]
    low = [same_padding(*each) for each in zip(extents, size, steps, gaps, strict=True)]
    if form == b"SAME_UPPER":
        return low
    rests = [(extent or 0) % step or step for extent, step in zip(extents, steps, strict=True)]
    whole = [max((side - 1) * gap + 1 - rest, 0) for side, gap, rest in zip(size, gaps, rests, strict=True)]
    return [total - before for total, before in zip(whole, low, strict=True)]


def _padded(graph: OnnxGraph, node: NodeProto, settings: Mapping[str, Any], layout: str) -> Sequence[Window]:
    pads = settings.get("pads")
    if pads is None and len(node.input) > 1 and node.input[1] in graph.constants:
        pads = np.ravel(numpy_helper.to_array(graph.constants[node.input[1]]))
    if pads is None or len(pads) != 2 * len(layout):
        return []
    top, left = (-int(pads[layout.index(axis)]) for axis in "HW")
    return point((top, left))


def _side(name: str, shapes: Mapping[str, Shape], layouts: Mapping[str, str]) -> list[int | None]:
    """Return height and width of a tensor; None where they are not known."""
    if name not in layouts or name not in shapes:
        return [None, None]
    return [shapes[name][layouts[name].index(axis)] for axis in "HW"]
