"""What a data set is: ``dataset.json``, the key, and per shard files of values and a file of manifest rows.

A shard is committed when its manifest is there: the values are written first, as whole files, then the manifest. So
whatever ends a process, a shard is whole or missing, and running again makes what is missing. No file holds times,
hosts or paths of the machine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fmedge.bulk.arrow import arrow, read_table, write_table
from fmedge.bulk.formats import FORMATS
from fmedge.bulk.key import KIND, SCHEMA, Arrays, Key, scale_name
from fmedge.bulk.stores import Store
from fmedge.errors import ArtifactError, UsageError
from fmedge.system.serde import build_record, parse, refusing, require_kind

KEY_FILE = "dataset.json"

_FILES = b"files"
"""Where a manifest's file holds the names of the shard's files and their SHA-256."""

INT8_MOST = 127


def find_key(store: Store, names: set[str] | None = None) -> Key | None:
    """Return a data set's key; None where there is none.

    Args:
        store: The data set.
        names: The names there, where they are known.

    Raises:
        UsageError: It is another version's.
    """
    if KEY_FILE not in (store.names() if names is None else names):
        return None
    with refusing(f"{store.address}/{KEY_FILE}", "a data set's key", "Extract it again"):
        data = require_kind(dict, parse(store.read(KEY_FILE)))
        if data.pop("kind", None) != KIND or data.pop("schema", None) != SCHEMA:
            raise ValueError("another kind or version")
        return build_record(Key, data)


def read_key(store: Store) -> Key:
    """Return a data set's key.

    Raises:
        UsageError: There is none, or another version's.
    """
    key = find_key(store)
    if key is None:
        raise UsageError(f"'{store.address}' is not a data set of fmedge: there is no '{KEY_FILE}'.")
    return key


def require_key(store: Store, key: Key, reductions: Mapping[str, bytes] | None = None) -> None:
    """Begin a new data set, or check that the data set that is there has the same key.

    Args:
        store: The data set.
        key: Its key.
        reductions: Files that shorten its vectors.

    Raises:
        UsageError: It has another, or the place holds something else.
        WriteError: The key cannot be written.
    """
    names = store.names()  # asked for once: another job may begin it meanwhile
    there = find_key(store, names)
    if there is None:
        begin = FORMATS[key.format].begin
        first = {**({} if begin is None else begin(key)), **(reductions or {})}
        mine = {name.partition("/")[0] for name in first}
        if any(not name.startswith(".") and name not in mine for name in names):
            raise UsageError(f"'{store.address}' holds something else. Choose an empty folder.")
        store.create()
        for name, content in first.items():
            store.write(name, content)
        store.write(KEY_FILE, key.to_json().encode())
    elif there != key:
        other = [name for name, value in asdict(there).items() if value != asdict(key)[name]]
        raise UsageError(f"'{store.address}' holds a data set of other {', '.join(other)}. Choose another folder.")


def reduction_names(key: Key) -> list[str]:
    """Return the files that shorten the vectors of each column."""
    return [f"reduction-{place}.npz" for place in range(len(key.columns))] if key.reduction else []


def manifest_name(shard: int) -> str:
    """Return the file of a shard's manifest, which is there once the shard is whole."""
    return f"manifest-{shard:06}.parquet"


@dataclass(frozen=True, slots=True)
class Row:
    """What became of an input.

    Attributes:
        key: The input.
        sha256: Hash of its bytes; empty where they could not be read.
        values: Its values, one array per column; None where it failed.
        reason: Why it failed; empty where it did not.
    """

    key: str
    sha256: str
    values: tuple[npt.NDArray[np.float32], ...] | None
    reason: str = ""


