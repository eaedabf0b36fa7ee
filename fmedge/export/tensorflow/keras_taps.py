"""Find what to show of a Keras layer, its output or the values before its activation, and which activation that is."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from fmedge.errors import UsageError
from fmedge.export.tensorflow.keras_calls import Place, calls, find_place
from fmedge.export.tensorflow.keras_import import Call, Layer, Model, keras
from fmedge.export.tensorflow.tf_import import Tensor
from fmedge.model.activations import LINEAR, RELU, is_function
from fmedge.model.submodel import Activation


@dataclass(frozen=True, slots=True)
class Tap:
    """What to show of a call: its ``output``, its ``input``, or ``bare``, the output of a twin without activation.

    Attributes:
        name: The name that the layer was requested by.
        place: The call.
        side: Which of the three is shown.
        function: The activation that belongs to the layer, whichever side is shown: one of
            :mod:`fmedge.model.activations`.
        twin: A copy of the layer without its activation.
    """

    name: str
    place: Place
    side: str
    function: str
    twin: Layer = None


_LAYERS: Mapping[str, str] = {
    "ReLU": RELU,
    "LeakyReLU": "leaky_relu",
    "PReLU": "prelu",
    "ELU": "elu",
    "Softmax": "softmax",
}
"""Keras' layers that are only an activation. ``Activation`` is one too, but holds its function as an attribute."""

_OPERATIONS: Mapping[str, str] = {
    "Relu": RELU,
    "Relu6": "relu6",
    "LeakyRelu": "leaky_relu",
    "Elu": "elu",
    "Selu": "selu",
    "Celu": "celu",
    "Gelu": "gelu",
    "Silu": "silu",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Softmax": "softmax",
    "LogSoftmax": "log_softmax",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "SoftShrink": "soft_shrink",
    "HardShrink": "hard_shrink",
    "HardSigmoid": "hard_sigmoid",
    "HardSilu": "hard_silu",
    "HardTanh": "hard_tanh",
    "LogSigmoid": "log_sigmoid",
    "TanhShrink": "tanh_shrink",
    "Squareplus": "squareplus",
    "SparsePlus": "sparse_plus",
    "SparseSigmoid": "sparse_sigmoid",
    "Sparsemax": "sparsemax",
    "Threshold": "threshold",
}
"""The same for operations, such as ``keras.ops.relu`` creates when it is called on a model's tensors."""

_PARAMETERS: Mapping[str, Mapping[str, object]] = {
    RELU: {"negative_slope": 0, "max_value": None, "threshold": 0},
    "leaky_relu": {"negative_slope": ...},
    "elu": {"alpha": 1},
    "celu": {"alpha": 1},
    "gelu": {"approximate": False},
    "softmax": {"axis": -1},
    "log_softmax": {"axis": -1},
    "sparsemax": {"axis": -1},
    "threshold": {"threshold": ..., "default_value": ...},
    "soft_shrink": {"threshold": 0.5},
    "hard_shrink": {"threshold": 0.5},
    "squareplus": {"b": 4},
}
"""The parameters of activations and their usual values, which are not stated; ``...`` means always stated."""

_AXES = 4
"""Axes of feature maps: (N, H, W, C)."""


def find_tap(model: Model, name: str, activation: Activation) -> Tap:
    """Find what to show of a layer.

    An activation belongs to a layer if it is the layer's own, or if it is the only layer or operation that reads the
    layer's output.

    Args:
        model: The model to search.
        name: As in :func:`fmedge.export.tensorflow.keras_calls.find_place`.
        activation: Whether to show the layer's output with its activation, or the values before it. If there is no
            activation, both are the same.

    Raises:
        UsageError: There is no such layer, or its output is not feature maps.
    """
    place = find_place(model, name)
    return tap_at(name, place, activation, readers_in(around(model, place)))


def around(model: Model, place: Place) -> Model:
    """Return the model or nested model that makes a call."""
    return place.path[-1].operation if place.path else model


Readers = Mapping[int, Sequence[Call] | None]
"""Per tensor, by its id, the calls that read it; None if it is an output of the model, which others may read too."""


def readers_in(model: Model) -> Readers:
    """Find who reads what in a model; what nested models do inside is not included."""
    readers: dict[int, list[Call] | None] = {}
    for node in calls(model):
        for key in {id(tensor) for tensor in node.input_tensors}:
            known = readers.setdefault(key, [])
            if known is not None:
                known.append(node)
    return {**readers, **dict.fromkeys(map(id, model.outputs))}


def tap_at(name: str, place: Place, activation: Activation, readers: Readers) -> Tap:
    """Do the same for a call that was found already, in a model of which the readers are known."""
    layer = place.node.operation
    require_spatial(name, place.node.outputs[0] if len(place.node.outputs) == 1 else None)
    before = activation is Activation.NONE
    if (function := activation_of(layer)) != LINEAR:
        return Tap(name, place, "input" if before else "output", function)
    own = getattr(layer, "activation", None)
    if own is not None and (function := describe(own)) != LINEAR:
        return Tap(
            name, place, *(("bare", function, _without_activation(place.node)) if before else ("output", function))
        )
    follower, function = _activation_after(place, readers)
    return Tap(name, place if before else follower, "output", function)


