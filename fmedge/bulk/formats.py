"""The forms of a data set's files: Parquet, Zarr, HDF5, NumPy's and safetensors.

The arrays of a shard have one image per place along their first axis. What they are called, and their lengths, is in
the data set's key. Every form is made in memory and read back there, so that what is written has been checked.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fmedge.bulk import hdf5, zarr
from fmedge.bulk.arrow import arrow, first_line, read_table, write_table
from fmedge.bulk.key import Arrays, FormatName, Key, file_name, names_of
from fmedge.bulk.packages import package
from fmedge.errors import ArtifactError


class Format(NamedTuple):
    """A form of files.

    Attributes:
        encode: Takes key, number of the shard, the keys of its images and its arrays; returns its files by their names.
        decode: Takes key, number of the shard and what reads a file; returns the keys, where they are in it, and the
            arrays.
        begin: Takes the key and returns the files that a new data set has before its shards.
        dense: Whether every input has a place in the arrays, so that the rows of all shards are one array.
        package: What it needs; None where fmedge has it.
        maps: Whether maps (C, H, W) may be its columns.
    """

    encode: Callable[[Key, int, list[str], Arrays], dict[str, bytes]]
    decode: Callable[[Key, int, Callable[[str], bytes]], tuple[list[str] | None, Arrays]]
    begin: Callable[[Key], dict[str, bytes]] | None = None
    dense: bool = False
    package: str | None = None
    maps: bool = True


def find_format(name: FormatName) -> Format:
    """Return a form, whose package is installed.

    Raises:
        BackendUnavailable: It is not.
    """
    found = FORMATS[name]
    if found.package is not None:
        package(found.package)
    return found


def _parquet(key: Key, shard: int, keys: list[str], arrays: Arrays) -> dict[str, bytes]:
    pa = arrow()
    columns: dict[str, Any] = {"key": pa.array(keys, pa.string())}
    for name, values in arrays.items():
        flat = pa.array(values.ravel())
        columns[name] = flat if values.ndim == 1 else pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
    vectors = tuple(name for name, values in arrays.items() if values.ndim == 2)
    return {f"data-{shard:06}.parquet": write_table(pa.table(columns), vectors)}


def _read_parquet(key: Key, shard: int, read: Callable[[str], bytes]) -> tuple[list[str], Arrays]:
    name = f"data-{shard:06}.parquet"
    table = read_table(read(name), name)
    arrays: Arrays = {}
    for each in table.column_names:
        if each != "key":
            column = table.column(each).combine_chunks()
            listed = arrow().types.is_fixed_size_list(column.type)
            flat = (column.flatten() if listed else column).to_numpy(zero_copy_only=False)
            arrays[each] = flat.reshape(table.num_rows, column.type.list_size) if listed else flat
    return table.column("key").to_pylist() if "key" in table.column_names else [], arrays


def _npy(key: Key, shard: int, keys: list[str], arrays: Arrays) -> dict[str, bytes]:
    return {f"data-{shard:06}.{file_name(name)}.npy": _npy_bytes(values) for name, values in arrays.items()}


def _npy_bytes(values: npt.NDArray[Any]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values, allow_pickle=False)
    return stream.getvalue()


def _read_npy(key: Key, shard: int, read: Callable[[str], bytes]) -> tuple[None, Arrays]:
    arrays: Arrays = {}
    for name in names_of(key):
        place = f"data-{shard:06}.{file_name(name)}.npy"
        try:
            arrays[name] = np.load(io.BytesIO(read(place)), allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise ArtifactError(f"'{place}' is damaged ({first_line(error)})") from error
    return None, arrays


def _safetensors(key: Key, shard: int, keys: list[str], arrays: Arrays) -> dict[str, bytes]:
    plain = {name: np.ascontiguousarray(values) for name, values in arrays.items()}
    return {f"data-{shard:06}.safetensors": package("safetensors.numpy").save(plain)}


def _read_safetensors(key: Key, shard: int, read: Callable[[str], bytes]) -> tuple[None, Arrays]:
    name = f"data-{shard:06}.safetensors"
    library = package("safetensors.numpy")
    try:
        return None, library.load(read(name))
    except importlib.import_module("safetensors").SafetensorError as error:
        raise ArtifactError(f"'{name}' is damaged ({first_line(error)})") from error


FORMATS: Mapping[FormatName, Format] = {
    "parquet": Format(_parquet, _read_parquet, maps=False),
    "zarr": Format(zarr.encode, zarr.decode, zarr.begin, dense=True, package="zarr"),
    "hdf5": Format(hdf5.encode, hdf5.decode),
    "npy": Format(_npy, _read_npy),
    "safetensors": Format(_safetensors, _read_safetensors, package="safetensors.numpy"),
}
"""The forms, by the names that users give."""
