"""Build the ncnn model of a user's own network: pnnx converts the network, our layers before it prepare the pixels."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import count
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto, numpy_helper

from fmedge.errors import UsageError
from fmedge.export.built import Built
from fmedge.export.calibration import Calibration
from fmedge.export.ncnn.graph import RECIPE, Graph, require_float16
from fmedge.export.ncnn.planes import planes_model
from fmedge.export.ncnn.pnnx import convert, pnnx_version
from fmedge.export.network import Network
from fmedge.export.onnx.float_model import converter_tools
from fmedge.export.pixels import LUMA
from fmedge.model.card import ModelCard
from fmedge.model.ncnn_format import LAYERS, MAX_BLOB_NAME, blob_of
from fmedge.model.submodel import Precision

_KERNELS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators whose second input is stored as float16 with fp16."""

_OPEN_SIZES = ((160, 224), (192, 288))
"""Heights and widths that pnnx compares where any is allowed. The parity check has the first, too."""

_FLOOR = 2
"""ncnn's number of the operation ``floor`` in UnaryOp."""


def build_model(card: ModelCard, network: Network, calibration: Calibration | None = None) -> Built:
    """Build the model that a card describes.

    The graph is ``image`` (RGB, 0 to 255) → what prepares the pixels → what pnnx made of the network. Each output has
    its layer's name, written as :func:`fmedge.model.ncnn_format.blob_of` says. The card's facts come after the last
    layer, where ncnn has stopped reading.

    Args:
        card: The model to build; only the card's facts are used.
        network: The ONNX network or Keras model to cut.
        calibration: Not used: these precisions need no photos.

    Returns:
        The content of both files and the finished card; the same card, network and pnnx give the same bytes.

    Raises:
        BackendUnavailable: pnnx is not installed.
        UsageError: The network cannot be cut like this, or pnnx cannot convert it.
        ParityError: With fp16: a weight is too large for it.
        LimitExceeded: pnnx takes too long.
    """
    del calibration
    half = card.precision is Precision.FP16
    tools = {**card.tools, "onnx": onnx.__version__, "pnnx": pnnx_version()} | converter_tools(card)
    card = replace(card, tools=tools, recipe=RECIPE if half else {})
    blobs = [blob_of(name) for name in card.submodel.taps]
    if any(len(blob) > MAX_BLOB_NAME for blob in blobs):
        raise UsageError(f"A layer's name is too long for ncnn. Allowed: {MAX_BLOB_NAME} letters.")
    planes, places = planes_model(card, network)
    if half:
        _require_float16(planes)
    channels = planes.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    sizes = [(1, channels, *size) for size in ([card.options.size] if card.options.size else _OPEN_SIZES)]
    found = convert(planes.SerializeToString(deterministic=True), *sizes, half=half)
    graph = Graph(half)
    fresh = _fresh_names({*blobs, blob_of(card.inputs[0].name)})
    prepared = _preprocessing(graph, card, fresh)
    shown = [[blob for blob, place in zip(blobs, places, strict=True) if place == index] for index in sorted({*places})]
    try:
        _append(graph, _layers(found.graph), prepared, shown, fresh, planes)
    except (ValueError, IndexError, KeyError) as error:
        raise UsageError(f"pnnx wrote a graph that cannot be read ({error}).", hint="Use --format onnx.") from error
    graph.weights.append(found.weights)
    return Built(graph.text(card), card, b"".join(graph.weights))


def _require_float16(model: ModelProto) -> None:
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in _KERNELS and node.input[1] in constants:
            require_float16(node.input[1], numpy_helper.to_array(constants[node.input[1]]))


def _preprocessing(graph: Graph, card: ModelCard, fresh: Iterator[str]) -> str:
    """Add the layers that prepare the pixels, and return the tensor that holds them."""
    tensor = blob_of(card.inputs[0].name)
    size, order = card.options.size, card.preprocessing.channel_order
    graph.add("Input", "image", (), (tensor,), **({} if size is None else {"p0": size[1], "p1": size[0], "p2": 3}))
    if order == "BGR":
        colours = next(fresh), next(fresh), next(fresh)
        graph.add("Slice", "colours", (tensor,), colours, **{"p-23300": "3,1,1,1", "p1": 0})
        tensor = next(fresh)
        graph.add("Concat", "bgr", colours[::-1], (tensor,), p0=0)
    if order == "GREY":  # float32 holds these sums exactly: below 2^24 times 2^-16
        luma = next(fresh)
        graph.add("Convolution", "luma", (tensor,), (luma,), p0=1, p1=1, p4=0, p5=1, p6=3)
        _float32_kernel(graph, np.array(LUMA, np.float32) / np.float32(65536))
        graph.plain([0.5])
        tensor = next(fresh)
        graph.add("UnaryOp", "luma_floor", (luma,), (tensor,), p0=_FLOOR)
    factors, offsets = (np.array(values) for values in card.preprocessing.affine())
    if (factors != 1).any() or offsets.any():
        pixels, tensor = tensor, next(fresh)
        graph.add("Scale", "scale", (pixels,), (tensor,), p0=len(factors), p1=1)
        graph.plain(factors)
        graph.plain(-offsets)
    return tensor


