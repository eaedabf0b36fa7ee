"""The key of a data set: all that determines its values, and what its arrays are called."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy.typing as npt

KIND = "fmedge dataset"
SCHEMA = 2

DType = Literal["float32", "float16", "int8"]

FormatName = Literal["parquet", "zarr", "hdf5", "npy", "safetensors"]

Arrays = dict[str, npt.NDArray[Any]]
"""Values of a shard's images by the names of their columns, and the scales of int8's: an image per place of axis 0."""


@dataclass(frozen=True, slots=True)
class Column:
    """Values of every image.

    Attributes:
        name: Its name in the files: layer and pool, such as ``block3_conv3.gem:3``.
        tap: The layer.
        pool: The way of pooling.
        shape: Of an image's values: (length,), or (C, H, W) for maps.
    """

    name: str
    tap: str
    pool: str
    shape: tuple[int, ...]

    @property
    def length(self) -> int:
        """Values per image."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Key:
    """All that determines a data set's values and where they lie; a data set with another key is another one.

    Attributes:
        model_sha256: Hash of the model's files.
        weights: The weights, in words.
        activation: ``relu`` or ``none``.
        preprocessing: What is done to pixels, in words.
        size: Height and width that photos are resized to; None where they keep theirs.
        resize: How.
        columns: The values.
        format: Form of the files.
        dtype: Number format of the values.
        l2: Whether each vector is divided by its norm.
        reduction: How vectors are shortened, such as ``pca:64``; None where they are not.
        reduction_sha256: Hash of the file that shortens each column's vectors.
        backend: The engine.
        device: The device that it computes on.
        math: Arithmetic of the model's float parts.
        inputs: Number of inputs.
        inputs_sha256: Hash of their keys, in order.
        shard_size: Inputs of a shard; the last one may have fewer.
    """

    model_sha256: str
    weights: str
    activation: str
    preprocessing: str
    size: tuple[int, int] | None
    resize: str
    columns: tuple[Column, ...]
    format: FormatName
    dtype: DType
    l2: bool
    reduction: str | None
    reduction_sha256: tuple[str, ...]
    backend: str
    device: str
    math: str
    inputs: int
    inputs_sha256: str
    shard_size: int

    @property
    def shards(self) -> int:
        """Number of shards."""
        return -(-self.inputs // self.shard_size)

    def count(self, shard: int) -> int:
        """Return how many inputs a shard has."""
        return min(self.shard_size, self.inputs - shard * self.shard_size)

    def to_json(self) -> str:
        """Return the key as indented JSON text."""
        return json.dumps({"kind": KIND, "schema": SCHEMA, **asdict(self)}, indent=2, ensure_ascii=False) + "\n"


def hash_of_keys(keys: Iterable[str]) -> str:
    """Return a hash of inputs' keys, in order."""
    seen = hashlib.sha256()
    for key in keys:
        seen.update(key.encode(errors="surrogateescape") + b"\n")
    return seen.hexdigest()


def file_name(column: str) -> str:
    """Return a column's name as part of file names: what some systems refuse in one is replaced."""
    return column.replace(":", "-").replace("/", "-")


def scale_name(column: str) -> str:
    """Return the name of the scales of a column of int8."""
    return f"{column}.scale"


def names_of(key: Key) -> list[str]:
    """Return the names of a shard's arrays."""
    names = [column.name for column in key.columns]
    return [*names, *map(scale_name, names)] if key.dtype == "int8" else names
