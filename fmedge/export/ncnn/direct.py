"""Write a sub-model of stock VGG16 as an ncnn model, without using ncnn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from fmedge.export.built import Built
from fmedge.export.calibration import Calibration
from fmedge.export.ncnn.graph import RECIPE, Graph
from fmedge.export.stock_network import StockNetwork
from fmedge.model.card import ModelCard
from fmedge.model.stock import KERNEL_SIZE, LayerSpec
from fmedge.model.submodel import Activation, Precision

_NO_WINOGRAD = 1 << 6
"""Bit of a layer's mask of disabled methods. With three channels, Winograd's transforms cost more than they save: at
224 x 224 the first convolution takes 2.8 ms with them and 1.1 ms without."""


def build_model(card: ModelCard, network: StockNetwork, calibration: Calibration | None = None) -> Built:
    """Build the model that a card describes.

    The graph is ``image`` (RGB, 0 to 255) → Scale (minus the mean) → Convolution including its ReLU, Pooling….
    The mean is subtracted before the first convolution pads with zeros, as in Keras; the order blue, green, red is
    folded into the first kernel. Each output has its layer's name. The card's facts come after the last layer, where
    ncnn has stopped reading.

    Args:
        card: The model to build; only the card's facts are used.
        network: Kernel and bias of every convolution up to the deepest tap.
        calibration: Not used: these precisions need no photos.

    Returns:
        The content of both files and the finished card; the same card and weights give the same bytes.

    Raises:
        ParityError: With fp16: a weight is too large for it.
    """
    del calibration
    half = card.precision is Precision.FP16
    card = replace(card, recipe=RECIPE if half else {})
    graph = Graph(half)
    tensor = _preprocessing(graph, card)
    for spec in card.submodel.stock_layers:
        tensor = _layer(graph, spec, tensor, card, network)
    return Built(graph.text(card), card, b"".join(graph.weights))


def _preprocessing(graph: Graph, card: ModelCard) -> str:
    name = card.inputs[0].name
    size = card.options.size
    graph.add("Input", name, (), (name,), **({} if size is None else {"p0": size[1], "p1": size[0], "p2": 3}))
    graph.add("Scale", "mean", (name,), ("pixels",), p0=3, p1=1)
    graph.plain(np.ones(3))
    graph.plain(-np.array(card.preprocessing.mean[::-1]))
    return "pixels"


def _layer(graph: Graph, spec: LayerSpec, tensor: str, card: ModelCard, network: StockNetwork) -> str:
    """Add one layer and return the name of the tensor that the next layer reads."""
    name = spec.name
    tapped, last = name in card.submodel.taps, name == card.submodel.deepest
    raw = tapped and card.submodel.activation is Activation.NONE
    forked = tapped and not last
    output = name if tapped and last else f"{name}_out"
    if spec.kind == "pool":
        graph.add("Pooling", name, (tensor,), (output,), p0=0, p1=2, p2=2, p5=1)
    else:
        kernel, bias = network.weights[name]
        rgb_input = spec.in_channels == 3
        fields = {"p0": spec.channels, "p1": KERNEL_SIZE, "p4": 1, "p5": 1, "p6": kernel.size}
        relu = {} if raw else {"p9": 1}
        methods = {"p31": _NO_WINOGRAD} if rgb_input else {}
        graph.add("Convolution", name, (tensor,), (output,), **fields, **relu, **methods)
        graph.kernel(name, _ncnn_kernel(kernel, rgb_input=rgb_input))
        graph.plain(bias)
    if not forked:
        return output
    graph.add("Split", f"{name}_split", (output,), (name, f"{name}_next"))
    if not raw:
        return f"{name}_next"
    graph.add("ReLU", f"{name}_relu", (f"{name}_next",), (f"{name}_relu",))
    return f"{name}_relu"


def _ncnn_kernel(kernel: npt.NDArray[np.float32], *, rgb_input: bool) -> npt.NDArray[np.float32]:
    """Turn Keras' (3, 3, in, out) into ncnn's (out, in, 3, 3), and the first kernel's order from BGR to RGB."""
    if rgb_input:
        kernel = kernel[:, :, ::-1, :]
    return np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
