"""Build the TFLite model of a sub-model with TensorFlow's converter."""
# pyright: reportMissingTypeStubs=false, reportMissingImports=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fmedge.errors import ParityError, UsageError
from fmedge.export.built import Built
from fmedge.export.calibration import Calibration
from fmedge.export.tensorflow.tf_import import ConverterError, tf
from fmedge.export.tensorflow.trace import TfNetwork, Traced, cannot_convert, trace
from fmedge.export.tflite.file import finish
from fmedge.model.card import ModelCard
from fmedge.model.submodel import MAX_FLOAT16, Precision
from fmedge.system.stderr import quietly

_RECIPES: Mapping[Precision, dict[str, str]] = {
    Precision.FP32: {},
    Precision.FP16: {
        "weights": "float16, the mean among them, a DEQUANTIZE after each",
        "arithmetic": "float32 on the CPU, which widens the weights at load; float16 where a delegate has it, such as "
        "LiteRT on a GPU",
        "outputs": "float32",
    },
    Precision.INT8: {
        "method": "static, from photos, by TensorFlow's converter",
        "weights": "int8, a scale per output channel",
        "activations": "int8, a scale per tensor, from the extremes seen",
        "input and output": "as declared; converted inside",
    },
}


def build_model(card: ModelCard, network: TfNetwork, calibration: Calibration | None = None) -> Built:
    """Build the model that a card describes, using built-in operations only.

    Args:
        card: The model to build; only the card's facts are used.
        network: A stock network or a Keras model.
        calibration: Photos for the int8 ranges; not used for float precisions.

    Returns:
        The file's content and the finished card; the same card and network give the same bytes.

    Raises:
        UsageError: The network cannot be cut like this, or needs more than TFLite's built-in operations.
        ParityError: With fp16: a weight is too large.
    """
    recipe = dict(_RECIPES[card.precision])
    if calibration is not None and card.precision is Precision.INT8:
        recipe["calibration"] = calibration.describe()
    card = replace(card, tools={**card.tools, "tensorflow": tf.__version__}, recipe=recipe)
    traced = trace(card, network)
    if card.precision is Precision.FP16:
        _require_half_range(traced)
    return Built(finish(_convert(traced, card, calibration), card, traced.layers), card)


def _convert(traced: Traced, card: ModelCard, calibration: Calibration | None) -> bytes:
    with quietly():
        converter = tf.lite.TFLiteConverter.from_concrete_functions([traced.function])
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        if card.precision is not Precision.FP32:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if card.precision is Precision.FP16:
            converter.target_spec.supported_types = [tf.float16]
        if card.precision is Precision.INT8 and calibration is not None:
            converter.representative_dataset = lambda: _samples(card, calibration)
        try:
            return bytes(converter.convert())
        except ConverterError as error:
            raise UsageError(
                "TFLite's built-in operations cannot express the model.",
                hint="Cut before the layer it has no operation for, or use --format onnx.",
            ) from error
        except (ValueError, TypeError, RuntimeError) as error:  # TensorFlow's, for odd models
            raise cannot_convert("TFLite's converter", error) from error


def _samples(card: ModelCard, calibration: Calibration) -> Iterator[list[npt.NDArray[Any]]]:
    """Yield the photos as inputs of the model, one batch per photo."""
    for photo in calibration.images(card.options.size):
        yield [np.repeat(photo[np.newaxis], card.options.batch or 1, axis=0).astype(card.options.input_dtype)]


def _require_half_range(traced: Traced) -> None:
    for operation in traced.function.graph.get_operations():
        if operation.type == "Const" and operation.outputs[0].dtype == tf.float32:
            values: Any = tf.make_ndarray(operation.get_attr("value"))
            if np.abs(values).max(initial=0.0) > MAX_FLOAT16:
                raise ParityError(
                    f"'{_layer(operation.name, traced.layers)}' holds values too large for "
                    f"float16, which ends at {MAX_FLOAT16:,.0f}.",
                    hint="Use --precision fp32.",
                )


def _layer(operation: str, layers: tuple[str, ...]) -> str:
    number = operation.split("/")[0].removeprefix("layer_")
    return layers[int(number)] if number.isdecimal() else operation
