"""Loading a Keras model of the user's own, after a look at whether anything in the file would run code.

A ``.keras`` file is a zip of ``config.json`` and ``model.weights.h5``; an ``.h5`` file holds the same two things
as an attribute and as groups. Both are read before Keras sees them: only layers and functions of Keras' own, no
Lambda, no layer that opens other files, no link out of the file.
"""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import h5py

from fmedge.errors import WeightsError
from fmedge.export.keras_import import Model, keras, reason_of
from fmedge.quiet import quietly

MAX_CONFIG_BYTES = 1 << 26
MAX_WEIGHTS_BYTES = 1 << 30
"""Larger than any configuration, and than the weights of any network for the edge."""

_Json = Any
"""What ``json.loads`` returns."""

_RUNS_CODE = {"Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "__typespec__"}
_OPENS_FILES = {"StringLookup", "IntegerLookup", "TextVectorization", "IndexLookup", "load_model", "get_file"}

_DAMAGE = (
    OSError,
    RuntimeError,
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    IndexError,
    MemoryError,
    RecursionError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What zipfile, h5py, json and Keras raise on damaged files."""


def read_keras_model(path: Path) -> Model:
    """Load a model for inference.

    Args:
        path: ``.keras`` or ``.h5``, a whole model.

    Raises:
        WeightsError: It is damaged, holds no model, or holds something that would run code or open other files.
    """
    try:
        config = _config_of(path)
        _require_harmless(path, config)
    except _DAMAGE as error:
        raise WeightsError(f"'{path}' is not a readable Keras model. Allowed: a whole .keras or .h5 model.") from error
    try:
        with quietly():
            return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (*_DAMAGE, ImportError) as error:
        raise WeightsError(f"Keras cannot load '{path}': {reason_of(error)} Save it again with model.save.") from error


def _config_of(path: Path) -> _Json:
    """The model's configuration; the weights beside it are looked through for links on the way."""
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            for name, limit in (("config.json", MAX_CONFIG_BYTES), ("model.weights.h5", MAX_WEIGHTS_BYTES)):
                if archive.getinfo(name).file_size > limit:
                    raise WeightsError(f"'{path}' declares more than the {limit:,} bytes allowed for its {name}.")
            _require_plain_hdf5(path, io.BytesIO(archive.read("model.weights.h5")))
            return json.loads(archive.read("config.json"))
    if path.suffix not in (".h5", ".hdf5"):
        raise WeightsError(f"Cannot tell the form of '{path}'. Allowed: a Keras model named .keras or .h5.")
    with path.open("rb") as stream:
        _require_plain_hdf5(path, stream)
    with h5py.File(path, "r", locking=False) as file:
        config: Any = file.attrs.get("model_config")
    if config is None:
        raise WeightsError(f"'{path}' holds weights and no model. Give a whole model, or name it with --weights.")
    return json.loads(config)


def _require_plain_hdf5(path: Path, stream: IO[bytes]) -> None:
    """Refuse links that leave the file or run in circles, and arrays that lie elsewhere or claim to be huge."""
    total = 0
    with h5py.File(stream, "r") as file:
        links: dict[str, object] = {}
        file.visititems_links(links.__setitem__)  # an error raised in its callback would come out garbled
        for name, link in links.items():
            if not isinstance(link, h5py.HardLink):
                raise WeightsError(f"'{path}' holds a link, '{name}', not data. Not followed.")
            member = file[name]
            if isinstance(member, h5py.Dataset):
                properties = member.id.get_create_plist()
                if properties.get_external_count() or properties.get_layout() == h5py.h5d.VIRTUAL:
                    raise WeightsError(f"An array of '{path}', '{name}', lies outside the file. Not followed.")
                total += member.nbytes
    if total > MAX_WEIGHTS_BYTES:
        raise WeightsError(f"'{path}' declares {total:,} bytes of weights; {MAX_WEIGHTS_BYTES:,} are allowed.")


def _require_harmless(path: Path, config: _Json) -> None:
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


def _objects(config: _Json) -> Iterator[dict[str, Any]]:
    """Every part of a configuration that names something to be made."""
    stack = [config]
    while stack:
        part = stack.pop()
        if isinstance(part, dict):
            stack.extend(part.values())
            if isinstance(part.get("class_name"), str) and "config" in part:
                yield part
        elif isinstance(part, list):
            stack.extend(part)
