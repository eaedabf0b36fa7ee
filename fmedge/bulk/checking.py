"""Describe, verify and merge data sets."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from fmedge.bulk.dataset import (
    Key,
    data_path,
    done_shards,
    manifest_path,
    read_key,
    read_manifest,
    read_table,
    require_key,
)
from fmedge.errors import ArtifactError, UsageError
from fmedge.system import files


@dataclass(frozen=True, slots=True)
class Description:
    """What a data set holds.

    Attributes:
        key: What determines its values.
        shards: Shards that are committed.
        ok: Inputs that have vectors.
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


def describe_dataset(folder: Path) -> Description:
    """Return what a data set holds.

    Raises:
        UsageError: The folder holds none.
        ArtifactError: A manifest is damaged.
    """
    key = read_key(folder)
    ok, reasons = 0, Counter[str]()
    done = done_shards(folder, key)
    for shard in done:
        for row in read_manifest(folder, shard):
            if row["status"] == "ok":
                ok += 1
            else:
                reasons[str(row["reason"])] += 1
    size = sum(place(folder, shard).stat().st_size for shard in done for place in (data_path, manifest_path))
    return Description(key, len(done), ok, reasons.total(), dict(reasons.most_common()), size)


def verify_dataset(folder: Path) -> list[str]:
    """Check a data set: every input once, in its shard, and every row that a manifest names in the vectors.

    Returns:
        What is wrong, a line each; shards that are missing are no fault.

    Raises:
        UsageError: The folder holds none.
    """
    key = read_key(folder)
    faults: list[str] = []
    seen: set[str] = set()
    for shard in done_shards(folder, key):
        try:
            rows = read_manifest(folder, shard)
            table = read_table(data_path(folder, shard))
        except ArtifactError as error:
            faults.append(str(error))
            continue
        expected = min(key.shard_size, key.inputs - shard * key.shard_size)
        if len(rows) != expected:
            faults.append(f"Shard {shard} has {len(rows)} rows, not {expected}.")
        faults += [f"'{row['key']}' is there twice." for row in rows if row["key"] in seen]
        seen |= {row["key"] for row in rows}
        good = [(row["key"], row["row"]) for row in rows if row["status"] == "ok"]
        names: list[str] = table.column("key").to_pylist() if "key" in table.column_names else []
        if good != list(zip(names, range(len(names)), strict=True)):
            faults.append(f"The vectors of shard {shard} are not those that its manifest names.")
        faults += [
            f"Shard {shard} has no '{column.name}' of {column.length} values."
            for column in key.columns
            if column.name not in table.column_names or table.schema.field(column.name).type.list_size != column.length
        ]
    return faults


def merge_datasets(sources: Sequence[Path], output: Path) -> Key:
    """Put shards together that several jobs made of the same inputs, each in a folder of its own.

    Raises:
        UsageError: The data sets differ in their keys, or the output holds something else.
        ArtifactError: A manifest is damaged.
        WriteError: A file cannot be written.
    """
    keys = [read_key(source) for source in sources]
    for source, key in zip(sources, keys, strict=True):
        if key != keys[0]:
            raise UsageError(f"'{source}' is not of the same inputs, model and options as '{sources[0]}'.")
        for shard in done_shards(source, key):
            read_manifest(source, shard)
    require_key(output, keys[0])
    for source, key in zip(sources, keys, strict=True):
        for shard in done_shards(source, key):
            for place in (data_path, manifest_path):  # the manifest last: only then is the shard there
                target = place(output, shard)
                if not files.is_file(target):
                    draft = target.with_name(f".{target.name}.tmp")
                    shutil.copyfile(place(source, shard), draft)
                    draft.replace(target)
    return keys[0]
