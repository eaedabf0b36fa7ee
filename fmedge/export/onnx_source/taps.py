"""Find layers of an ONNX network: what to show of each, and which activation belongs to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fmedge.errors import UsageError, closest
from fmedge.export.onnx_source.activations import activation_after, function_of
from fmedge.export.onnx_source.folding import Shape
from fmedge.export.onnx_source.graph import OnnxGraph
from fmedge.model.activations import LINEAR
from fmedge.model.submodel import Activation


@dataclass(frozen=True, slots=True)
class Tap:
    """What to show of a layer.

    Attributes:
        name: The name that it was requested by.
        tensor: The tensor of the network that is shown.
        function: The activation that belongs to the layer, whichever side of it is shown.
    """

    name: str
    tensor: str
    function: str


def find_node(graph: OnnxGraph, name: str) -> int:
    """Return the operator that a name refers to: a module's path, an operator's name, or a tensor that it makes.

    Raises:
        UsageError: There is none; the message gives the closest name.
    """
    for index, names in enumerate(graph.names):
        if name in names.every:
            return index
    if name in graph.made_by:
        return graph.made_by[name]
    shown = [names.shown for names in graph.names]
    raise UsageError(
        f"Unknown layer '{name}' in the ONNX model.{closest(name, shown)} First and last: '{shown[0]}', '{shown[-1]}'."
    )


def find_tap(graph: OnnxGraph, name: str, activation: Activation) -> Tap:
    """Find what to show of a layer; see :func:`find_node`.

    An activation belongs to a layer if it is the only one that reads the layer's output. A layer that is an activation
    itself shows its output, or with ``none`` its input.

    Raises:
        UsageError: There is no such layer.
    """
    index = find_node(graph, name)
    node = graph.nodes[index]
    output = name if name in node.output else node.output[0]
    before = activation is Activation.NONE
    if (function := function_of(graph, index)) != LINEAR:
        return Tap(name, node.input[0] if before else output, function)
    after, function = activation_after(graph, output)
    return Tap(name, output if before else after, function)


def require_maps(name: str, tensor: str, shapes: Mapping[str, Shape], layouts: Mapping[str, str]) -> None:
    """Check that a layer's output is feature maps.

    Raises:
        UsageError: It is not.
    """
    if obstacle := obstacle_of_tensor(tensor, shapes, layouts):
        raise UsageError(f"Layer '{name}' has no feature maps: {obstacle}. Name one with height and width.")


def obstacle_of_tensor(tensor: str, shapes: Mapping[str, Shape], layouts: Mapping[str, str]) -> str | None:
    """Return why a tensor is not feature maps; None if it is."""
    shape = shapes.get(tensor)
    if shape is None:
        return "its shape is not known"
    if tensor not in layouts:
        return f"its output is a tensor of shape ({', '.join('any' if each is None else str(each) for each in shape)})"
    if shape[layouts[tensor].index("C")] is None:
        return "the number of its channels is not known"
    return None


def network_order(graph: OnnxGraph, names: Sequence[str]) -> tuple[str, ...]:
    """Sort layers in the order in which the network computes them.

    Raises:
        UsageError: A layer does not exist.
    """
    return tuple(sorted(names, key=lambda name: find_node(graph, name)))
