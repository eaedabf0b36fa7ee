"""Compute the shards of a data set that are missing, and commit each as a whole."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from fmedge.bulk.dataset import (
    Column,
    DType,
    Key,
    Row,
    commit,
    done_shards,
    hash_of_keys,
    read_manifest,
    require_key,
)
from fmedge.bulk.inputs import Input
from fmedge.bulk.pooling import Pool, Vector, normalized
from fmedge.data.feature_maps import FeatureMaps
from fmedge.data.images import label_of
from fmedge.errors import FmedgeError, ImageError, UsageError
from fmedge.model.artifact import Artifact
from fmedge.model.card import ModelCard
from fmedge.model.run_options import RunOptions
from fmedge.model.stock import INPUT_SIZE
from fmedge.runtime.opening import choose_backend
from fmedge.system.progress import Progress, no_progress
from fmedge.system.wording import duration
from fmedge.workflow.batch import run_many
from fmedge.workflow.extraction import Resizing

SHARD_INPUTS = 1024
"""Inputs of a shard, where their vectors take less than :data:`SHARD_BYTES`."""

SHARD_BYTES = 64 << 20
"""Most bytes of vectors in a shard, by default: they are kept in memory until it is written."""

_TELL_S = 0.5


@dataclass(frozen=True, slots=True)
class Wish:
    """What is made of every image.

    Attributes:
        artifact: The model.
        pools: Ways of pooling; every layer of the model is pooled in each of them.
        dtype: Number format of the vectors.
        l2: Whether each vector is divided by its norm.
        resize: How photos are resized.
        run: Engine, device and the number of workers: ``threads``, of which each computes with one.
        shard_size: Inputs of a shard; None takes :data:`SHARD_INPUTS`, or fewer where vectors are long.
    """

    artifact: Artifact
    pools: tuple[Pool, ...]
    dtype: DType = "float32"
    l2: bool = False
    resize: Resizing = "nearest"
    run: RunOptions = field(default_factory=RunOptions)
    shard_size: int | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """What became of a job.

    Attributes:
        folder: The data set.
        inputs: Its inputs.
        done: Those of them that are in committed shards.
        failed: Those of these that failed.
        seconds: How long this job took.
        computed: Inputs that this job computed.
    """

    folder: Path
    inputs: int
    done: int
    failed: int
    seconds: float
    computed: int


def extract_shards(
    inputs: Sequence[Input],
    wish: Wish,
    folder: Path,
    *,
    share: tuple[int, int] = (0, 1),
    retry_failed: bool = False,
    progress: Progress = no_progress,
) -> Summary:
    """Compute the shards that are missing.

    Args:
        inputs: The images; the same ones, in the same order, in every job of a data set.
        wish: What is made of them.
        folder: The data set; the folder is created.
        share: Number and count of jobs that share the work: this one computes every count-th shard from that number on.
        retry_failed: Also compute shards anew in which inputs failed.
        progress: Receives the progress, with rate and failures.

    Raises:
        UsageError: The folder holds a data set of something else, or the share is none.
        BackendUnavailable: An engine is missing.
        KeyboardInterrupt: The user interrupted; what was committed stays, and the shard in work is dropped.
    """
    number, count = share
    if not 0 <= number < count:
        raise UsageError(f"shard {number + 1}/{count} is none. Allowed: 1/N to N/N.", flags=("--shard",))
    key = _key(inputs, wish)
    require_key(folder, key)
    there = set(done_shards(folder, key))
    again = {shard for shard in there if retry_failed and _failures(folder, shard)}
    due = [shard for shard in range(number, key.shards, count) if shard not in there or shard in again]
    started, teller = time.monotonic(), _Teller(progress, sum(len(_part(inputs, key, shard)) for shard in due))
    with closing(_rows((each for shard in due for each in _part(inputs, key, shard)), wish, teller)) as rows:
        for shard in due:
            commit(folder, key, shard, list(islice(rows, len(_part(inputs, key, shard)))))
    progress("done", 1.0)
    done = done_shards(folder, key)
    return Summary(
        folder,
        key.inputs,
        sum(len(_part(inputs, key, shard)) for shard in done),
        sum(_failures(folder, shard) for shard in done),
        time.monotonic() - started,
        teller.number,
    )


def _part(inputs: Sequence[Input], key: Key, shard: int) -> Sequence[Input]:
    return inputs[shard * key.shard_size : (shard + 1) * key.shard_size]


def _failures(folder: Path, shard: int) -> int:
    return sum(row["status"] != "ok" for row in read_manifest(folder, shard))


def _rows(inputs: Iterable[Input], wish: Wish, teller: _Teller) -> Generator[Row]:
    """Yield a row for every input, in order."""
    waiting: deque[tuple[Input, str, ImageError | None]] = deque()

    def contents() -> Iterator[bytes]:
        for each in inputs:
            try:
                content = each.read()
            except ImageError as error:
                waiting.append((each, "", error))
            else:
                waiting.append((each, hashlib.sha256(content).hexdigest(), None))
                yield content

    def unreadable() -> Iterator[Row]:
        while waiting and (error := waiting[0][2]) is not None:
            yield teller.told(Row(waiting.popleft()[0].key, "", None, str(error)))

    def pooled(_: bytes, maps: FeatureMaps) -> tuple[Vector, ...]:
        vectors = (pool(maps.maps[0]) for pool in wish.pools)
        return tuple(normalized(each) if wish.l2 else each for each in vectors)

    many = run_many(wish.artifact, contents(), pooled, resize=wish.resize, run=wish.run, single_threaded=True)
    with closing(many) as results:
        for _, found in results:
            yield from unreadable()
            each, sha256, _ = waiting.popleft()
            if isinstance(found, FmedgeError):
                yield teller.told(Row(each.key, sha256, None, str(found).replace(f"'{label_of(b'')}'", "it")))
            else:
                taps = wish.artifact.card.submodel.taps
                yield teller.told(Row(each.key, sha256, tuple(vector for tap in taps for vector in found[tap])))
    yield from unreadable()


class _Teller:
    """Reports the progress: how many inputs, at which rate, how many failed, how long it takes."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._total = progress, total
        self._started = self._told = time.monotonic()
        self.number = self._failed = 0

    def told(self, row: Row) -> Row:
        """Count a row and return it."""
        self.number += 1
        self._failed += row.vectors is None
        now = time.monotonic()
        if now > self._told + _TELL_S:
            self._told, rate = now, self.number / (now - self._started)
            failed = f", {self._failed:,} failed" if self._failed else ""
            left = duration((self._total - self.number) / rate)
            words = f"{self.number:,} of {self._total:,} images, {rate:.1f} a second{failed}; about {left} left"
            self._progress(words, self.number / self._total)
        return row


