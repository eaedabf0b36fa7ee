"""Write int8 TFLite directly from a plan, without TensorFlow.

The operators are QUANTIZE, PADV2, CONV_2D with ReLU, MAX_POOL_2D, DEQUANTIZE and, at some taps, MUL. A code here is the
plan's code minus 128, as TFLite's 8-bit convolutions require.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version

import numpy as np
import numpy.typing as npt

from fmedge.export.built import Built
from fmedge.export.calibration import Calibration
from fmedge.export.int8.plan import CONSTANT, QuantizedConv, reached, with_mean
from fmedge.export.int8.recipe import make_plan, recipe, simulations
from fmedge.export.stock_network import StockNetwork
from fmedge.export.tflite.file import finish
from fmedge.export.tflite.graph import TfliteGraph
from fmedge.model.card import ModelCard
from fmedge.model.stock import STOCK
from fmedge.model.submodel import Activation

_ZERO = -128
"""The code for 0 after ReLU, and for black pixels."""


def build_model(card: ModelCard, network: StockNetwork, calibration: Calibration) -> Built:
    """Write as TFLite the same plan that :func:`fmedge.export.onnx.int8.build_model` writes as ONNX; see there."""
    plan = make_plan(card, network, calibration)
    tools = {**card.tools, "flatbuffers": version("flatbuffers")}
    card = replace(card, tools=tools, recipe=recipe(card, calibration, "per tensor"))
    model = finish(plan_model(plan, card, network), card, ())
    return Built(model, card, simulations=simulations(plan, card, network))


def plan_model(plan: list[QuantizedConv], card: ModelCard, network: StockNetwork) -> bytes:
    """Build the model of a plan, without the card's facts. The plan may be longer than the taps need."""
    writer = _Writer(card, network)
    codes, step = writer.image(), np.ones(4)
    deepest = max(index for index, conv in enumerate(plan) if reached(conv, card))
    for conv in plan[: deepest + 1]:
        codes, step = writer.convolution(conv, codes, step, last=conv is plan[deepest])
    return writer.graph.pack([writer.input], [writer.outputs[name] for name in card.submodel.taps])


