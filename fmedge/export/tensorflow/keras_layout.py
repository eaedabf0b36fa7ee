"""Bring a Keras model whose layers put the channels first to channels last, which every converter and engine takes.

The model is built anew, call by call. A layer that says ``channels_first`` becomes the same layer with
``channels_last``; its weights are the same numbers, since Keras' kernels do not depend on it. What treats all axes
alike follows, and axes that layers name are counted anew. Everything else gets its input in the order that it knows,
through a Permute. So the copy computes the same values.
"""
# pyright: reportUnknownArgumentType=false, reportUnknownVariableType=false, reportUnknownMemberType=false

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from typing import Any

from fmedge.errors import UsageError
from fmedge.export.tensorflow.keras_calls import calls, name_of
from fmedge.export.tensorflow.keras_import import Call, Layer, Model, is_graph, keras, reason_of
from fmedge.export.tensorflow.keras_taps import describe
from fmedge.export.tensorflow.tf_import import Tensor
from fmedge.model.activations import LINEAR
from fmedge.model.keras_input import CHANNELS_FIRST, puts_channels_first

_FORMATTED = (
    *("Conv2D", "DepthwiseConv2D", "SeparableConv2D", "Conv2DTranspose", "MaxPooling2D", "AveragePooling2D"),
    *("GlobalMaxPooling2D", "GlobalAveragePooling2D", "ZeroPadding2D", "Cropping2D", "UpSampling2D"),
    "SpatialDropout2D",
)
"""Layers that compute the same with the channels last, up to the order of axes."""

_WITH_AXIS = (
    *("BatchNormalization", "LayerNormalization", "GroupNormalization", "Normalization"),
    *("Softmax", "Concatenate"),
)
"""Layers that name axes as ``axis``; their weights, if any, have one axis, the channels'."""

_ALIKE = (
    *("Activation", "ReLU", "LeakyReLU", "ELU", "Dropout", "GaussianDropout", "GaussianNoise", "AlphaDropout"),
    *("ActivityRegularization", "Identity", "Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"),
    *("TrueDivide", "Relu", "Relu6", "LeakyRelu", "Elu", "Selu", "Gelu", "Silu", "Sigmoid", "Tanh", "Softplus"),
    *("HardSigmoid", "HardSilu", "HardTanh"),
)
"""Layers and operations that treat all axes alike, given tensors of four axes and numbers."""

_UNEVEN = ("softmax", "log_softmax", "sparsemax", "glu", "prelu", "custom")
"""How the names of activations begin that are not the same for all axes, or not Keras' own."""

_AXIS: Mapping[int, int] = {0: 0, 1: 3, 2: 1, 3: 2}
"""Where each axis of (N, C, H, W) is in (N, H, W, C)."""

_AXES = 4

_TO_LAST, _TO_FIRST = (2, 3, 1), (3, 1, 2)
"""Orders of Permute, which does not count the batch."""


def channels_last(model: Model) -> Model:
    """Return the model itself if it puts the channels last throughout, otherwise a copy that does.

    Layers keep their names. A copy takes (N, H, W, C) where the model took (N, C, H, W).

    Args:
        model: Sequential or functional, built; it is not changed.

    Raises:
        UsageError: A layer cannot be brought over.
    """
    if len(model.inputs) != 1 or not _formats(model):
        return model
    (image,) = model.inputs
    turned = len(image.shape) == _AXES and puts_channels_first(image.shape, _formats(model))
    if not turned and CHANNELS_FIRST not in _formats(model):
        return model
    return _Copy(model).rebuilt([turned])[0]


def _formats(model: Model) -> list[str]:
    """Return what the layers of a model and of those in it say of the channels, in the network's order."""
    found = list[str]()
    for node in calls(model):
        inner = node.operation
        found += _formats(inner) if is_graph(inner) else [inner.data_format] if hasattr(inner, "data_format") else []
    return found


@dataclass(slots=True)
class _Value:
    """A tensor of the copy: as the model has it, and with the channels last; one of them is made from the other."""

    own: Tensor = None
    last: Tensor = None


