"""A sub-model of a user's own network as ONNX that pnnx converts: prepared planes in, and no operators odd to it."""
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import onnx
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper

from fmedge.export.network import Network
from fmedge.export.onnx.float_model import float_model_of
from fmedge.export.onnx.passes import cancel_inverse_transposes, sort_nodes
from fmedge.export.onnx_source.network import extract
from fmedge.model.card import ModelCard, TensorSpec
from fmedge.model.preprocessing import Preprocessing

_PREPARED = Preprocessing("RGB", (0.0,))
"""Stands for pixels that are prepared already: nothing is done to them."""

_MOST_COPIES = 64
"""Most copies that a repetition is written as."""


def planes_model(card: ModelCard, network: Network) -> ModelProto:
    """Return the sub-model that a card describes, in float32, from prepared pixels to the taps.

    Args:
        card: The model; its preprocessing is left out.
        network: The ONNX network or Keras model to cut.

    Returns:
        A model with one input, (1, C, H, W) with 3 channels or 1, and the taps in order as outputs.

    Raises:
        UsageError: The network cannot be cut like this, or has an operation that ONNX lacks.
    """
    image, channels = card.inputs[0], 1 if card.preprocessing.channel_order == "GREY" else 3
    height, width = card.options.size or (None, None)
    options = replace(card.options, batch=1, input_dtype="float32")
    inputs = (TensorSpec(image.name, "float32", (1, height, width, channels), "NHWC"),)
    outputs = tuple(replace(spec, shape=(1, *spec.shape[1:])) for spec in card.outputs)
    card = replace(card, options=options, inputs=inputs, outputs=outputs, preprocessing=_PREPARED)
    model = float_model_of(card, replace(cast("Any", network), preprocessing=_PREPARED))
    _take_planes(model.graph, channels, height, width)
    cancel_inverse_transposes(model.graph)
    _repeat_by_joining(model.graph)
    _name_modes(model.graph)
    part = extract(model, model.graph.input[0].name, [output.name for output in model.graph.output])
    sort_nodes(part.graph)  # pnnx ends by a signal where an operator is read before it stands
    return part


def _take_planes(graph: GraphProto, channels: int, height: int | None, width: int | None) -> None:
    """Let a graph take (1, C, H, W) and transpose it to what its first operators read, in place."""
    image = graph.input[0].name
    planes = f"{image}_planes"
    while any(planes in (*node.input, *node.output) for node in graph.node):
        planes += "_"
    graph.node.insert(0, helper.make_node("Transpose", [planes], [image], planes, perm=[0, 2, 3, 1]))
    shape = [1, channels, height or "height", width or "width"]
    graph.input[0].CopyFrom(helper.make_tensor_value_info(planes, onnx.TensorProto.FLOAT, shape))


def _repeat_by_joining(graph: GraphProto) -> None:
    """Write repetitions (Tile) as joins (Concat), in place: pnnx has no ncnn layer for the former.

    Keras repeats rows and columns where it enlarges.
    """
    constants = {tensor.name: tensor for tensor in graph.initializer}
    nodes = list[NodeProto]()
    for node in graph.node:
        times = [int(each) for each in _numbers(constants, node)] if node.op_type == "Tile" else []
        axes = [axis for axis, many in enumerate(times) if many != 1]
        if not axes or any(not 1 <= many <= _MOST_COPIES for many in times):
            nodes.append(node)
            continue
        before = node.input[0]
        for axis in axes:
            after = node.output[0] if axis == axes[-1] else f"{node.output[0]}_{axis}"
            nodes.append(helper.make_node("Concat", [before] * times[axis], [after], after, axis=axis))
            before = after
    del graph.node[:]
    graph.node.extend(nodes)


def _numbers(constants: dict[str, onnx.TensorProto], node: NodeProto) -> list[float]:
    """Return the constant that is an operator's second input; nothing if it is none."""
    found = constants.get(node.input[1])
    return [] if found is None else numpy_helper.to_array(found).reshape(-1).tolist()


def _name_modes(graph: GraphProto) -> None:
    """State the mode of padding where it is left out, which means "constant", in place: pnnx looks for it."""
    for node in graph.node:
        if node.op_type == "Pad" and not any(attribute.name == "mode" for attribute in node.attribute):
            node.attribute.append(helper.make_attribute("mode", "constant"))
