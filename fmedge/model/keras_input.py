"""Read from a Keras model's configuration, without Keras, what input the model takes.

Keras 2 and 3 write the same facts in several ways; where none of them is found, nothing is reported.
"""
# pyright: reportUnknownArgumentType=false, reportUnknownVariableType=false, reportUnknownMemberType=false

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from fmedge.model.network_input import NetworkInput

Json = Any
"""What ``json.loads`` returns."""

_PREPARING = ("Rescaling", "Normalization")
_ARITHMETIC = ("Add", "Subtract", "Multiply", "Divide", "TrueDivide")
"""Layers, and operations of ``keras.ops`` with a constant, that prepare pixels."""

_PASSING = (
    *("InputLayer", "Dropout", "SpatialDropout2D", "GaussianNoise", "GaussianDropout", "AlphaDropout", "Pipeline"),
    *("RandAugment", "AugMix", "CutMix", "MixUp", "Identity", "Cast", "GetItem", "Stack", "Concatenate", "Flip"),
    *("Resizing", "CenterCrop", "Cropping2D", "ZeroPadding2D", "Permute", "Transpose", "Reshape"),
)
"""What may come before the preparation: augmentation, which is off at inference, and layers that move or select pixels;
also everything that begins with ``Random``."""

CHANNELS_FIRST = "channels_first"
"""What a layer's ``data_format`` is if it takes (N, C, H, W)."""

_CHANNELS = (1, 3)
_AXES = 4


def read_input(config: Json) -> NetworkInput | None:
    """Return what the model of a configuration takes, the channels last; None where the configuration does not say."""
    try:
        inputs = [(_shape(layer), _dtype(layer)) for layer in _input_layers(config)]
        shapes = tuple(shape for shape, _ in inputs if shape is not None)
        if not shapes or len(shapes) < len(inputs):
            return None
        if len(shapes) == 1 and len(shapes[0]) == _AXES and puts_channels_first(shapes[0], _formats(config)):
            number, channels, height, width = shapes[0]
            shapes = ((number, height, width, channels),)
        return NetworkInput(shapes, _prepared_by(config)[0], inputs[0][1].startswith(("int", "uint")))
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError, RecursionError):
        return None


def puts_channels_first(shape: Sequence[int | None], formats: Sequence[str]) -> bool:
    """Tell whether a model takes (N, C, H, W) and not (N, H, W, C).

    Args:
        shape: What it takes, the batch first.
        formats: What its layers say as ``data_format``, in their order; the first one decides if the shape may be both.
    """
    _, first, _, last = shape
    if (first in _CHANNELS) != (last in (None, *_CHANNELS)):
        return first in _CHANNELS
    return first in (None, *_CHANNELS) and list(formats[:1]) == [CHANNELS_FIRST]


def _formats(config: Json) -> list[str]:
    found = list[str]()
    for layer in _layers(config):
        inner = _layers(layer)
        said = None if inner else layer["config"].get("data_format")
        found += _formats(layer) if inner else [said] if isinstance(said, str) else []
    return found


def layer_names(config: Json) -> frozenset[str]:
    """Return the names of all layers in a configuration, those in nested models also with the models' names before."""
    found = set[str]()
    waiting: list[tuple[str, Json]] = [("", config)]
    while waiting:
        prefix, part = waiting.pop()
        with contextlib.suppress(KeyError, TypeError, AttributeError):  # a layer that is none has no name
            for layer in _layers(part):
                name = _name(layer)
                found |= {name, prefix + name}
                waiting.append((f"{prefix}{name}/", layer))
    return frozenset(found)


def _layers(config: Json) -> list[Any]:
    """Return a model's layers; empty for a single layer. Keras before 2.2.3 wrote a sequential model as a bare list."""
    inner = config["config"]
    found = inner if isinstance(inner, list) else inner.get("layers", ())
    return list(found)


def _is_sequential(config: Json) -> bool:
    return "input_layers" not in config["config"]


def _name(layer: Json) -> str:
    return str(layer.get("name") or layer["config"]["name"])


def _input_layers(config: Json) -> list[Any]:
    """Return the layers that define what a model takes."""
    layers = _layers(config)
    if _is_sequential(config):
        return [layers[0] if not _layers(layers[0]) else _input_layers(layers[0])[0]] if layers else []
    named = set(_references(config["config"]["input_layers"], {_name(layer) for layer in layers}))
    return [layer for layer in layers if _name(layer) in named]


def _shape(layer: Json) -> tuple[int | None, ...] | None:
    config = layer["config"]
    shape = config.get("batch_shape") or config.get("batch_input_shape")
    shape = shape or (layer.get("build_config") or {}).get("input_shape")
    return None if shape is None else tuple(None if extent is None else int(extent) for extent in shape)


def _dtype(layer: Json) -> str:
    dtype = layer["config"].get("dtype")
    return str(dtype["config"]["name"] if isinstance(dtype, dict) else dtype)


def _references(part: Json, names: set[str]) -> Iterator[str]:
    """Yield the names of layers whose results a configuration uses: ``[name, node, tensor, …]``, alone or nested."""
    if isinstance(part, dict):
        for value in part.values():
            yield from _references(value, names)
    elif isinstance(part, list):
        if [type(each) for each in part[:3]] == [str, int, int] and part[0] in names:
            yield part[0]
        for value in part:
            yield from _references(value, names)


def _prepared_by(config: Json) -> tuple[str | None, bool]:
    """Return the layer that prepares the pixels, or None, and whether they reach the model's output unchanged."""
    layers = {_name(layer): layer for layer in _layers(config)}
    readers = _readers(config, layers)
    reached = [_name(layer) for layer in _input_layers(config)]
    if _is_sequential(config):
        reached = [""]
    seen: set[str] = set()
    passed: set[str] = set()
    while reached:
        name = reached.pop()
        for reader in readers.get(name, ()):
            if reader in seen:
                continue
            seen.add(reader)
            by, passes = _step(layers[reader])
            if by is not None:
                return by, False
            if passes:
                passed.add(reader)
                reached.append(reader)
    last = list(layers)[-1:] if _is_sequential(config) else _references(config["config"]["output_layers"], set(layers))
    return None, bool(passed.intersection(last))


def _readers(config: Json, layers: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return, per layer, the layers that read its result; a sequential model begins with the empty name."""
    if _is_sequential(config):
        return {before: [after] for before, after in pairwise(["", *layers])}
    readers: dict[str, list[str]] = {}
    names = set(layers)
    for name, layer in layers.items():
        for before in _references(layer.get("inbound_nodes"), names):
            readers.setdefault(before, []).append(name)
    return readers


def _step(layer: Json) -> tuple[str | None, bool]:
    """Return the answer of :func:`_prepared_by` for one layer."""
    kind, operation = str(layer["class_name"]), ".ops." in str(layer.get("module"))
    if kind in _PREPARING or (operation and kind in _ARITHMETIC):
        return _name(layer), False
    if _layers(layer):
        return _prepared_by(layer)
    return None, kind in _PASSING or kind.startswith("Random")