def _float32_kernel(graph: Graph, values: npt.NDArray[np.float32]) -> None:
    """Store a kernel as float32 whatever the precision."""
    half, graph.half = graph.half, False
    graph.kernel("luma", values)
    graph.half = half


class _Layer(NamedTuple):
    """A line of a graph."""

    kind: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    parameters: Sequence[str]


def _layers(text: str) -> Iterator[_Layer]:
    """Read the layers of a graph that pnnx wrote, apart from its inputs."""
    for line in text.splitlines()[2:]:
        words = line.split()
        reads, makes = int(words[2]), int(words[3])
        inputs, outputs = words[4 : 4 + reads], words[4 + reads : 4 + reads + makes]
        if words[0] != "Input":
            yield _Layer(words[0], inputs, outputs, _without_batch(words[4 + reads + makes :]))


_SHAPE = re.compile(r'6="((?:(?:-?\d+|//\(\d+,0n\)),)+)0n"')
"""A shape with one more extent, the number of images, and parts of it divided by that number."""

_EXTENTS = {1: (0,), 2: (0, 1), 3: (0, 1, 2), 4: (0, 1, 11, 2)}
"""Numbers of Reshape's parameters for so many axes, from the last one: width, height, depth, channels."""


def _without_batch(parameters: Sequence[str]) -> Sequence[str]:
    """Write a Reshape that keeps the number of images as one for one image, which is all that is fed."""
    found = [match for match in map(_SHAPE.fullmatch, parameters) if match]
    if not found or not {"12=0", "13=0"} <= set(parameters):
        return parameters
    extents = [re.sub(r"//\((\d+),0n\)", r"\1", part) for part in re.findall(r"-?\d+(?=,)|//\(\d+,0n\)", found[0][1])]
    if len(extents) not in _EXTENTS:
        return parameters
    return [f"{number}={extent}" for number, extent in zip(_EXTENTS[len(extents)], extents, strict=True)]


def _append(
    graph: Graph,
    layers: Iterable[_Layer],
    image: str,
    shown: Sequence[Sequence[str]],
    fresh: Iterator[str],
    model: ModelProto,
) -> None:
    """Add pnnx' layers to a graph, with names of ours for its tensors; ``shown`` has the taps of each output."""
    outputs = {f"out{index}": taps[0] if len(taps) == 1 else next(fresh) for index, taps in enumerate(shown)}
    names = {"in0": image, **outputs}
    made = set[str]()
    for number, (kind, reads, makes, parameters) in enumerate(layers):
        if kind not in LAYERS:
            raise UsageError(
                f"{_operator(kind, model)} becomes no ncnn layer that passes the gate.",
                hint="Cut before it, or use --format onnx.",
            )
        names |= {blob: next(fresh) for blob in makes if blob not in names}
        made.update(makes)
        blobs = [names[blob] for blob in (*reads, *makes)]
        counts = str(len(reads)), str(len(makes))
        graph.lines.append(" ".join([kind, f"{kind.lower()}_{number}", *counts, *blobs, *parameters]))
        graph.blobs += len(makes)
    if not outputs.keys() <= made:
        raise UsageError("pnnx lost a tap of the network.", hint="Cut at other layers, or use --format onnx.")
    for blob, taps in zip(outputs.values(), shown, strict=True):
        if len(taps) > 1:
            graph.add("Split", f"{blob}_taps", (blob,), tuple(taps))


def _fresh_names(taken: set[str]) -> Iterator[str]:
    return (name for number in count(1) if (name := f"t{number}") not in taken)


def _operator(kind: str, model: ModelProto) -> str:
    """Name the first ONNX operator that pnnx calls so, such as ``torch.tile``; otherwise the kind itself."""
    word = kind.rpartition(".")[2].lower()
    node = next((node for node in model.graph.node if node.op_type.lower() == word), None)
    return kind if node is None else f"{node.op_type} ('{node.name or node.output[0]}')"
