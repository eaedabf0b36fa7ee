"""A sub-model of a user's own network as float32 ONNX, for the writers that start from there."""

from __future__ import annotations

import importlib
from dataclasses import replace
from importlib.metadata import version
from typing import Any, cast

from onnx import ModelProto

from fmedge.errors import BackendUnavailable
from fmedge.export.network import Network
from fmedge.model.card import ModelCard, TensorSpec
from fmedge.model.preprocessing import Preprocessing
from fmedge.model.submodel import KERAS, ONNX, Format, Precision
from fmedge.system.install import install_command

_PREPARED = Preprocessing("RGB", (0.0,))
"""Stands for pixels that are prepared already: nothing is done to them."""


def float_model_of(card: ModelCard, network: Network) -> ModelProto:
    """Return what a card's model computes as ONNX in float32, not yet checked and without the card's facts.

    Args:
        card: The model, of whatever format and precision; its input, outputs, taps and size are kept.
        network: The ONNX network or Keras model to cut.

    Raises:
        UsageError: The network cannot be cut like this, or has an operation that ONNX lacks.
    """
    card = replace(card, options=replace(card.options, format=Format.ONNX, precision=Precision.FP32))
    if card.submodel.source == ONNX:
        from fmedge.export.onnx.cut import float_model
        from fmedge.export.onnx_source.network import OnnxNetwork

        return float_model(card, cast("OnnxNetwork", network))
    from fmedge.export.onnx import tf2onnx_route  # loads TensorFlow
    from fmedge.export.tensorflow.trace import TfNetwork

    return tf2onnx_route.float_model(card, cast("TfNetwork", network))


def unprepared_model_of(card: ModelCard, network: Network) -> ModelProto:
    """Return the same for one image that is prepared already, (1, H, W, C) in float32, with 3 channels or 1.

    Args:
        card: The model; its preprocessing is left out.
        network: The ONNX network or Keras model to cut.

    Raises:
        UsageError: As in :func:`float_model_of`.
    """
    image, channels = card.inputs[0], 1 if card.preprocessing.channel_order == "GREY" else 3
    options = replace(card.options, batch=1, input_dtype="float32")
    inputs = (TensorSpec(image.name, "float32", (1, *(card.options.size or (None, None)), channels), "NHWC"),)
    outputs = tuple(replace(spec, shape=(1, *spec.shape[1:])) for spec in card.outputs)
    card = replace(card, options=options, inputs=inputs, outputs=outputs, preprocessing=_PREPARED)
    return float_model_of(card, replace(cast("Any", network), preprocessing=_PREPARED))


def converter_tools(card: ModelCard) -> dict[str, str]:
    """Return the versions of what turns a card's network into ONNX: of nothing where it is ONNX already.

    Raises:
        BackendUnavailable: It is not installed.
    """
    if card.submodel.source != KERAS:
        return {}
    try:
        importlib.import_module("fmedge.export.onnx.tf2onnx_route")  # TensorFlow takes seconds
        from fmedge.export.tensorflow.tf_import import tf
    except ImportError as error:
        raise BackendUnavailable(
            f"Making {card.format} from a Keras model needs packages not installed.",
            hint=f"Run {install_command('export')}.",
        ) from error
    return {"tf2onnx": version("tf2onnx"), "tensorflow": str(tf.__version__)}
