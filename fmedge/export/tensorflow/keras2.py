"""Turn the configuration of a model that Keras 2 wrote into one that Keras 3 reads.

Keras 3 opens many files of Keras 2, but no longer knows some of the arguments, names and forms in others. What changes
here is the configuration; the weights stay as they are.
"""
# pyright: reportUnknownArgumentType=false, reportUnknownVariableType=false, reportUnknownMemberType=false

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from fmedge.errors import WeightsError
from fmedge.export.tensorflow.keras_calls import SLASH
from fmedge.export.tensorflow.keras_modules import ELSEWHERE
from fmedge.model.keras_input import Json

_ANY = object()

_DROPPED: tuple[tuple[str, str, object], ...] = (
    (r"(Depthwise|Separable)Conv.*|Conv.*Transpose", "groups", 1),
    (r"SeparableConv.*", "kernel_(initializer|regularizer|constraint)", _ANY),  # its two kernels have their own
    (r"RNN|LSTM|GRU|SimpleRNN|ConvLSTM.*", "time_major", False),
    (r"SpatialDropout.*", "trainable|noise_shape", _ANY),
    (r"Random.*", "rng_type", _ANY),
    (r"(?!InputLayer).*", "batch_input_shape", _ANY),  # an input layer says it
    (r"MultiHeadAttention", "(query|key|value)_shape|softmax_robust_masking", _ANY),
)
"""Arguments that Keras 3 no longer takes: the classes, the arguments, and the value at which they have no effect."""

_GONE = ("LocallyConnected1D", "LocallyConnected2D", "ThresholdedReLU", "RandomHeight", "RandomWidth", "RandomCrop")
"""Layers that Keras 3 no longer has. Its RandomCrop does not crop at inference, as that of Keras 2 does."""

_HARD_SIGMOID = "hard_sigmoid"
"""The one activation that Keras 3 computes otherwise: relu6(x + 3) / 6."""

_CALLS = ("TFOpLambda", "SlicingOpLambda")
"""Layers in which Keras 2 recorded a call of a function of TensorFlow."""

_OPERATIONS: Mapping[str, str] = {
    "__operators__.add": "numpy.Add",
    "math.add": "numpy.Add",
    "math.subtract": "numpy.Subtract",
    "math.multiply": "numpy.Multiply",
    "math.truediv": "numpy.TrueDivide",
    "math.divide": "numpy.TrueDivide",
    "math.maximum": "numpy.Maximum",
    "math.minimum": "numpy.Minimum",
    "math.tanh": "numpy.Tanh",
    "math.sigmoid": "nn.Sigmoid",
    "nn.relu": "nn.Relu",
    "nn.relu6": "nn.Relu6",
}
"""Those functions that Keras 3 has as an operation, and its name."""

_CONSTANT = "_CONSTANT_VALUE"
"""What stands in place of a layer's name where the first argument is a number."""


def mended(config: Json, writer: str) -> Json:
    """Return the configuration of a model as Keras 3 reads it; an equal one if Keras 3 reads it as it is.

    Args:
        config: The configuration in a file of Keras 2: an object with ``class_name`` and ``config``.
        writer: What wrote the file, for messages: ``Keras 2.4.0``.

    Raises:
        WeightsError: It has something that Keras 3 no longer has.
    """
    found = _layer(config, writer)
    if "module" in config:  # the form of a .keras file
        kind = config["class_name"]
        return {**found, "module": "keras" if kind == "Sequential" else "keras.src.models.functional"}
    return found


def _layer(part: Json, writer: str) -> Json:
    """Return a layer or model with everything inside it."""
    kind = str(part["class_name"])
    config: Json = part["config"]
    if isinstance(config, list):  # a sequential model, before Keras 2.2.3
        config = {"name": kind.lower(), "layers": config}
    if kind == "Sequential":
        config = {**config, "layers": _with_input(config["layers"])}
    if kind in _GONE:
        raise _no_counterpart(kind, writer)
    if kind in _CALLS:
        return _operation(part, writer)
    if _HARD_SIGMOID in config.values():
        raise _no_counterpart(f"the activation {_HARD_SIGMOID} (0.2 x + 0.5)", writer)
    own = str(part.get("module")).partition(".")[0] in ("keras", "tf_keras")
    kept = {key: value for key, value in part.items() if not (own and key in ("module", "registered_name"))}
    if kind in ELSEWHERE:
        kept |= {"module": ELSEWHERE[kind], "registered_name": kind}
    config = _arguments(kind, dict(config), writer)
    for key in ("layer", "backward_layer"):  # of a wrapper such as TimeDistributed
        if isinstance(config.get(key), dict):
            config[key] = _layer(config[key], writer)
    names = {key: _name(value) for key, value in part.items() if key == "name"}
    if "name" in config:
        config["name"] = _name(config["name"])
    if _is_model(config):
        config = _linked({**config, "layers": [_layer(each, writer) for each in config["layers"]]})
    return {**kept, **names, "config": config}


def _with_input(layers: list[Json]) -> list[Json]:
    """Return the layers of a sequential model with an input layer, if the first layer says what it takes."""
    shapes = [layer["config"].get("batch_input_shape") for layer in layers[:1] if isinstance(layer["config"], dict)]
    if not any(shapes) or layers[0]["class_name"] == "InputLayer":
        return layers
    name = f"{layers[0]['config'].get('name')}_input"
    return [{"class_name": "InputLayer", "config": {"batch_input_shape": shapes[0], "name": name}}, *layers]


