"""Copy a Keras model with one change; Keras builds the copy from the model's configuration."""
# pyright: reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fmedge.errors import UsageError
from fmedge.export.tensorflow.keras_import import Layer, Model, is_graph, keras, reason_of
from fmedge.model.keras_input import Json

_AXES = 4

_FLOATS = ("float16", "bfloat16", "float64")


def resized(model: Model, shapes: Sequence[Sequence[int | None]]) -> Model:
    """Return a copy that accepts inputs of other sizes, and any batch size.

    Args:
        model: Functional; it is not changed.
        shapes: Shapes of its inputs, batch first.

    Raises:
        UsageError: Keras cannot build the copy.
    """
    tensors = [keras.Input(shape[1:], dtype=own.dtype) for own, shape in zip(model.inputs, shapes, strict=True)]

    def edit(layer: Layer) -> Json:
        return _edited(layer.get_config(), _opened) if is_graph(layer) else layer.get_config()

    return _copy(model, tensors, edit, "for images of this size")


def in_float32(model: Model) -> Model:
    """Return the model itself if it computes in float32 throughout, otherwise a copy that does.

    Keras' mixed precision is meant for training: the weights are float32 anyway.

    Args:
        model: Sequential or functional; it is not changed.

    Raises:
        UsageError: Keras cannot build the copy.
    """
    if all(layer.compute_dtype not in _FLOATS for layer in _layers(model)):
        return model
    tensors = [keras.Input(own.shape[1:], dtype=_widened(own.dtype)) for own in model.inputs]

    def edit(layer: Layer) -> Json:
        return _edited(layer.get_config(), _with_floats)

    return _copy(model, tensors, edit, "in float32")


def _layers(model: Model) -> list[Layer]:
    """Return the layers of a model, including those of nested models."""
    return [inner for layer in model.layers for inner in (_layers(layer) if is_graph(layer) else [layer])]


def _copy(model: Model, tensors: list[Any], edit: Callable[[Layer], Json], how: str) -> Model:
    def copied(layer: Layer) -> Layer:
        return layer.__class__.from_config(edit(layer))

    whole = keras.Model(model.inputs, model.outputs)
    inputs = keras.tree.pack_sequence_as(whole.input, tensors)
    try:
        copy = keras.models.clone_model(whole, input_tensors=inputs, clone_function=copied)
        copy.set_weights(whole.get_weights())
    except (ValueError, TypeError) as error:
        raise UsageError(f"Keras cannot rebuild the model {how}: {reason_of(error)}") from error
    for layer in _layers(copy):
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # applies the mean and variance that were just set
    return copy


def _edited(config: Json, edit: Callable[[dict[str, Json]], dict[str, Json]]) -> Json:
    """Return a configuration with ``edit`` applied to every object in it, inner objects first."""
    if isinstance(config, dict):
        return edit({key: _edited(value, edit) for key, value in config.items()})
    return [_edited(part, edit) for part in config] if isinstance(config, list) else config


def _opened(fields: dict[str, Json]) -> dict[str, Json]:
    """Open the recorded shapes: any number of pictures, (N, H, W, C), of any height and width."""
    for key in ("batch_shape", "build_input_shape"):
        shape = fields.get(key)
        if shape and len(shape) == _AXES:
            fields[key] = (None, None, None, shape[3])
    return fields


def _with_floats(fields: dict[str, Json]) -> dict[str, Json]:
    if fields.get("class_name") == "DTypePolicy":
        return {**fields, "config": {"name": "float32"}}
    if isinstance(fields.get("dtype"), str):
        return {**fields, "dtype": _widened(fields["dtype"])}
    return fields


def _widened(dtype: str) -> str:
    return "float32" if dtype in _FLOATS else dtype