def _key(inputs: Sequence[Input], wish: Wish) -> Key:
    card = wish.artifact.card
    size = card.options.size
    if size is None and wish.resize != "none":
        size = INPUT_SIZE
    columns = tuple(
        Column(f"{tap}.{pool.name}", tap, pool.name, _length(card, tap, pool))
        for tap in card.submodel.taps
        for pool in wish.pools
    )
    row_bytes = sum(column.length for column in columns) * np.dtype(np.float32).itemsize
    chosen = wish.shard_size or max(1, min(SHARD_INPUTS, SHARD_BYTES // row_bytes))
    return Key(
        model_sha256=card.file_sha256 or "",
        weights=card.describe_weights(),
        activation=str(card.activation),
        preprocessing=card.preprocessing.describe(),
        size=size,
        resize=wish.resize,
        columns=columns,
        dtype=wish.dtype,
        l2=wish.l2,
        backend=choose_backend(wish.run, card.format).name,
        device=wish.run.device,
        math=wish.run.math,
        inputs=len(inputs),
        inputs_sha256=hash_of_keys([each.key for each in inputs]),
        shard_size=chosen,
    )


def _length(card: ModelCard, tap: str, pool: Pool) -> int:
    """Return the values of a vector.

    Raises:
        UsageError: They are not the same for all images.
    """
    spec = next(each for each in card.outputs if each.name == tap)
    extents = dict(zip(spec.layout, spec.shape, strict=True))
    channels, height, width = (extents[axis] for axis in "CHW")
    if pool.way == "flatten" and (height is None or width is None):
        raise UsageError("The pool 'flatten' needs a model of one size.", hint="Name one: --size.")
    return pool.length((channels or 0, height or 0, width or 0))
