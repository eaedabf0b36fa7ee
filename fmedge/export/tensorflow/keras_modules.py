"""Say of a model's layers and operations which module they are from, where the file does not.

Keras 3 writes that into ``.keras`` files and leaves it out of ``.h5`` files, which it then cannot read itself if they
hold an operation such as ``x + 3``, or a layer that ``keras.layers`` does not have.
"""
# pyright: reportUnknownArgumentType=false, reportUnknownVariableType=false, reportUnknownMemberType=false

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from fmedge.export.tensorflow.keras_import import keras
from fmedge.model.keras_input import Json

ELSEWHERE: Mapping[str, str] = {
    "CustomScaleLayer": "keras.src.applications.inception_resnet_v2",
    "LayerScale": "keras.src.applications.convnext",
    "StochasticDepth": "keras.src.applications.convnext",
}
"""Layers of Keras' own networks, and the module that has them."""

_OPERATIONS = ("numpy", "nn", "math", "linalg", "image", "core")
"""Modules of ``keras.src.ops``; no two have a class of the same name."""


def with_modules(config: Json) -> Json:
    """Return a configuration that Keras 3 wrote, with the modules that are not in it.

    Args:
        config: An object with ``class_name`` and ``config``; an equal one is returned if nothing is missing.
    """
    inner = config.get("config")
    if isinstance(inner, dict) and isinstance(inner.get("layers"), list):
        config = {**config, "config": {**inner, "layers": [with_modules(layer) for layer in inner["layers"]]}}
    kind = config.get("class_name")
    module = ELSEWHERE.get(kind) or (_module_of(kind) if _is_operation(config) else None)
    return config if module is None or "module" in config else {**config, "module": module, "registered_name": kind}


def _is_operation(part: dict[str, Any]) -> bool:
    """Tell whether a part of a graph is an operation; a layer always says whether it is trainable."""
    inner = part.get("config")
    return "inbound_nodes" in part and isinstance(inner, dict) and "trainable" not in inner and "layers" not in inner


def _module_of(kind: object) -> str | None:
    modules = [importlib.import_module(f"keras.src.ops.{name}") for name in _OPERATIONS]
    found = [(module.__name__, getattr(module, str(kind), None)) for module in modules]
    return next((name for name, known in found if isinstance(known, type) and issubclass(known, keras.Operation)), None)