class _Copy:
    """A model while it is built anew."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._values: dict[int, _Value] = {}
        self._layers: dict[int, tuple[Layer, dict[str, Any] | None]] = {}
        self._nested: dict[int, tuple[Model, list[bool], list[bool]]] = {}
        self._called = Counter(id(node.operation) for node in calls(model))
        self._names = {node.operation.name for node in calls(model)}

    def rebuilt(self, turned: Sequence[bool]) -> tuple[Model, list[bool]]:
        """Build the copy.

        Args:
            turned: Per input, whether the copy takes the channels last where the model takes them first.

        Returns:
            The copy, and the same per output.
        """
        inputs = list[Tensor]()
        for tensor, moved in zip(self._model.inputs, turned, strict=True):
            shape = _moved(tensor.shape) if moved else tensor.shape
            name = tensor._keras_history.operation.name  # noqa: SLF001 - Keras has no public way to ask
            inputs.append(keras.Input(batch_shape=shape, dtype=tensor.dtype, name=name))
            self._values[id(tensor)] = _Value(last=inputs[-1]) if moved else _Value(own=inputs[-1])
        for node in calls(self._model):
            try:
                self._add(node)
            except (ValueError, TypeError) as error:
                raise UsageError(
                    f"'{name_of(node.operation)}' cannot be brought to channels last: {reason_of(error)}"
                ) from error
        values = [self._values[id(tensor)] for tensor in self._model.outputs]
        outputs = [value.own if value.last is None else value.last for value in values]
        return keras.Model(inputs, outputs, name=self._model.name), [value.last is not None for value in values]

    def _add(self, node: Call) -> None:
        """Repeat a call with a copy of its layer."""
        operation = node.operation
        values = [self._values[id(tensor)] for tensor in node.input_tensors]
        if is_graph(operation):
            layer, taken, given = self._inner(operation, [value.last is not None for value in values])
        else:
            aside = self._keeps_places(node)
            name = self._free_name(f"{operation.name}_{CHANNELS_FIRST}") if aside else operation.name
            layer, change = self._layer(operation, _changed(node, values), name)
            taken, given = ([change is not None] * len(side) for side in (values, node.outputs))
        forms = [self._last(value) if last else self._own(value) for value, last in zip(values, taken, strict=True)]
        known = {id(tensor): form for tensor, form in zip(node.input_tensors, forms, strict=True)}
        args, kwargs = node.arguments.fill_in(known)
        results = keras.tree.flatten(layer(*args, **kwargs))
        if not is_graph(operation):
            _copy_weights(operation, layer)
        for tensor, result, last in zip(node.outputs, results, given, strict=True):
            turned = last and len(result.shape) == _AXES
            self._values[id(tensor)] = _Value(last=result) if turned else _Value(own=result)
            if layer.name != operation.name:  # the name belongs to what is shown, the channels last
                self._values[id(tensor)] = _Value(last=keras.layers.Permute(_TO_LAST, name=operation.name)(result))

    def _keeps_places(self, node: Call) -> bool:
        """Tell whether a layer, which cannot be brought over, gives a value for each that it gets, channels first."""
        kind = type(node.operation).__name__
        values = [self._values[id(tensor)] for tensor in node.input_tensors]
        turned = [tensor.shape for tensor in node.input_tensors if self._values[id(tensor)].last is not None]
        return (
            _changed(node, values) is None
            and len(node.outputs) == 1
            and node.outputs[0].shape in turned
            and self._called[id(node.operation)] == 1
            and kind not in ("Permute", "Reshape", "Transpose")
            and not hasattr(node.operation, "data_format")
        )

    def _layer(self, layer: Layer, change: dict[str, Any] | None, name: str) -> tuple[Layer, dict[str, Any] | None]:
        """Return the copy of a layer and how its arguments are changed, which its first call decides; None: not."""
        if id(layer) not in self._layers:
            made = layer.__class__.from_config({**layer.get_config(), **(change or {}), "name": name})
            self._layers[id(layer)] = made, change
        made, first = self._layers[id(layer)]
        return made, first or (None if change else change)

    def _inner(self, model: Model, turned: list[bool]) -> tuple[Model, list[bool], list[bool]]:
        """Return the copy of a nested model, and which inputs and outputs have the channels last there."""
        if id(model) not in self._nested:
            made, given = _Copy(model).rebuilt(turned)
            self._nested[id(model)] = made, turned, given
        return self._nested[id(model)]

    def _own(self, value: _Value) -> Tensor:
        if value.own is None:
            value.own = self._permuted(value.last, _TO_FIRST, CHANNELS_FIRST)
        return value.own

    def _last(self, value: _Value) -> Tensor:
        if value.last is None:
            value.last = self._permuted(value.own, _TO_LAST, "channels_last")
        return value.last

    def _permuted(self, tensor: Tensor, order: tuple[int, int, int], what: str) -> Tensor:
        name = self._free_name(f"{tensor._keras_history.operation.name}_{what}")  # noqa: SLF001
        return keras.layers.Permute(order, name=name)(tensor)

    def _free_name(self, base: str) -> str:
        name = next(
            name for name in chain([base], (f"{base}_{number}" for number in count(2))) if name not in self._names
        )
        self._names.add(name)
        return name


def _moved(shape: Any) -> tuple[int | None, ...]:  # noqa: ANN401
    return shape[0], shape[2], shape[3], shape[1]


def _changed(node: Call, values: Sequence[_Value]) -> dict[str, Any] | None:
    """Return the arguments with which a layer computes the same with the channels last; None if it must not.

    Args:
        node: The call.
        values: What it reads, in the copy.

    Raises:
        UsageError: The layer applies an activation that would have to be applied apart.
    """
    layer = node.operation
    kind = type(layer).__name__
    if not type(layer).__module__.startswith("keras.") or any(len(each.shape) != _AXES for each in node.input_tensors):
        return None
    if kind in _FORMATTED and layer.data_format == CHANNELS_FIRST:
        if function := _uneven(layer):
            raise UsageError(
                f"'{name_of(layer)}' puts the channels first and applies {function} itself: "
                "not brought to channels last."
            )
        return {"data_format": "channels_last"}
    if all(value.last is None for value in values):
        return None
    if kind in _WITH_AXIS:
        return _with_axes(layer)
    if kind == "PReLU" and layer.shared_axes and {2, 3} <= set(layer.shared_axes):
        return {"shared_axes": [_AXIS[axis] for axis in layer.shared_axes]}
    if kind == "Rescaling" and isinstance(layer.scale, (int, float)) and isinstance(layer.offset, (int, float)):
        return {}
    alike = kind in _ALIKE and not _uneven(layer)
    return {} if alike and all(_is_number_or_tensor(part) for part in _arguments(node)) else None


def _uneven(layer: Layer) -> str | None:
    """Return a layer's activation if it is not, or may not be, the same for all axes."""
    own = getattr(layer, "activation", None)
    function = LINEAR if own is None else describe(own)
    return function if function.startswith(_UNEVEN) else None


