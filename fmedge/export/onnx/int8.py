"""Write int8 ONNX directly from a plan: convolutions and pools on bytes, DequantizeLinear per channel at the taps.

A convolution on bytes is written as DequantizeLinear, Conv, QuantizeLinear (QDQ). ONNX Runtime fuses these into
QLinearConv with bit-identical results. OpenVINO runs them, but refuses a QLinearConv whose weights have a scale per
channel.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from fmedge.export.built import Built
from fmedge.export.calibration import Calibration
from fmedge.export.int8.plan import CONSTANT, QuantizedConv, reached, with_mean
from fmedge.export.int8.recipe import make_plan, recipe, simulations
from fmedge.export.onnx.file import finish, make_model, output_transposes
from fmedge.export.stock_network import StockNetwork
from fmedge.model.card import ModelCard
from fmedge.model.submodel import Activation

_WINDOW = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
_MIDDLE = 128
"""Zero point of values before ReLU: a convolution has one for all its channels."""


def build_model(card: ModelCard, network: StockNetwork, calibration: Calibration) -> Built:
    """Build the model that a card describes, with ranges and rounding derived from the photos.

    Args:
        card: The model to build; only the card's facts are used.
        network: Kernel and bias of every convolution up to the deepest tap.
        calibration: The photos.

    Returns:
        The file's content and the finished card; the same card, weights and photos give the same bytes on one machine.
    """
    plan = make_plan(card, network, calibration)
    card = replace(
        card, tools={**card.tools, "onnx": onnx.__version__}, recipe=recipe(card, calibration, "per channel")
    )
    model = finish(plan_model(plan, card, network), card)
    return Built(model, card, simulations=simulations(plan, card, network))


def plan_model(plan: list[QuantizedConv], card: ModelCard, network: StockNetwork) -> onnx.ModelProto:
    """Build the model of a plan, without the card's facts. The plan may be longer than the taps need."""
    graph = _Graph()
    codes, step = _image(graph, card), np.ones(4)
    deepest = max(index for index, conv in enumerate(plan) if reached(conv, card))
    for conv in plan[: deepest + 1]:
        last = conv is plan[deepest]
        if last and card.options.float_tap:
            _float_tap(graph, conv.layer, codes, step, card, network)
            break
        tapped = conv.layer in card.submodel.taps
        raw = tapped and card.submodel.activation is Activation.NONE
        if raw:  # a raw tap before the last layer costs a second convolution with the same weights
            scale, zero = conv.raw_scale(per_tensor=False)
            bias = np.rint(conv.bias + (zero - _MIDDLE) * scale / conv.unit)  # moves each channel to its own zero point
            middle = graph.constant("middle", _MIDDLE, np.uint8)
            inner = graph.convolve(conv, codes, f"{conv.layer}_raw", scale, bias, middle)
            graph.dequantize(inner, conv.layer, scale, zero)
        if not raw or not last:
            name, step = f"{conv.layer}_codes", conv.step
            codes = graph.convolve(conv, codes, name, step, conv.bias, graph.constant("zero", 0, np.uint8))
            if tapped and not raw:
                graph.dequantize(codes, conv.layer, step, np.zeros(len(step)))
        codes = _pool(graph, conv.pool, codes, step, card)
    nodes = [*graph.nodes, *output_transposes(graph.nodes, card)]
    return make_model(card, nodes, list(graph.tensors.values()))


