"""Write a Keras model's file in the form that Keras 3 reads, where it has another one."""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import io
import json
import re
import shutil
import zipfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from fmedge.errors import WriteError
from fmedge.model.keras_config import CONFIG_MEMBER, WEIGHTS_MEMBER, KerasFile
from fmedge.model.keras_input import Json
from fmedge.system.files import temporary_folder

_OLD_LAYERS, _LAYERS = "_layer_checkpoint_dependencies", "layers"
"""Where ``.keras`` files hold the layers' weights: until Keras 2.13, and since."""


@contextmanager
def readable(path: Path, file: KerasFile, config: Json) -> Generator[Path]:
    """Yield a file that Keras reads: the file itself if it can be, otherwise a temporary copy.

    Args:
        path: The file.
        file: What was read from it.
        config: The configuration that it should have.

    Raises:
        WriteError: The copy cannot be written.
    """
    named = path.suffix == file.suffix or (path.suffix, file.suffix) == (".hdf5", ".h5")
    if named and config == file.config:
        yield path
        return
    with temporary_folder() as folder:
        copy = folder / f"model{file.suffix}"
        try:
            (_write_zip if file.suffix == ".keras" else _write_hdf5)(path, copy, json.dumps(config))
        except OSError as error:
            raise WriteError(
                f"No temporary copy of '{path}' can be written: {error.strerror or error}.",
                hint="Name a folder that has room: TMPDIR=FOLDER.",
            ) from error
        yield copy


def _write_hdf5(path: Path, copy: Path, config: str) -> None:
    shutil.copyfile(path, copy)
    with h5py.File(copy, "r+") as file:
        file.attrs["model_config"] = config


def _write_zip(path: Path, copy: Path, config: str) -> None:
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(copy, "w") as archive:
        weights = io.BytesIO(source.read(WEIGHTS_MEMBER))
        with h5py.File(weights, "r+") as file:
            _move_layers(file)
        for name in source.namelist():
            known = {CONFIG_MEMBER: config, WEIGHTS_MEMBER: weights.getbuffer()}
            archive.writestr(name, known[name] if name in known else source.read(name))


def _move_layers(group: Any) -> None:  # noqa: ANN401 - h5py has no types
    """Move the layers to where they are now, and number those of a class without gaps, as is done now."""
    if _OLD_LAYERS in group:
        counts: dict[str, int] = {}
        for name in sorted(group[_OLD_LAYERS], key=_class_and_number):
            kind = _class_and_number(name)[0]
            index = counts[kind] = counts.get(kind, -1) + 1
            group.move(f"{_OLD_LAYERS}/{name}", f"{_LAYERS}/{kind}_{index}" if index else f"{_LAYERS}/{kind}")
        del group[_OLD_LAYERS]
    for child in group.values():
        if isinstance(child, h5py.Group):
            _move_layers(child)


def _class_and_number(name: str) -> tuple[str, int]:
    """Split the name of a layer's group: ``conv2d`` is the first one, ``conv2d_2`` a later one."""
    kind, number = re.fullmatch(r"(.*?)(?:_(\d+))?", name, re.DOTALL).groups()  # pyright: ignore[reportOptionalMemberAccess]
    return kind, int(number or 0)
