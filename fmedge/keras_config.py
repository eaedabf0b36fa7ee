"""The configuration in a Keras model's file, read without Keras.

A ``.keras`` file is a zip of ``config.json`` and ``model.weights.h5``; an ``.h5`` file holds the same two things as an
attribute and as groups.
"""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

import contextlib
import io
import json
import zipfile
import zlib
from collections.abc import Generator
from pathlib import Path
from typing import IO, Any

import h5py

from fmedge.errors import WeightsError
from fmedge.keras_input import Json

MAX_CONFIG_BYTES = 1 << 26
MAX_WEIGHTS_BYTES = 1 << 30
"""Larger than any configuration, and than the weights of any network for the edge."""

DAMAGE = (
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


def read_config(path: Path) -> Json:
    """The configuration in a ``.keras`` or ``.h5`` file; the weights in it are looked through for links on the way.

    Raises:
        WeightsError: It is damaged, holds none, declares too much, points out of itself, or its name tells no form.
    """
    with refusing_damage(path):
        return _config_of(path)


@contextlib.contextmanager
def refusing_damage(path: Path) -> Generator[None]:
    """Turn what reading a damaged file raises into one line.

    Raises:
        WeightsError: The block raised such an error.
    """
    try:
        yield
    except DAMAGE as error:
        raise WeightsError(f"'{path}' is not a readable Keras model. Allowed: a whole .keras or .h5 model.") from error


def _config_of(path: Path) -> Json:
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