@dataclass(slots=True)
class _Graph:
    """Nodes and constants under construction."""

    nodes: list[onnx.NodeProto] = field(default_factory=list[onnx.NodeProto])
    tensors: dict[str, TensorProto] = field(default_factory=dict[str, TensorProto])

    def constant(self, name: str, value: npt.ArrayLike, dtype: npt.DTypeLike) -> str:
        array = np.asarray(value, dtype=dtype)
        self.tensors.setdefault(name, numpy_helper.from_array(array.copy(order="C"), name))
        return name

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:  # noqa: ANN401 - as helper.make_node takes them
        self.nodes.append(helper.make_node(kind, inputs, [output], output, **attributes))
        return output

    def dequantize(self, codes: str, output: str, step: npt.NDArray[np.float64], zero: npt.NDArray[np.float64]) -> str:
        scale = self.constant(f"{output}_step", step, np.float32)
        return self.node(
            "DequantizeLinear", [codes, scale, self.constant(f"{output}_zero", zero, np.uint8)], output, axis=1
        )

    def convolve(
        self,
        conv: QuantizedConv,
        codes: str,
        output: str,
        step: npt.NDArray[np.float64],
        bias: npt.NDArray[np.float64],
        zero: str,
    ) -> str:
        """Add a convolution that stores output channel k in steps of ``step[k]``: its weights' scale is unit / step."""
        one, no_offset = self.constant("one", 1, np.float32), self.constant("zero", 0, np.uint8)
        scale = self.constant(f"{output}_scale", conv.unit / step, np.float32)
        kernel = self.constant(f"{output}_kernel", conv.kernel.transpose(3, 2, 0, 1), np.int8)
        inputs = [
            self.node("DequantizeLinear", [codes, one, no_offset], f"{output}_input"),
            # own weights and zero points: ONNX Runtime's session.x64quantprecision fails if convolutions share them
            self._unpack(kernel, scale, f"{output}_weight", np.zeros(len(step), np.int8)),
            self._unpack(
                self.constant(f"{output}_bias", bias, np.int32),
                scale,
                f"{output}_offset",
                np.zeros(len(step), np.int32),
            ),
        ]
        self.node("Conv", inputs, f"{output}_sum", **_WINDOW)
        return self.node("QuantizeLinear", [f"{output}_sum", one, zero], output)

    def _unpack(self, codes: str, scale: str, output: str, zeros: npt.NDArray[np.signedinteger]) -> str:
        """Dequantise weights or biases, with a scale per output channel."""
        zero = self.constant(f"{output}_zero", zeros, zeros.dtype)
        return self.node("DequantizeLinear", [codes, scale, zero], output, axis=0)


def _image(graph: _Graph, card: ModelCard) -> str:
    """Add the nodes that turn the image into four channels of bytes, channels first.

    The constant is added after the Transpose: adding it to the three bytes of a pixel cost OpenVINO 5 to 7 % at
    block3_conv3. ONNX Runtime, which convolves channels-last, moves the Transpose after the Pad and cancels it there.
    """
    image = card.inputs[0].name
    if card.options.input_dtype == "float32":
        one, zero = graph.constant("one", 1, np.float32), graph.constant("zero", 0, np.uint8)
        image = graph.node("QuantizeLinear", [image, one, zero], "image_bytes")
    planes = graph.node("Transpose", [image], "image_nchw", perm=[0, 3, 1, 2])
    pads = graph.constant("pads", [0, 0, 0, 0, 0, 1, 0, 0], np.int64)
    return graph.node("Pad", [planes, pads, graph.constant("constant", CONSTANT, np.uint8)], "image_constant")


def _pool(graph: _Graph, pool: str | None, codes: str, step: npt.NDArray[np.float64], card: ModelCard) -> str:
    if pool is None:
        return codes
    codes = graph.node("MaxPool", [codes], f"{pool}_codes", kernel_shape=[2, 2], strides=[2, 2])
    if pool in card.submodel.taps:
        graph.dequantize(codes, pool, step, np.zeros(len(step)))
    return codes


def _float_tap(
    graph: _Graph, layer: str, codes: str, step: npt.NDArray[np.float64], card: ModelCard, network: StockNetwork
) -> None:
    """Add the last convolution in float32, on the real values of the codes."""
    kernel, bias = network.weights[layer]
    full = with_mean(kernel) if len(step) == len(kernel[0, 0]) + 1 else kernel
    inputs = [
        graph.dequantize(codes, f"{layer}_input", step, np.zeros(len(step))),
        graph.constant(f"{layer}_kernel", full.transpose(3, 2, 0, 1), np.float32),
        graph.constant(f"{layer}_bias", bias, np.float32),
    ]
    raw = card.submodel.activation is Activation.NONE
    output = graph.node("Conv", inputs, layer if raw else f"{layer}_conv", **_WINDOW)
    if not raw:
        graph.node("Relu", [output], layer)
