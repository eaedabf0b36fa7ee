"""Describe, verify and merge data sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import Any, cast

import numpy as np

from fmedge.bulk.dataset import (
    Row,
    arrays_of,
    done_shards,
    manifest_name,
    read_hashes,
    read_key,
    read_manifest,
    reduction_names,
    require_key,
)
from fmedge.bulk.extraction import begin
from fmedge.bulk.formats import FORMATS, find_format
from fmedge.bulk.inputs import Inputs
from fmedge.bulk.key import Arrays, Key, scale_name
from fmedge.bulk.pooling import find_pool
from fmedge.bulk.reducing import read_wanted
from fmedge.bulk.rows import Wish
from fmedge.bulk.stores import Store
from fmedge.errors import ArtifactError, UsageError
from fmedge.model.artifact import Artifact
from fmedge.model.run_options import RunOptions
from fmedge.workflow.extraction import find_resizing

TOLERANCE = 1e-3
"""Largest difference of a value that is computed again, relative to the image's largest: another processor or version
of an engine adds in another order, and float16 rounds to a thousandth."""


@dataclass(frozen=True, slots=True)
class Description:
    """What a data set holds.

    Attributes:
        key: What determines its values.
        shards: Shards that are committed.
        ok: Inputs that have values.
        failed: Inputs that failed.
        reasons: How many failed for which reason.
        data_bytes: Bytes of its files.
    """

    key: Key
    shards: int
    ok: int
    failed: int
    reasons: dict[str, int]
    data_bytes: int

    @property
    def whole(self) -> bool:
        """Whether every input is in a committed shard."""
        return self.shards == self.key.shards

    def to_dict(self) -> dict[str, object]:
        """Return it as a dictionary that JSON can hold."""
        return {**asdict(self), "whole": self.whole}


def describe_dataset(store: Store) -> Description:
    """Return what a data set holds.

    Raises:
        UsageError: The place holds none.
        ArtifactError: A manifest is damaged.
    """
    key = read_key(store)
    ok, reasons = 0, Counter[str]()
    done = done_shards(store, key)
    for shard in done:
        for row in read_manifest(store, shard):
            if row["status"] == "ok":
                ok += 1
            else:
                reasons[_kind_of(row)] += 1
    size = sum(store.sizes().values())
    return Description(key, len(done), ok, reasons.total(), dict(reasons.most_common()), size)


def _kind_of(row: dict[str, Any]) -> str:
    """Return a reason without the input's name, so that equal ones are counted together."""
    return str(row["reason"]).replace(f"'{row['key']}' ", "It ", 1)


