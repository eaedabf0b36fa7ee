"""A sub-model of a user's own network as ONNX that pnnx converts: prepared planes in, and no operators odd to it."""
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import onnx
from onnx import GraphProto, ModelProto, helper

from fmedge.export.ncnn.repairs import repair
from fmedge.export.network import Network
from fmedge.export.onnx.float_model import unprepared_model_of
from fmedge.export.onnx.passes import cancel_inverse_transposes, sort_nodes
from fmedge.export.onnx_source.network import extract
from fmedge.model.card import ModelCard


class Planes(NamedTuple):
    """A sub-model that takes planes.

    Attributes:
        model: A model with one input, (1, C, H, W) with 3 channels or 1, and every tensor that is shown as an output.
        places: For each tap the number of the output that holds it: two taps may show the same tensor.
    """

    model: ModelProto
    places: Sequence[int]


def planes_model(card: ModelCard, network: Network) -> Planes:
    """Return the sub-model that a card describes, in float32, from prepared pixels to the taps.

    Args:
        card: The model; its preprocessing is left out.
        network: The ONNX network or Keras model to cut.

    Raises:
        UsageError: The network cannot be cut like this, or has an operation that ONNX lacks.
    """
    channels = 1 if card.preprocessing.channel_order == "GREY" else 3
    height, width = card.options.size or (None, None)
    model = unprepared_model_of(card, network)
    _take_planes(model.graph, channels, height, width)
    cancel_inverse_transposes(model.graph)
    repair(model.graph)
    tensors = _origins(model.graph)
    shown = list(dict.fromkeys(tensors))
    part = extract(model, model.graph.input[0].name, shown)
    sort_nodes(part.graph)  # pnnx ends by a signal where an operator is read before it stands
    return Planes(part, [shown.index(tensor) for tensor in tensors])


def _origins(graph: GraphProto) -> list[str]:
    """Return the tensor that each output is; pnnx ends by a signal where two outputs are the same."""
    copied = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Identity"}
    found = list[str]()
    for output in graph.output:
        found.append(output.name)
        while found[-1] in copied:
            found[-1] = copied[found[-1]]
    return found


def _take_planes(graph: GraphProto, channels: int, height: int | None, width: int | None) -> None:
    """Let a graph take (1, C, H, W) and transpose it to what its first operators read, in place."""
    image = graph.input[0].name
    planes = f"{image}_planes"
    while any(planes in (*node.input, *node.output) for node in graph.node):
        planes += "_"
    graph.node.insert(0, helper.make_node("Transpose", [planes], [image], planes, perm=[0, 2, 3, 1]))
    shape = [1, channels, height or "height", width or "width"]
    graph.input[0].CopyFrom(helper.make_tensor_value_info(planes, onnx.TensorProto.FLOAT, shape))
