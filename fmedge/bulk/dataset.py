"""What lies on disk: ``dataset.json``, the key, and per shard a file of vectors and a file of manifest rows.

A shard is committed when its manifest is there: the vectors are written first, under a temporary name, read back and
renamed, then the manifest. So whatever ends a process, a shard is whole or missing, and running again makes what is
missing. Neither file holds times, hosts or paths of the machine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fmedge.errors import ArtifactError, BackendUnavailable, UsageError
from fmedge.system import files, reading
from fmedge.system.serde import build_record, parse, refusing, require_kind

KIND = "fmedge dataset"
SCHEMA = 1
KEY_FILE = "dataset.json"
MAX_KEY_BYTES = 1 << 20

DType = Literal["float32", "float16", "int8"]

COMPRESSION = "zstd"
"""Vectors of float32 shrink by a tenth, keys and manifests to a third; reading is not slowed."""

INT8_MOST = 127


@dataclass(frozen=True, slots=True)
class Column:
    """A vector of every image.

    Attributes:
        name: Its name in the files: layer and pool, such as ``block3_conv3.gem:3``.
        tap: The layer.
        pool: The way of pooling.
        length: Values per image.
    """

    name: str
    tap: str
    pool: str
    length: int


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
        columns: The vectors.
        dtype: Number format of their values.
        l2: Whether each is divided by its norm.
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
    dtype: DType
    l2: bool
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

    def to_json(self) -> str:
        """Return the key as indented JSON text."""
        return json.dumps({"kind": KIND, "schema": SCHEMA, **asdict(self)}, indent=2, ensure_ascii=False) + "\n"


def hash_of_keys(keys: Sequence[str]) -> str:
    """Return a hash of inputs' keys, in order."""
    seen = hashlib.sha256()
    for key in keys:
        seen.update(key.encode(errors="surrogateescape") + b"\n")
    return seen.hexdigest()


def read_key(folder: Path) -> Key:
    """Return a data set's key.

    Raises:
        UsageError: The folder holds none, or another version's.
    """
    path = folder / KEY_FILE
    if not files.is_file(path):
        raise UsageError(f"'{folder}' is not a data set of fmedge: there is no '{KEY_FILE}'.")
    with refusing(path, "a data set's key", "Extract it again"):
        data = require_kind(dict, parse(reading.read_bytes(path, MAX_KEY_BYTES)))
        if data.pop("kind", None) != KIND or data.pop("schema", None) != SCHEMA:
            raise ValueError("another kind or version")
        return build_record(Key, data)


def require_key(folder: Path, key: Key) -> None:
    """Write the key of a new data set, or check that the data set that is there has the same.

    Raises:
        UsageError: It has another, or the folder holds something else.
        WriteError: The key cannot be written.
    """
    files.create_folder(folder)
    path = folder / KEY_FILE
    if not files.is_file(path):
        if any(not each.name.startswith(".") for each in folder.iterdir()):
            raise UsageError(f"'{folder}' holds something else. Choose an empty folder.")
        files.write_bytes(path, key.to_json().encode())
        return
    there = read_key(folder)
    if there != key:
        names = [name for name, value in asdict(there).items() if value != asdict(key)[name]]
        raise UsageError(f"'{folder}' holds a data set of other {', '.join(names)}. Choose another folder.")


def data_path(folder: Path, shard: int) -> Path:
    """Return the file of a shard's vectors."""
    return folder / f"data-{shard:06}.parquet"


def manifest_path(folder: Path, shard: int) -> Path:
    """Return the file of a shard's manifest, which is there once the shard is whole."""
    return folder / f"manifest-{shard:06}.parquet"


@dataclass(frozen=True, slots=True)
class Row:
    """What became of an input.

    Attributes:
        key: The input.
        sha256: Hash of its bytes; empty where they could not be read.
        vectors: Its vectors, one per column; None where it failed.
        reason: Why it failed; empty where it did not.
    """

    key: str
    sha256: str
    vectors: tuple[npt.NDArray[np.float32], ...] | None
    reason: str = ""


