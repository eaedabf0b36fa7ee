"""A sub-model of a user's own network as float32 ONNX, for the writers that start from there."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from onnx import ModelProto

from fmedge.export.network import Network
from fmedge.model.card import ModelCard
from fmedge.model.submodel import ONNX, Format, Precision


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