def verify_dataset(store: Store, sample: int | None = None) -> list[str]:
    """Check a data set: every input once, in its shard, and every row that a manifest names in the values.

    Args:
        store: The data set.
        sample: Check only the shards of so many inputs, evenly chosen; None checks all.

    Returns:
        What is wrong, a line each; shards that are missing are no fault.

    Raises:
        UsageError: The place holds none.
    """
    key = read_key(store)
    find_format(key.format)
    done = done_shards(store, key)
    faults: list[str] = []
    seen: set[str] = set()
    for shard in done if sample is None else sorted({place // key.shard_size for place in _chosen(key, done, sample)}):
        try:
            rows = read_manifest(store, shard)
            files: dict[str, bytes] = {}
            keys, arrays = FORMATS[key.format].decode(key, shard, _recording(store, files))
            if read_hashes(store, shard) != {name: sha256(each).hexdigest() for name, each in files.items()}:
                raise ArtifactError(f"The files of shard {shard} are not those that were written.")
        except ArtifactError as error:
            faults.append(str(error))
            continue
        expected = key.count(shard)
        if len(rows) != expected:
            faults.append(f"Shard {shard} has {len(rows)} rows, not {expected}.")
        faults += [f"'{row['key']}' is there twice." for row in rows if row["key"] in seen]
        seen |= {row["key"] for row in rows}
        faults += _faults_of_shard(key, shard, rows, keys, arrays)
    return faults


def _faults_of_shard(
    key: Key, shard: int, rows: Sequence[dict[str, Any]], keys: list[str] | None, arrays: Arrays
) -> list[str]:
    good = [(row["row"], row["key"]) for row in rows if row["status"] == "ok"]
    dense = FORMATS[key.format].dense
    wanted = [number for number, row in enumerate(rows) if row["status"] == "ok"] if dense else list(range(len(good)))
    length = len(rows) if dense else len(good)
    if [row for row, _ in good] != wanted or keys not in (None, [name for _, name in good]):
        return [f"The values of shard {shard} are not those that its manifest names."]
    return [
        f"Shard {shard} has no '{column.name}' of shape {(length, *column.shape)}."
        for column in key.columns
        if column.name not in arrays or arrays[column.name].shape != (length, *column.shape)
    ]


def verify_values(store: Store, inputs: Inputs, wish: Wish, sample: int | None = None) -> list[str]:
    """Compute images again and compare them with what a data set holds.

    Args:
        store: The data set.
        inputs: Its images.
        wish: What was made of them.
        sample: How many images, evenly chosen; None takes all.

    Returns:
        What is wrong, a line each.

    Raises:
        UsageError: The data set is of other images, another model or other options.
    """
    key = read_key(store)
    job = begin(inputs, replace(wish, shard_size=key.shard_size), store)
    chosen = _chosen(key, done_shards(store, key), sample or key.inputs)
    shards = _Shards(key, store)
    return [fault for place, row in zip(chosen, job.rows(chosen), strict=True) if (fault := shards.fault(place, row))]


def wish_of(key: Key, artifact: Artifact, threads: int | None = None) -> Wish:
    """Return what a data set was made with, of a model that the caller has."""
    pools = tuple(dict.fromkeys(column.pool for column in key.columns))
    run = RunOptions(key.backend, key.device, threads=threads, math=cast("Any", key.math))
    reduction = None if key.reduction is None else read_wanted(key.reduction)
    resize = find_resizing(key.resize)
    return Wish(artifact, tuple(map(find_pool, pools)), key.format, key.dtype, key.l2, reduction, resize, run)


class _Shards:
    """Reads the shards of a data set; the last one is kept."""

    def __init__(self, key: Key, store: Store) -> None:
        self._key, self._store, self._shard = key, store, -1
        self._rows: list[dict[str, Any]] = []
        self._arrays: Arrays = {}

    def fault(self, place: int, row: Row) -> str:
        """Return what differs between an input's row, computed again, and what is stored."""
        shard, number = divmod(place, self._key.shard_size)
        if shard != self._shard:
            self._shard, self._rows = shard, read_manifest(self._store, shard)
            self._arrays = FORMATS[self._key.format].decode(self._key, shard, self._store.read)[1]
        there = self._rows[number]
        if (there["status"] == "ok") != (row.values is not None):
            return f"'{row.key}' is {there['status']} there; now it is {'failed' if row.values is None else 'ok'}."
        if there["sha256"] != (row.sha256 or None):
            return f"'{row.key}' has other bytes than those that were extracted."
        if row.values is None:
            return ""
        return self._difference(arrays_of(self._key, [row]), there["row"], row.key)

    def _difference(self, arrays: Arrays, number: int, name: str) -> str:
        for column in self._key.columns:
            now, there = (
                self._values(each, column.name, place) for each, place in ((arrays, 0), (self._arrays, number))
            )
            most = float(np.abs(now).max(initial=0))
            if not float(np.abs(now - there).max(initial=0)) <= TOLERANCE * most + self._step(arrays, column.name):
                return f"'{name}' has other values of {column.name} than its image gives now."
        return ""

    def _values(self, arrays: Arrays, name: str, place: int) -> Any:  # noqa: ANN401
        scale = arrays[scale_name(name)][place] if self._key.dtype == "int8" else 1
        return arrays[name][place].astype(np.float64) * scale

    def _step(self, arrays: Arrays, name: str) -> float:
        return float(arrays[scale_name(name)][0]) if self._key.dtype == "int8" else 0.0


def merge_datasets(sources: Sequence[Store], output: Store) -> Key:
    """Put shards together that several jobs made of the same inputs, each in a place of its own.

    Raises:
        UsageError: The data sets differ in their keys, or the output holds something else.
        ArtifactError: A shard is damaged.
        WriteError: A file cannot be written.
    """
    keys = [read_key(source) for source in sources]
    for source, key in zip(sources, keys, strict=True):
        if key != keys[0]:
            raise UsageError(
                f"'{source.address}' is not of the same inputs, model and options as '{sources[0].address}'."
            )
    form = find_format(keys[0].format)
    require_key(output, keys[0], {name: sources[0].read(name) for name in reduction_names(keys[0])})
    there = set(done_shards(output, keys[0]))
    for source, key in zip(sources, keys, strict=True):
        for shard in done_shards(source, key):
            if shard not in there:
                read_manifest(source, shard)
                files: dict[str, bytes] = {}
                form.decode(key, shard, _recording(source, files))
                for name, content in files.items():
                    output.write(name, content)
                output.write(manifest_name(shard), source.read(manifest_name(shard)))  # only now is the shard there
                there.add(shard)
    return keys[0]


def _recording(store: Store, files: dict[str, bytes]) -> Callable[[str], bytes]:
    def read(name: str) -> bytes:
        files[name] = store.read(name)
        return files[name]

    return read


def _chosen(key: Key, done: Sequence[int], sample: int) -> list[int]:
    """Return the places of so many inputs in committed shards, evenly chosen."""
    ends = np.cumsum([key.count(shard) for shard in done])
    total = int(ends[-1]) if len(ends) else 0
    found: list[int] = []
    for each in range(min(sample, total)):
        number = each * total // min(sample, total)
        at = int(np.searchsorted(ends, number, side="right"))
        found.append(done[at] * key.shard_size + number - (int(ends[at - 1]) if at else 0))
    return found
