"""Zarr 3: an array of all images per column. A shard of the data set is a shard of Zarr, or a chunk for vectors."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from typing import Any

from fmedge.bulk.arrow import first_line
from fmedge.bulk.key import Arrays, Key, file_name, names_of, scale_name
from fmedge.bulk.packages import package
from fmedge.errors import ArtifactError

LEVEL = 1
"""Of zstd. Maps after ReLU shrink to a third at block3_conv3 (float32, ImageNet weights). With their bytes shuffled
they shrink to 0.4 in twice the time; levels 3 and 5 take two and six times as long for one hundredth less."""

AXES = ("image", "channel", "row", "column")
"""Names of the axes of maps."""


def begin(key: Key) -> dict[str, bytes]:
    """Return the metadata of a group of Zarr 3, with an array of all images per column.

    The group's own names all arrays (consolidated), so that readers list nothing: other files lie beside them.
    """
    zarr = package("zarr")
    group, files = _group(key)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is no part of Zarr's specification yet, but xarray and zarr read it
        zarr.consolidate_metadata(group.store, zarr_format=3)
    return {name: files[name].to_bytes() for name in sorted(files)}


def _group(key: Key) -> tuple[Any, dict[str, Any]]:
    """Return an empty group in memory, and its files."""
    zarr = package("zarr")
    files: dict[str, Any] = {}
    group = zarr.create_group(zarr.storage.MemoryStore(files), zarr_format=3)
    compressor = zarr.codecs.ZstdCodec(level=LEVEL, checksum=True)
    always = {"write_empty_chunks": True}  # a shard's files are there, whatever they hold
    for column in key.columns:
        name, maps = file_name(column.name), len(column.shape) > 1
        group.create_array(
            name,
            shape=(key.inputs, *column.shape),
            chunks=(1 if maps else key.shard_size, *column.shape),
            shards=(key.shard_size, *column.shape) if maps else None,
            dtype=key.dtype,
            fill_value=0 if key.dtype == "int8" else float("nan"),
            compressors=compressor,
            dimension_names=AXES if maps else (AXES[0], f"{name}.value"),
            config=always,
        )
        if key.dtype == "int8":
            group.create_array(
                file_name(scale_name(column.name)),
                shape=(key.inputs,),
                chunks=(key.shard_size,),
                dtype="float32",
                fill_value=float("nan"),
                dimension_names=AXES[:1],
                config=always,
            )
    return group, files


def encode(key: Key, shard: int, keys: list[str], arrays: Arrays) -> dict[str, bytes]:
    """Return a shard's files: one for each array."""
    group, files = _group(key)
    before = set(files)
    first = shard * key.shard_size
    for name, values in arrays.items():
        group[file_name(name)][first : first + len(values)] = values
    return {name: files[name].to_bytes() for name in sorted(set(files) - before)}


def decode(key: Key, shard: int, read: Callable[[str], bytes]) -> tuple[None, Arrays]:
    """Read a shard's files.

    Raises:
        ArtifactError: One is damaged.
    """
    group, files = _group(key)
    buffer = importlib.import_module("zarr.core.buffer").default_buffer_prototype().buffer
    first, last = shard * key.shard_size, min(key.inputs, (shard + 1) * key.shard_size)
    arrays: Arrays = {}
    for name in names_of(key):
        array = group[file_name(name)]
        place = f"{file_name(name)}/c/{'/'.join([str(shard), *['0'] * (array.ndim - 1)])}"
        try:
            files[place] = buffer.from_bytes(read(place))
            arrays[name] = array[first:last]
        except (ValueError, RuntimeError, OSError, TypeError) as error:
            raise ArtifactError(f"'{place}' is damaged ({first_line(error)})") from error
        del files[place]
    return None, arrays