def commit(store: Store, key: Key, shard: int, rows: Sequence[Row]) -> None:
    """Write a shard: its values, which are read back and compared, then the manifest.

    Raises:
        BackendUnavailable: A package is missing, or the place cannot be reached.
        WriteError: A file cannot be written.
    """
    form = FORMATS[key.format]
    good = [row for row in rows if row.values is not None]
    places = range(len(rows)) if form.dense else range(len(good))
    found = iter(place for place in places if not form.dense or rows[place].values is not None)
    manifest = {
        "key": [row.key for row in rows],
        "sha256": [row.sha256 or None for row in rows],
        "status": ["failed" if row.values is None else "ok" for row in rows],
        "reason": [row.reason or None for row in rows],
        "shard": [shard] * len(rows),
        "row": [None if row.values is None else next(found) for row in rows],
    }
    names, arrays = [row.key for row in good], arrays_of(key, rows if form.dense else good)
    made = form.encode(key, shard, names, arrays)
    read_names, read = form.decode(key, shard, made.__getitem__)
    if read_names not in (None, names) or not same_values(arrays, read):
        raise ArtifactError(f"Shard {shard} would not hold what was written to it.")
    store.remove(manifest_name(shard))  # of a shard that is made anew: its rows are others
    for name, content in made.items():
        store.write(name, content)
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in made.items()}
    schema = _manifest_schema().with_metadata({_FILES: json.dumps(hashes)})
    store.write(manifest_name(shard), write_table(arrow().table(manifest, schema=schema)))


def _manifest_schema() -> Any:  # noqa: ANN401
    pa = arrow()
    types = {"key": pa.string(), "sha256": pa.string(), "status": pa.string(), "reason": pa.string()}
    return pa.schema([*types.items(), ("shard", pa.int32()), ("row", pa.int32())])


def arrays_of(key: Key, rows: Sequence[Row]) -> Arrays:
    """Return the arrays of a shard's rows; those that failed hold NaN, or zeros as int8."""
    arrays: Arrays = {}
    for place, column in enumerate(key.columns):
        values = np.full((len(rows), *column.shape), np.nan, np.float32)
        for number, row in enumerate(rows):
            if row.values is not None:
                values[number] = row.values[place]
        if key.dtype == "int8":
            arrays[column.name], arrays[scale_name(column.name)] = to_int8(values)
        else:
            arrays[column.name] = values.astype(key.dtype, copy=False)
    return arrays


def to_int8(values: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Return values as whole numbers from -127 to 127, and what those of each image are to be multiplied by.

    The error is at most half of that. Images that have no values (NaN) get zeros, and NaN to multiply them by.
    """
    axes = tuple(range(1, values.ndim))
    scales = np.abs(values).max(axis=axes, initial=0).astype(np.float32) / INT8_MOST
    scales[scales == 0] = 1
    spread = np.expand_dims(scales, axes)
    return np.nan_to_num(np.rint(values / spread)).astype(np.int8), scales


def same_values(these: Arrays, those: Arrays) -> bool:
    """Return whether arrays are the same, bit by bit, since NaN is unlike itself."""
    return {name: _bits(each) for name, each in these.items()} == {name: _bits(each) for name, each in those.items()}


def _bits(values: npt.NDArray[Any]) -> tuple[str, tuple[int, ...], bytes]:
    return str(values.dtype), values.shape, hashlib.sha256(np.ascontiguousarray(values).data).digest()


def read_manifest(store: Store, shard: int) -> list[dict[str, Any]]:
    """Return the manifest rows of a shard.

    Raises:
        ArtifactError: The file is damaged.
    """
    return _manifest(store, shard).to_pylist()


def read_hashes(store: Store, shard: int) -> dict[str, str]:
    """Return the SHA-256 of a shard's files, by their names.

    Raises:
        ArtifactError: The manifest is damaged.
    """
    metadata: dict[bytes, bytes] = _manifest(store, shard).schema.metadata or {}
    return json.loads(metadata.get(_FILES, b"{}"))


def _manifest(store: Store, shard: int) -> Any:  # noqa: ANN401
    name = manifest_name(shard)
    return read_table(store.read(name), f"{store.address}/{name}", _manifest_schema())


def done_shards(store: Store, key: Key) -> list[int]:
    """Return the shards that are committed."""
    there = store.names()
    return [shard for shard in range(key.shards) if manifest_name(shard) in there]