def _is_model(config: dict[str, Json]) -> bool:
    return isinstance(config.get("layers"), list)


def _arguments(kind: str, config: dict[str, Json], writer: str) -> dict[str, Json]:
    """Return the arguments of a layer without those that Keras 3 no longer takes."""
    for classes, names, inert in _DROPPED:
        for name in [name for name in config if re.fullmatch(classes, kind) and re.fullmatch(names, name)]:
            value = config.pop(name)
            if inert is not _ANY and value != inert:
                raise _no_counterpart(f"{kind} with {name}={value!r}", writer)
    return config


def _name(name: Json) -> Json:
    """Return the name of a layer without slashes, which Keras 3 does not allow."""
    return name.replace("/", SLASH) if isinstance(name, str) else name


def _operation(part: Json, writer: str) -> Json:
    """Return the operation of Keras 3 that computes what a recorded call of TensorFlow does."""
    function = str(part["config"].get("function"))
    found = _OPERATIONS.get(function)
    if found is None:
        raise _no_counterpart(f"a call of tf.{function}", writer)
    module, _, name = found.partition(".")
    nodes = list[Json]()
    for node in part["inbound_nodes"]:
        first, *more = (node if isinstance(node[0], str) else node[0])[:3], *_named(node).items()
        others = [argument for key, argument in more if key != "name" and argument is not None]
        if len(others) > 1 or not all(isinstance(each, (int, float)) or _is_reference(each) for each in others):
            raise _no_counterpart(f"a call of tf.{function} with {', '.join(_named(node))}", writer)
        nodes.append({"args": [first[2] if first[0] == _CONSTANT else first, *others], "kwargs": {}})
    own = _name(part["name"])
    return {
        "module": f"keras.src.ops.{module}",
        "class_name": name,
        "registered_name": name,
        "name": own,
        "config": {"name": own},
        "inbound_nodes": nodes,
    }


def _named(node: Json) -> dict[str, Any]:
    """Return the named arguments of a call: ``[layer, call, output, arguments]``, alone or in a list."""
    last = node if isinstance(node[0], str) else node[-1]
    return last[3] if len(last) > 3 else {}


def _linked(model: dict[str, Json]) -> dict[str, Json]:
    """Return the configuration of a model with calls, inputs and outputs as Keras 3 writes them."""
    layers = [_with_calls(layer) for layer in model["layers"]]
    ends = {key: model[key] for key in ("input_layers", "output_layers") if key in model}
    kinds = {layer["config"]["name"]: layer["class_name"] for layer in layers if _is_model(layer["config"])}
    first: dict[str, int] = {}  # the number of a nested model's first call: 1 where Keras 2 counts its building as 0
    for name, index, _ in _references([ends, [layer.get("inbound_nodes") for layer in layers]]):
        if name in kinds:
            first[name] = min(index, first.get(name, index))

    def tensors(part: Json) -> Json:
        if _is_reference(part):
            history = [_name(part[0]), part[1] - first.get(_name(part[0]), 0), part[2]]
            # Keras reads only the history of such a tensor
            tensor = {"shape": [], "dtype": "float32", "keras_history": history}
            return {"class_name": "__keras_tensor__", "config": tensor}
        if isinstance(part, dict):
            return {key: tensors(value) for key, value in part.items()}
        return list(map(tensors, part)) if isinstance(part, list) else part

    def end(part: Json) -> Json:
        if not _is_reference(part):
            return end(part[0]) if isinstance(part, list) and len(part) == 1 else list(map(end, part))
        name, index, output = _name(part[0]), *part[1:3]
        counted = kinds.get(name) in ("Functional", "Model")  # for these Keras 3 takes the first call to be 1
        return [name, index - first.get(name, 0) + counted, output]

    linked = [
        {**layer, "inbound_nodes": tensors(layer["inbound_nodes"])} if "inbound_nodes" in layer else layer
        for layer in layers
    ]
    return {**model, "layers": linked, **{key: end(part) for key, part in ends.items()}}


def _with_calls(layer: Json) -> Json:
    """Return a layer with its calls as arguments, where Keras 2 wrote ``[[layer, call, output, named], …]``."""
    calls = [
        call if isinstance(call, dict) else {"args": [_alone([each[:3] for each in call])], "kwargs": _named(call)}
        for call in layer.get("inbound_nodes", ())
    ]
    return {**layer, "inbound_nodes": calls} if "inbound_nodes" in layer else layer


def _alone(parts: list[Json]) -> Json:
    return parts[0] if len(parts) == 1 else parts


def _references(part: Json) -> Iterator[Json]:
    if _is_reference(part):
        yield [_name(part[0]), *part[1:3]]
    elif isinstance(part, (list, dict)):
        for value in part.values() if isinstance(part, dict) else part:
            yield from _references(value)


def _is_reference(part: Json) -> bool:
    return isinstance(part, list) and [type(each) for each in part[:3]] == [str, int, int]


def _no_counterpart(what: str, writer: str) -> WeightsError:
    return WeightsError(
        f"The model, written by {writer}, has {what}, which Keras 3 does not have.",
        hint="Convert it with tf_keras, which is Keras 2.",
    )
