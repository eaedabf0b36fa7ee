"""What Keras itself computes at taps: the judge of a cut, which shares nothing with the cut's own walk."""

# pyright: reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fmedge.errors import UsageError
from fmedge.export.keras_cut import Tap
from fmedge.export.keras_import import Layer, Model, keras, reason_of
from fmedge.export.tf_import import Tensor
from fmedge.keras_input import Json


def keras_outputs(model: Model, taps: Sequence[Tap], pixels: Tensor) -> dict[str, Tensor]:
    """Compute the taps by ``keras.Model(model.inputs, tensor)(pixels, training=False)``, as ``predict`` does.

    A tap inside a nested model is reached in two such steps or more: what the nested model is called with, then its own
    inside. For images of another size than the model's own, Keras rebuilds what it needs of it.

    Args:
        model: Sequential or functional; it is not changed.
        taps: Where to look.
        pixels: As the model takes them.

    Returns:
        Per tap (N, H, W, C).

    Raises:
        UsageError: Keras cannot rebuild the model for this size, or an activation is not the last thing that its layer
            does, so that there is no value before it.
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
    bare = tap.twin(before)
    _require_last(node.operation, bare, _compute(model, node.outputs, values)[0])
    return bare


def _require_last(layer: Layer, bare: Tensor, whole: Tensor) -> None:
    """Check that a layer's activation, done to what its twin without one gives, is what the layer gives."""
    scale = float(np.abs(whole).max())
    if not np.allclose(layer.activation(bare), whole, rtol=1e-4, atol=1e-5 * scale):
        raise UsageError(
            f"'{layer.name}' does more after its activation: there is no value before it. Use --activation relu."
        )


def _compute(model: Model, wanted: Sequence[Any], inputs: Sequence[Tensor]) -> list[Tensor]:
    """Symbolic tensors of a model as values."""
    piece = keras.Model(model.inputs, list(wanted))
    if any(not _fits(own.shape, value.shape) for own, value in zip(model.inputs, inputs, strict=True)):
        piece = _resized(piece, inputs)
    return keras.tree.flatten(piece(list(inputs), training=False))


def _fits(own: Sequence[int | None], given: Sequence[int]) -> bool:
    return all(extent in (None, other) for extent, other in zip(own, given, strict=True))


def _resized(piece: Model, inputs: Sequence[Tensor]) -> Model:
    """A copy that takes inputs of other sizes, as Keras builds it."""
    tensors = [keras.Input(value.shape[1:], dtype=own.dtype) for own, value in zip(piece.inputs, inputs, strict=True)]
    try:
        structure = keras.tree.pack_sequence_as(piece.input, tensors)
        copy = keras.models.clone_model(piece, input_tensors=structure, clone_function=_copied)
        copy.set_weights(piece.get_weights())
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"Keras cannot rebuild the model for images of this size: {reason_of(error)} Export its own size."
        ) from error
    return copy


def _copied(layer: Layer) -> Layer:
    """A layer from its configuration; the inputs of a nested model lose their fixed sizes."""
    config = layer.get_config()
    if isinstance(layer, keras.Function | keras.Sequential):
        config = _opened(config)
    return layer.__class__.from_config(config)


_PICTURE_AXES = 4


def _opened(config: Json) -> Json:
    """A configuration whose pictures, (N, H, W, C), may have any height and width."""
    if isinstance(config, list):
        return [_opened(part) for part in config]
    if not isinstance(config, dict):
        return config
    opened: Json = {key: _opened(value) for key, value in config.items()}
    for key in ("batch_shape", "build_input_shape"):
        shape = opened.get(key)
        if shape and len(shape) == _PICTURE_AXES:
            opened[key] = (shape[0], None, None, shape[3])
    return opened