def commit(folder: Path, key: Key, shard: int, rows: Sequence[Row]) -> None:
    """Write a shard: vectors, read back and compared, then the manifest.

    Raises:
        BackendUnavailable: pyarrow is missing.
        WriteError: A file cannot be written.
    """
    good = [row for row in rows if row.vectors is not None]
    places = iter(range(len(good)))
    manifest = {
        "key": [row.key for row in rows],
        "sha256": [row.sha256 or None for row in rows],
        "status": ["failed" if row.vectors is None else "ok" for row in rows],
        "reason": [row.reason or None for row in rows],
        "shard": [shard] * len(rows),
        "row": [None if row.vectors is None else next(places) for row in rows],
    }
    _write(data_path(folder, shard), _data_table(key, good))
    _write(manifest_path(folder, shard), arrow().table(manifest, schema=_manifest_schema()))


def _manifest_schema() -> Any:  # noqa: ANN401
    pa = arrow()
    types = {"key": pa.string(), "sha256": pa.string(), "status": pa.string(), "reason": pa.string()}
    return pa.schema([*types.items(), ("shard", pa.int32()), ("row", pa.int32())])


def _data_table(key: Key, rows: Sequence[Row]) -> Any:  # noqa: ANN401
    pa = arrow()
    arrays: dict[str, Any] = {"key": pa.array([row.key for row in rows], pa.string())}
    for place, column in enumerate(key.columns):
        values = np.stack([row.vectors[place] for row in rows if row.vectors is not None]) if rows else None
        values = np.zeros((0, column.length), np.float32) if values is None else values
        if key.dtype == "int8":
            values, scales = to_int8(values)
            arrays[f"{column.name}.scale"] = pa.array(scales, pa.float32())
        else:
            values = values.astype(key.dtype)
        flat = pa.array(np.ascontiguousarray(values).ravel())
        arrays[column.name] = pa.FixedSizeListArray.from_arrays(flat, column.length)
    return pa.table(arrays)


def to_int8(values: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Return vectors as whole numbers from -127 to 127, and what each vector is to be multiplied by."""
    scales = np.abs(values).max(axis=1, initial=0).astype(np.float32) / INT8_MOST
    scales[scales == 0] = 1
    return np.rint(values / scales[:, None]).astype(np.int8), scales


def _write(path: Path, table: Any) -> None:  # noqa: ANN401
    """Write a table under a temporary name, read it back, and give it its name."""
    from io import BytesIO

    pq = arrow().parquet
    stream = BytesIO()
    pq.write_table(table, stream, compression=COMPRESSION, row_group_size=max(1, table.num_rows))
    if _content(pq.read_table(BytesIO(stream.getvalue()))) != _content(table):
        raise ArtifactError(f"'{path}' would not hold what was written to it.")
    files.write_bytes(path, stream.getvalue())


def _content(table: Any) -> list[tuple[str, object]]:  # noqa: ANN401
    """Return a table's content for comparison: bit by bit, since NaN is unlike itself."""
    pa = arrow()
    found: list[tuple[str, object]] = []
    for name in table.column_names:
        column = table.column(name).combine_chunks()
        if pa.types.is_fixed_size_list(column.type):
            column = column.flatten()
        plain = pa.types.is_primitive(column.type) and not column.null_count
        found.append((name, column.to_numpy().tobytes() if plain else column.to_pylist()))
    return found


def read_manifest(folder: Path, shard: int) -> list[dict[str, Any]]:
    """Return the manifest rows of a shard.

    Raises:
        ArtifactError: The file is damaged.
    """
    return read_table(manifest_path(folder, shard), _manifest_schema()).to_pylist()


def read_table(path: Path, schema: Any = None) -> Any:  # noqa: ANN401
    """Read a table.

    Raises:
        ArtifactError: It is damaged, or has other columns.
    """
    pa = arrow()
    try:
        table = pa.parquet.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise ArtifactError(f"'{path}' is damaged ({str(error).splitlines()[0]}).") from error
    if schema is not None and not table.schema.remove_metadata().equals(schema):
        raise ArtifactError(f"'{path}' has other columns than a manifest.")
    return table


def done_shards(folder: Path, key: Key) -> list[int]:
    """Return the shards that are committed."""
    return [shard for shard in range(key.shards) if files.is_file(manifest_path(folder, shard))]


def arrow() -> Any:  # noqa: ANN401 - the module, which is an extra
    """Return pyarrow, with the part for Parquet.

    Raises:
        BackendUnavailable: It is not installed.
    """
    import importlib

    try:
        importlib.import_module("pyarrow.parquet")
        return importlib.import_module("pyarrow")
    except ImportError as error:
        raise BackendUnavailable("Data sets need pyarrow.", hint="Install it: pip install 'fmedge[bulk]'.") from error
