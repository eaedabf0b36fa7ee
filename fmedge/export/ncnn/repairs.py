"""Write operators that pnnx does not convert as others that it does; each function changes a graph in place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

_MOST_COPIES = 64
"""Most copies that a repetition is written as."""

_FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16)
_END = 1 << 62
"""Stands for the end of an axis in Slice."""


def repair(graph: GraphProto) -> None:
    """Apply all repairs to a graph whose input is the image."""
    name_modes(graph)
    floor_instead_of_casts(graph)
    _replace(graph, repeat_by_joining)
    _replace(graph, even_borders)


class _Constants:
    """The constants of a graph, to which more can be added."""

    def __init__(self, graph: GraphProto) -> None:
        self._graph = graph
        self._found: Mapping[str, TensorProto] = {tensor.name: tensor for tensor in graph.initializer}

    def numbers(self, name: str) -> list[int]:
        """Return the whole numbers of a constant; none if there is no such constant."""
        found = self._found.get(name)
        return [] if found is None else [int(each) for each in numpy_helper.to_array(found).reshape(-1)]

    def add(self, numbers: Iterable[int], name: str) -> str:
        """Add a constant of whole numbers and return its name."""
        self._graph.initializer.append(numpy_helper.from_array(np.array([*numbers], np.int64), name))
        return name


def _replace(graph: GraphProto, form: Callable[[NodeProto, _Constants], list[NodeProto]]) -> None:
    """Replace each operator by what a function makes of it; nothing means that it stays."""
    constants = _Constants(graph)
    nodes = [new for node in graph.node for new in form(node, constants) or [node]]
    del graph.node[:]
    graph.node.extend(nodes)


def name_modes(graph: GraphProto) -> None:
    """State the mode of padding where it is left out, which means "constant": pnnx looks for it."""
    for node in graph.node:
        if node.op_type == "Pad" and not any(attribute.name == "mode" for attribute in node.attribute):
            node.attribute.append(helper.make_attribute("mode", "constant"))


def floor_instead_of_casts(graph: GraphProto) -> None:
    """Round pixels down where a network that takes integers converts them, and leave out the way back.

    Pixels are 0 to 255, so that nothing is cut off.
    """
    pixels = {graph.input[0].name}
    for node in graph.node:
        if node.input[0] not in pixels or node.op_type not in ("Cast", "Transpose"):
            continue
        pixels.add(node.output[0])
        if node.op_type == "Cast":
            node.op_type = "Identity" if node.attribute[0].i in _FLOATS else "Floor"
            del node.attribute[:]


def repeat_by_joining(node: NodeProto, constants: _Constants) -> list[NodeProto]:
    """Write a repetition (Tile) as joins (Concat). Keras repeats rows and columns where it enlarges."""
    times = constants.numbers(node.input[1]) if node.op_type == "Tile" else []
    axes = [axis for axis, many in enumerate(times) if many != 1]
    if not axes or any(not 1 <= many <= _MOST_COPIES for many in times):
        return []
    nodes, before = list[NodeProto](), node.input[0]
    for axis in axes:
        after = node.output[0] if axis == axes[-1] else f"{node.output[0]}_{axis}"
        nodes.append(helper.make_node("Concat", [before] * times[axis], [after], after, axis=axis))
        before = after
    return nodes


def even_borders(node: NodeProto, constants: _Constants) -> list[NodeProto]:
    """Let a transposed convolution take as much off one end as off the other, and cut off the rest afterwards."""
    pads = next((attribute for attribute in node.attribute if attribute.name == "pads"), None)
    if node.op_type != "ConvTranspose" or pads is None or len(pads.ints) != 4:
        return []
    before, after = list(pads.ints[:2]), list(pads.ints[2:])
    least = [min(pair) for pair in zip(before, after, strict=True)]
    if before == after == least:
        return []
    pads.ints[:] = least * 2
    output, whole = node.output[0], f"{node.output[0]}_whole"
    node.output[0] = whole
    starts = constants.add((big - small for big, small in zip(before, least, strict=True)), f"{output}_starts")
    ends = [small - big or _END for big, small in zip(after, least, strict=True)]
    places = starts, constants.add(ends, f"{output}_ends"), constants.add((2, 3), f"{output}_axes")
    return [node, helper.make_node("Slice", [whole, *places], [output], f"{output}_slice")]