def activation_of(operation: Layer) -> str:
    """Return which activation a layer or operation is; ``linear`` if it is none."""
    kind = cast("type[Any]", type(operation))
    if kind is keras.layers.Activation:
        return describe(operation.activation)
    word = (_LAYERS if isinstance(operation, keras.Layer) else _OPERATIONS).get(kind.__name__)
    own = kind.__module__.partition(".")[0] == "keras"  # another library's class may have the same name
    return LINEAR if word is None or not own else _with_parameters(word, operation)


def describe(function: Any) -> str:  # noqa: ANN401 - Keras takes functions and layers here
    """Return the name of a layer's ``activation``."""
    if isinstance(function, keras.Operation):
        found = activation_of(function)
        return found if found != LINEAR else _plain(type(function).__name__)
    name = str(getattr(function, "__name__", ""))
    known = str(getattr(function, "__module__", "")).partition(".")[0] in ("keras", "tensorflow")
    return _with_parameters(_plain(name), function) if known else _plain(f"custom_{name}")


def _plain(name: str) -> str:
    """Return a name if it may be used in a card, otherwise ``custom``."""
    return name if is_function(name) else "custom"


def _with_parameters(word: str, source: Any) -> str:  # noqa: ANN401
    unsaid = _PARAMETERS.get(word, {})
    found = {name: _parameter(source, name, usual) for name, usual in unsaid.items()}
    said = {name: value for name, value in found.items() if value != unsaid[name]}
    if word == RELU and said.keys() == {"max_value"} and said["max_value"] == 6:
        return "relu6"
    if word == RELU and said:
        word = "leaky_relu" if said.keys() == {"negative_slope"} else "bounded_relu"
    shown = ", ".join(f"{name}={_number(value)}" for name, value in said.items())
    return f"{word}({shown})" if shown else word


def _number(value: Any) -> str:  # noqa: ANN401
    return str(value) if value is None or isinstance(value, bool) else f"{float(value):g}"


def _parameter(source: Any, name: str, usual: object) -> object:  # noqa: ANN401
    """Return a parameter as a layer or operation holds it, or a function's default for it."""
    if isinstance(source, keras.Operation):
        return getattr(source, name, usual)
    parameters = inspect.signature(source).parameters
    return parameters[name].default if name in parameters else usual


def _activation_after(place: Place, readers: Readers) -> tuple[Place, str]:
    """Return the activation that alone reads a call's output, and its name; otherwise the call and ``linear``."""
    found = _readers(place.node, readers)
    if len(found) == 1 and (function := activation_of(found[0].operation)) != LINEAR:
        return Place(place.path, found[0]), function
    product = _times_sigmoid(found, readers)
    return (place, LINEAR) if product is None else (Place(place.path, product), "silu")


def _readers(node: Call, readers: Readers) -> list[Call]:
    """Return the calls that read a call's output; none if it is an output of the model."""
    found = [readers.get(id(tensor), ()) for tensor in node.outputs]
    return list({id(call): call for calls in found for call in calls or ()}.values()) if None not in found else []


def _times_sigmoid(found: Sequence[Call], readers: Readers) -> Call | None:
    """Return, given the readers of x, the product of x and sigmoid(x) if nothing else reads either; otherwise None."""
    gates = [node for node in found if activation_of(node.operation) == "sigmoid"]
    products = [node for node in found if type(node.operation).__name__ == "Multiply" and len(node.input_tensors) == 2]
    if len(found) == 2 and len(gates) == len(products) == 1 and _readers(gates[0], readers) == products:
        return products[0]
    return None


def _without_activation(node: Call) -> Layer:
    """Return a copy of a call's layer that computes everything but its activation."""
    layer = node.operation
    twin: Layer = layer.__class__.from_config({**layer.get_config(), "activation": "linear"})
    twin.build(node.input_tensors[0].shape)
    twin.set_weights(layer.get_weights())
    return twin


def require_spatial(name: str, tensor: Tensor) -> None:
    """Check that a layer's output is feature maps.

    Args:
        name: Name of the layer.
        tensor: Its output; None if there are several.

    Raises:
        UsageError: It is not.
    """
    if obstacle := obstacle_of(tensor):
        raise UsageError(
            f"Layer '{name}' has no feature maps: its output is {obstacle}. Name one with height and width."
        )


def obstacle_of(tensor: Tensor) -> str | None:
    """Return what a layer's output is if it is not feature maps; otherwise None."""
    if tensor is None:
        return "several tensors"
    return None if len(tensor.shape) == _AXES else f"a tensor of shape {tuple(tensor.shape)}"