class _Writer:
    """One model under construction.

    Attributes:
        graph: The graph that is written to.
        input: Number of the image's tensor.
        outputs: Per tap, the number of its tensor.
    """

    def __init__(self, card: ModelCard, network: StockNetwork) -> None:
        self.graph = TfliteGraph(batch=card.options.batch)
        self.outputs: dict[str, int] = {}
        self._card = card
        self._network = network
        dtype = np.uint8 if card.options.input_dtype == "uint8" else np.float32
        scale = 1.0 if dtype is np.uint8 else None
        self.input = self.graph.tensor(card.inputs[0].name, (*self._size, 3), dtype, scale)

    @property
    def _size(self) -> tuple[int, int]:
        return self._card.options.size or (0, 0)

    def image(self) -> int:
        """Add the operators that turn the image into four channels of codes: R, G, B and the constant."""
        graph = self.graph
        codes = graph.tensor("image_codes", (*self._size, 3), np.int8, 1.0, _ZERO)
        graph.operator("QUANTIZE", 1, [self.input], codes, "QuantizeOptions")
        pads = graph.constant("pads", [[0, 0], [0, 0], [0, 0], [0, 1]], np.int32)
        fill = graph.constant("constant", [CONSTANT + _ZERO], np.int8, [1.0], _ZERO)
        padded = graph.tensor("image_constant", (*self._size, 4), np.int8, 1.0, _ZERO)
        return graph.operator("PADV2", 1, [codes, pads, fill], padded, "PadV2Options")

    def convolution(
        self, conv: QuantizedConv, codes: int, step: npt.NDArray[np.float64], *, last: bool
    ) -> tuple[int, npt.NDArray[np.float64]]:
        """Add one convolution, its tap and the pool after it, if any; return the next layer's input codes and steps."""
        tapped = conv.layer in self._card.submodel.taps
        if last and self._card.options.float_tap:
            self._float_tap(conv.layer, codes, step)
            return codes, step
        if tapped and self._card.submodel.activation is Activation.NONE:
            ((scale,), (zero,)) = conv.raw_scale(per_tensor=True)
            raw = self._integer(
                conv, codes, f"{conv.layer}_raw", float(scale), int(zero) + _ZERO, np.ones(1), relu=False
            )
            self._dequantize(conv.layer, raw, conv.layer)
            if last:
                return raw, step
            tapped = False
        if conv.layer == self._card.submodel.deepest:
            tap = self._integer(conv, codes, f"{conv.layer}_codes", conv.relu_step, _ZERO, np.ones(1), relu=True)
            self._dequantize(conv.layer, tap, conv.layer)
            return tap, step
        codes = self._integer(conv, codes, f"{conv.layer}_codes", 1.0, _ZERO, conv.step, relu=True)
        if tapped:
            self._scaled(conv.layer, codes, conv.layer, conv.step)
        return self._pool(conv, codes), conv.step

    def _shape(self, layer: str) -> tuple[int, int, int]:
        channels, height, width = STOCK[self._network.source].find(layer).output_shape(*self._size)
        return height, width, channels

    def _integer(
        self,
        conv: QuantizedConv,
        codes: int,
        name: str,
        scale: float,
        zero: int,
        step: npt.NDArray[np.float64],
        *,
        relu: bool,
    ) -> int:
        """Add a convolution whose output declares ``scale`` and whose codes are worth ``step``: scales unit / step."""
        units = conv.unit / step
        kernel = self.graph.constant(f"{name}_kernel", conv.kernel.transpose(3, 0, 1, 2), np.int8, units)
        bias = self.graph.constant(f"{name}_bias", conv.bias, np.int32, units)
        output = self.graph.tensor(name, self._shape(conv.layer), np.int8, scale, zero)
        return self.graph.convolve([codes, kernel, bias], output, relu=relu)

    def _pool(self, conv: QuantizedConv, codes: int) -> int:
        pool = conv.pool
        if pool is None or conv.layer == self._card.submodel.deepest:
            return codes
        codes = self.graph.max_pool(codes, self.graph.tensor(f"{pool}_codes", self._shape(pool), np.int8, 1.0, _ZERO))
        if pool in self._card.submodel.taps:
            self._scaled(pool, codes, pool, conv.step)
        return codes

    def _dequantize(self, layer: str, codes: int, name: str) -> int:
        values = self.graph.tensor(name, self._shape(layer), np.float32)
        self.outputs[name] = values
        return self.graph.operator("DEQUANTIZE", 2, [codes], values, "DequantizeOptions")

    def _scaled(self, layer: str, codes: int, name: str, step: npt.NDArray[np.float64]) -> None:
        """Add the operators that turn codes with a step per channel into real values, as a tap."""
        plain = self._dequantize(layer, codes, f"{name}_float")
        steps = self.graph.constant(f"{name}_step", step, np.float32)
        self.outputs[name] = self.graph.tensor(name, self._shape(layer), np.float32)
        self.graph.operator("MUL", 1, [plain, steps], self.outputs[name], "MulOptions")

    def _float_tap(self, layer: str, codes: int, step: npt.NDArray[np.float64]) -> None:
        """Add the last convolution in float32, with the codes' steps folded into its kernel."""
        kernel, bias = self._network.weights[layer]
        full = with_mean(kernel) if len(step) == kernel.shape[2] + 1 else kernel
        shape = self.graph.shape(codes)
        values = self.graph.tensor(f"{layer}_input", shape, np.float32)
        self.graph.operator("DEQUANTIZE", 2, [codes], values, "DequantizeOptions")
        scaled = (full * step[:, np.newaxis]).transpose(3, 0, 1, 2)
        inputs = [
            values,
            self.graph.constant(f"{layer}_kernel", scaled, np.float32),
            self.graph.constant(f"{layer}_bias", bias, np.float32),
        ]
        self.outputs[layer] = self.graph.tensor(layer, self._shape(layer), np.float32)
        relu = self._card.submodel.activation is Activation.RELU
        self.graph.convolve(inputs, self.outputs[layer], relu=relu)