def _with_axes(layer: Layer) -> dict[str, Any] | None:
    """Return the axes of a layer counted anew; None if a weight of it would have other axes, too."""
    axes = layer.axis if isinstance(layer.axis, (list, tuple)) else [layer.axis]
    if len(axes) != 1 or not isinstance(axes[0], int):
        return None
    (axis,) = axes
    moved = _AXIS[axis % _AXES]
    if type(layer).__name__ != "Concatenate" and moved != _AXES - 1 and layer.weights:
        return None
    return {"axis": moved}


def _arguments(node: Call) -> list[Any]:
    return keras.tree.flatten((node.arguments.args, node.arguments.kwargs))


def _is_number_or_tensor(part: object) -> bool:
    return part is None or isinstance(part, (bool, int, float, keras.KerasTensor))


def _copy_weights(layer: Layer, copy: Layer) -> None:
    """Give a layer's weights to its copy; those of PReLU have the image's axes, the channels first."""
    arrays = layer.get_weights() if hasattr(layer, "get_weights") else []
    moved = type(layer).__name__ == "PReLU" and [array.shape for array in arrays] != [
        tuple(weight.shape) for weight in copy.weights
    ]
    if arrays:
        copy.set_weights([array.transpose(1, 2, 0) for array in arrays] if moved else arrays)
    if isinstance(copy, keras.layers.Normalization):
        copy.finalize_state()  # applies the mean and variance that were just set
