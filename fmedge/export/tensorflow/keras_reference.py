"""Compute taps with Keras itself: the reference for a cut, with code that shares nothing with the cut's own walk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fmedge.errors import UsageError
from fmedge.export.tensorflow.keras_calls import name_of
from fmedge.export.tensorflow.keras_copy import resized
from fmedge.export.tensorflow.keras_import import Layer, Model, keras
from fmedge.export.tensorflow.keras_taps import Tap
from fmedge.export.tensorflow.tf_import import Tensor, tf


def keras_outputs(model: Model, taps: Sequence[Tap], pixels: Tensor) -> dict[str, Tensor]:
    """Compute the taps by ``keras.Model(model.inputs, tensor)(pixels, training=False)``, as ``predict`` does.

    A tap inside a nested model takes two or more such steps: first the inputs of the nested model, then the tap inside
    it. For images of another size than the model's own, Keras rebuilds the part of the model that is needed.

    Args:
        model: Sequential or functional; it is not changed.
        taps: The taps to compute.
        pixels: Pixels as the model takes them.

    Returns:
        Per tap: (N, H, W, C).

    Raises:
        UsageError: Keras cannot rebuild the model for this size, or a layer does more after its activation, so that
            there is no value before it.
    """
    return {tap.name: _tap_output(model, tap, pixels) for tap in taps}


def _tap_output(model: Model, tap: Tap, pixels: Tensor) -> Tensor:
    values = [pixels]
    for call in tap.place.path:
        values = _compute(model, call.input_tensors, values)
        model = call.operation
    node = tap.place.node
    if tap.side == "output":
        return _compute(model, node.outputs, values)[0]
    before = _compute(model, node.input_tensors[:1], values)[0]
    if tap.side == "input":
        return before
    bare = _call(tap.twin, before)
    _require_last(node.operation, bare, _compute(model, node.outputs, values)[0])
    return bare


def _require_last(layer: Layer, bare: Tensor, whole: Tensor) -> None:
    """Check that a layer gives the same as its activation applied to its twin, the copy without an activation."""
    scale = float(np.abs(whole).max())
    if not np.allclose(layer.activation(bare), whole, rtol=1e-4, atol=1e-5 * scale):
        raise UsageError(
            f"'{name_of(layer)}' does more after its activation: there is no value before it.",
            hint="Use --activation relu.",
        )


def _compute(model: Model, wanted: Sequence[Any], inputs: Sequence[Tensor]) -> list[Tensor]:
    """Compute the values of symbolic tensors of a model."""
    piece = keras.Model(model.inputs, list(wanted))
    if any(not _fits(own.shape, value.shape) for own, value in zip(model.inputs, inputs, strict=True)):
        piece = resized(piece, [value.shape for value in inputs])
    return keras.tree.flatten(_call(piece, list(inputs)))


def _call(layer: Layer, inputs: Any) -> Any:  # noqa: ANN401 - as the layer takes and gives them
    try:
        return layer(inputs, training=False)
    except tf.errors.UnimplementedError:  # channels-first convolutions without oneDNN: XLA has them
        return tf.function(layer, jit_compile=True, autograph=False)(inputs, training=False)


def _fits(own: Sequence[int | None], given: Sequence[int]) -> bool:
    return all(extent in (None, other) for extent, other in zip(own, given, strict=True))
