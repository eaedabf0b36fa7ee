"""HDF5: data sets of images, and files of values.

A file can point outside itself: links are not followed, and data that lie elsewhere are refused.
"""

from __future__ import annotations

import importlib
import io
import threading
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from fmedge.bulk.arrow import first_line
from fmedge.bulk.key import Arrays, Key, names_of
from fmedge.bulk.remote import connect, is_remote, local_path, reaching
from fmedge.bulk.sources import Content, which
from fmedge.errors import ArtifactError, ImageError, UsageError

LEVEL = 1
"""Of gzip, which every HDF5 has. Maps after ReLU shrink to 0.35 at block3_conv3; with their bytes shuffled to 0.41, in
twice the time."""


def _library() -> Any:  # noqa: ANN401 - it has no types
    return importlib.import_module("h5py")


class Hdf5:
    """A data set of an HDF5 file: pixels (uint8: N, H, W, 3; N, 3, H, W; or N, H, W), or bytes of image files.

    Attributes:
        rows: Number of images.
    """

    readers = 1

    def __init__(self, address: str, name: str | None) -> None:
        """Open a data set; None takes the only one there.

        Raises:
            ImageError: The file is not HDF5.
            UsageError: It has no such data set, or one of another kind.
        """
        self._address, self._name = address, name
        self._data = _hdf5_data(address, name)
        shape, kind = self._data.shape, self._data.dtype
        self._pixels = kind == np.uint8 and len(shape) in (3, 4)
        self._first = len(shape) == 4 and shape[3] != 3
        channels = 3 if len(shape) != 4 else shape[1] if self._first else shape[3]
        if not (self._pixels and channels == 3) and not (kind == np.dtype("O") and len(shape) == 1):
            raise UsageError(
                f"'{address}' has {kind} of shape {shape}. Allowed: uint8 (images, height, width, 3), or bytes."
            )
        self.rows: int = shape[0]
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[Hdf5], tuple[str, str | None]]:
        return Hdf5, (self._address, self._name)

    def read(self, number: int, key: str) -> Content:
        """Return an image; see :class:`Source`."""
        try:
            with self._lock:
                value: Any = self._data[number]
        except OSError as error:
            raise ImageError(f"'{key}' cannot be read: {first_line(error)}") from error
        if not self._pixels:
            return value if isinstance(value, bytes) else np.asarray(value, np.uint8).tobytes()
        pixels = cast("npt.NDArray[np.uint8]", value)
        if pixels.ndim == 2:
            return np.repeat(pixels[..., np.newaxis], 3, axis=2)
        return np.ascontiguousarray(pixels.transpose(1, 2, 0)) if self._first else pixels


def _hdf5_data(address: str, name: str | None) -> Any:  # noqa: ANN401
    h5py = _library()
    try:
        if is_remote(address):
            files, path = connect(address)
            with reaching(address):
                opened = files.open(path, "rb")
            file = h5py.File(opened, "r")
        else:
            file = h5py.File(local_path(address), "r")
    except OSError as error:
        raise ImageError(f"'{address}' is not HDF5 ({first_line(error)})") from error
    found: list[str] = []

    def note(where: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            found.append(where)

    file.visititems(note)
    if name is None and len(found) == 1:
        name = found[0]
    if name not in found:
        raise UsageError(which("data set", name, address, found), hint="Name one: --column.")
    data = file[name]
    created = data.id.get_create_plist()
    if created.get_external_count() or created.get_layout() == h5py.h5d.VIRTUAL:
        raise ImageError(f"The data set '{name}' of '{address}' lies in other files. Not followed.")
    return data


def encode(key: Key, shard: int, keys: list[str], arrays: Arrays) -> dict[str, bytes]:
    """Return a shard's file; maps are chunked by image."""
    h5py, stream = _library(), io.BytesIO()
    with h5py.File(stream, "w") as file:
        file.create_dataset("key", data=keys, dtype=h5py.string_dtype())
        for name, values in arrays.items():
            by_image = {"chunks": (1, *values.shape[1:]), "compression": "gzip", "compression_opts": LEVEL}
            file.create_dataset(name, data=values, **(by_image if values.ndim > 2 and len(values) else {}))
    return {f"data-{shard:06}.h5": stream.getvalue()}


def decode(key: Key, shard: int, read: Callable[[str], bytes]) -> tuple[list[str], Arrays]:
    """Read a shard's file.

    Raises:
        ArtifactError: It is damaged.
    """
    name = f"data-{shard:06}.h5"
    try:
        with _library().File(io.BytesIO(read(name)), "r") as file:
            keys: list[str] = file["key"].asstr()[:].tolist()
            return keys, {each: file[each][:] for each in names_of(key)}
    except (OSError, KeyError) as error:
        raise ArtifactError(f"'{name}' is damaged ({first_line(error)})") from error
