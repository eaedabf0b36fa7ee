"""Load a user's own Keras model, after checking that nothing in the file would run code.

A ``.keras`` file is a zip of ``config.json`` and ``model.weights.h5``; an ``.h5`` file holds the same two things
as an attribute and as groups. Both are checked before Keras sees them: they may hold only Keras' own layers and
functions, no Lambda, no layer that opens other files, and no link out of the file.
"""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fmedge.errors import FmedgeError, WeightsError
from fmedge.export.tensorflow.keras2 import mended
from fmedge.export.tensorflow.keras_bounds import MAX_CALLS, BuildingBounds, too_many_calls
from fmedge.export.tensorflow.keras_calls import count_calls
from fmedge.export.tensorflow.keras_import import Model, is_graph, keras, reason_of
from fmedge.export.tensorflow.keras_modules import with_modules
from fmedge.export.tensorflow.keras_rewrite import readable
from fmedge.model.keras_config import read_config, refusing_damage
from fmedge.model.keras_input import Json
from fmedge.system.address_space import is_shortage, shortage
from fmedge.system.stderr import quietly

_RUNS_CODE = {"Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "__typespec__"}
_OPENS_FILES = {"StringLookup", "IntegerLookup", "TextVectorization", "IndexLookup", "load_model", "get_file"}


def read_keras_model(path: Path) -> Model:
    """Load a model for inference.

    Args:
        path: A ``.keras`` or ``.h5`` file with a whole model.

    Raises:
        WeightsError: The file is damaged, holds no model, holds something that would run code or open other files, or
            its layers are larger than its weights.
        LimitExceeded: It exceeds one of the limits on its size.
    """
    file = read_config(path)
    with refusing_damage(path):
        file.config.pop("compile_config", None)  # losses and metrics, which Keras ignores here
        config = mended(file.config, file.writer) if file.is_keras2 else with_modules(file.config)
        _require_harmless(path, config)
    bounds = BuildingBounds(path, file.weights_bytes)
    try:
        with quietly(), readable(path, file, config) as copy, bounds.held():
            model = keras.saving.load_model(copy, compile=False, safe_mode=True)
    except FmedgeError:
        raise
    except Exception as error:  # a file can make Keras' layers raise anything
        bounds.require_kept()  # Keras may have replaced our error by another one
        if is_shortage(error):
            raise shortage(error) from error
        raise WeightsError(f"Keras cannot load '{path}', written by {file.writer}: {reason_of(error)}") from error
    bounds.require_kept()
    if is_graph(model) and model.built and count_calls(model) > MAX_CALLS:
        raise too_many_calls(path)
    return model


def _require_harmless(path: Path, config: Json) -> None:
    for part in _objects(config):
        name, module = part["class_name"], part.get("module")
        called = part["config"] if name == "function" else name
        if name in _RUNS_CODE or called in _OPENS_FILES:
            what = "run code from the file" if name in _RUNS_CODE else "open other files"
            raise WeightsError(
                f"'{path}' holds a {called} layer, which would {what}. Not loaded. Replace it by built-in layers."
            )
        built_in = module is None or module == "builtins" or str(module).split(".")[0] == "keras"
        known = module is not None or part.get("registered_name") in (None, called)
        if name == "function" and not _is_activation(called):
            built_in = False
        if not (built_in and known):
            raise WeightsError(
                f"'{path}' needs code of its own: '{called}' of '{module or part.get('registered_name')}'. "
                "Not loaded. Use built-in layers, or hand the model over in Python: export_submodel(keras=model)."
            )


def _is_activation(name: object) -> bool:
    return isinstance(name, str) and callable(getattr(keras.activations, name, None))


def _objects(config: Json) -> Iterator[dict[str, Any]]:
    """Yield every part of a configuration that describes an object to create."""
    stack = [config]
    while stack:
        part = stack.pop()
        if isinstance(part, dict):
            stack.extend(part.values())
            if isinstance(part.get("class_name"), str) and "config" in part:
                yield part
        elif isinstance(part, list):
            stack.extend(part)
