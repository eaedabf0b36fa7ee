"""Write int8 ONNX of a network of the user's own, an ONNX file or a Keras model."""
# pyright: reportMissingTypeStubs=false

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import ModelProto, helper

from fmedge.export.built import Built
from fmedge.export.calibration import Calibration
from fmedge.export.network import Images, Network
from fmedge.export.onnx.file import finish, make_model
from fmedge.export.onnx.float_model import float_model_of
from fmedge.export.onnx.quantized.quantizer import float_operators
from fmedge.export.onnx.quantized.recipes import Made, best_model
from fmedge.export.onnx_source.evaluator import evaluate
from fmedge.export.onnx_source.reading import opset_of
from fmedge.model.card import ModelCard


@dataclass(frozen=True, slots=True)
class _Photos:
    """The calibration photos as the model takes them; see :class:`fmedge.export.onnx.quantized.statistics.Photos`."""

    calibration: Calibration
    card: ModelCard

    def __iter__(self) -> Iterator[npt.NDArray[np.uint8]]:
        batch = self.card.options.batch or 1
        return (np.stack([image] * batch) for image in self.calibration.images(self.card.options.size))

    def __len__(self) -> int:
        return len(self.calibration.photos)


def build_model(card: ModelCard, network: Network, calibration: Calibration) -> Built:
    """Build the model that a card describes, with ranges and rounding derived from the photos.

    Args:
        card: The model to build; only the card's facts are used.
        network: The ONNX network or Keras model to cut.
        calibration: The photos.

    Returns:
        The file's content and the finished card; the same card, network and photos give the same bytes on one machine.

    Raises:
        UsageError: The network cannot be cut like this, or ONNX Runtime cannot run it.
    """
    source = float_model_of(card, network)
    made = best_model(
        source, _Photos(calibration, card), seven_bit=card.options.seven_bit, progress=calibration.progress
    )
    model = make_model(card, made.model.graph.node, made.model.graph.initializer)
    model.opset_import[0].version = opset_of(source)
    model.ir_version = max(model.ir_version, helper.find_min_ir_version_for(model.opset_import))
    tools = {**card.tools, "onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__}
    card = replace(card, tools=tools, recipe=_recipe(card, made, calibration))
    return Built(finish(model, card), card, simulations=(partial(_simulate, made.model, card),))


def _simulate(model: ModelProto, card: ModelCard, images: Images) -> Mapping[str, npt.NDArray[np.float64]]:
    """Compute a quantized model in float64 with onnx's evaluator; see :data:`fmedge.export.built.Simulation`."""
    batch = card.options.batch or 1
    dtype = np.uint8 if card.options.input_dtype == "uint8" else np.float64
    parts = [
        evaluate(model, {card.inputs[0].name: cast("Any", images[start : start + batch].astype(dtype))})
        for start in range(0, len(images), batch)
    ]
    order = [card.options.layout.index(axis) for axis in "NCHW"]
    names = [entry.name for entry in model.graph.output]
    return {
        name: np.concatenate(values).transpose(order)
        for name, values in zip(names, zip(*parts, strict=True), strict=True)
    }


def _recipe(card: ModelCard, made: Made, calibration: Calibration) -> dict[str, str]:
    """Return the recipe in words."""
    bits = "7 bits (-64 to 64), safe on x86 without VNNI" if card.options.seven_bit else "8 bits (-127 to 127)"
    operators = [f"{kind} x {count}" for kind, count in float_operators(made.model).items()]
    return {
        "method": "static, from photos, written by onnxruntime's quantizer (QuantizeLinear, DequantizeLinear)",
        "weights": f"int8, {bits}, a scale per output channel",
        "activations": "uint8, a scale per tensor; factors per channel in the weights where the network allows them",
        "chosen": made.recipe.words,
        "in float": ", ".join(operators) or "nothing",
        "input and output": f"{card.options.input_dtype} and float32",
        "calibration": calibration.describe(),
    }
