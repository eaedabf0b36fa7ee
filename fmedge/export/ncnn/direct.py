"""Write a sub-model as an ncnn model, a graph as text and a file of weights, without using ncnn.

Both formats are described in ncnn's own documentation, "param and model file structure".
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from fmedge.errors import ParityError
from fmedge.export.built import Built
from fmedge.export.calibration import Calibration
from fmedge.export.stock_network import StockNetwork
from fmedge.model.card import METADATA_KEY, ModelCard
from fmedge.model.stock import KERNEL_SIZE, LayerSpec
from fmedge.model.submodel import MAX_FLOAT16, Activation, Precision

MAGIC = 7767517
"""First line of every graph."""

FLOAT32 = 0
FLOAT16 = 0x01306B47
"""Tags that precede a kernel and say how its values are stored; from ncnn's ``modelbin.cpp``."""

_NO_WINOGRAD = 1 << 6
"""Bit of a layer's mask of disabled methods. With three channels, Winograd's transforms cost more than they save: at
224 x 224 the first convolution takes 2.8 ms with them and 1.1 ms without."""

_ALIGNMENT = 4
"""In bytes: an array of float16 values is padded to a multiple of this."""

_RECIPE = {"weights": "float16", "arithmetic": "float32: the weights are widened when the model is loaded"}


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
    card = replace(card, recipe=_RECIPE if half else {})
    graph = _Graph(half)
    tensor = _preprocessing(graph, card)
    for spec in card.submodel.stock_layers:
        tensor = _layer(graph, spec, tensor, card, network)
    return Built(graph.text(card), card, b"".join(graph.weights))


@dataclass(slots=True)
class _Graph:
    """A graph under construction.

    Attributes:
        half: Whether kernels are stored as float16.
        lines: The first file's lines, one per layer.
        blobs: Number of tensors.
        weights: The second file's content, in the order of the layers.
    """

    half: bool
    lines: list[str] = field(default_factory=list[str])
    blobs: int = 0
    weights: list[bytes] = field(default_factory=list[bytes])

    def add(self, kind: str, name: str, inputs: tuple[str, ...], outputs: tuple[str, ...], **fields: int) -> None:
        """Add a layer; ``p3=1`` sets its parameter number 3."""
        pairs = [f"{key.removeprefix('p')}={value}" for key, value in fields.items()]
        self.lines.append(" ".join([kind, name, str(len(inputs)), str(len(outputs)), *inputs, *outputs, *pairs]))
        self.blobs += len(outputs)

    def plain(self, values: npt.ArrayLike) -> None:
        """Store an array without a tag, always as float32."""
        self.weights.append(np.ascontiguousarray(values, "<f4").tobytes())

    def kernel(self, name: str, values: npt.NDArray[np.float32]) -> None:
        """Store a kernel with its tag."""
        if not self.half:
            self.weights += [FLOAT32.to_bytes(4, "little"), values.astype("<f4").tobytes()]
            return
        if np.abs(values).max(initial=0.0) > MAX_FLOAT16:
            raise ParityError(
                f"'{name}' holds values too large for float16, which ends at {MAX_FLOAT16:,.0f}.",
                hint="Use --precision fp32.",
            )
        content = values.astype("<f2").tobytes()
        self.weights += [FLOAT16.to_bytes(4, "little"), content, bytes(-len(content) % _ALIGNMENT)]

    def text(self, card: ModelCard) -> bytes:
        """Return the first file. After the last layer ncnn looks for one more parameter, a number; ``#`` is none."""
        head = [str(MAGIC), f"{len(self.lines)} {self.blobs}"]
        return "\n".join([*head, *self.lines, f"#{METADATA_KEY} {card.facts_json()}", ""]).encode("ascii")


def _preprocessing(graph: _Graph, card: ModelCard) -> str:
    name = card.inputs[0].name
    size = card.options.size
    graph.add("Input", name, (), (name,), **({} if size is None else {"p0": size[1], "p1": size[0], "p2": 3}))
    graph.add("Scale", "mean", (name,), ("pixels",), p0=3, p1=1)
    graph.plain(np.ones(3))
    graph.plain(-np.array(card.preprocessing.mean[::-1]))
    return "pixels"


def _layer(graph: _Graph, spec: LayerSpec, tensor: str, card: ModelCard, network: StockNetwork) -> str:
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
