"""Compute the shards of a data set that are missing, and commit each as a whole."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from typing import Self

import numpy as np

from fmedge.bulk.dataset import Row, commit, done_shards, find_key, read_manifest, require_key
from fmedge.bulk.inputs import Inputs
from fmedge.bulk.key import Column, Key, hash_of_keys
from fmedge.bulk.pooling import Pool
from fmedge.bulk.reducing import Reducers, fit, no_reducers, read_reducers
from fmedge.bulk.rows import Wish, compute_rows
from fmedge.bulk.stores import Store
from fmedge.errors import ArtifactError, UsageError
from fmedge.model.card import ModelCard
from fmedge.model.stock import INPUT_SIZE
from fmedge.runtime.opening import choose_backend
from fmedge.system.progress import Progress, no_progress
from fmedge.system.wording import duration
from fmedge.workflow.batch import Sessions

SHARD_INPUTS = 1024
"""Inputs of a shard, where their values take less than :data:`SHARD_BYTES`."""

SHARD_BYTES = 64 << 20
"""Most bytes of values in a shard, by default: they are kept in memory until it is written."""

_TELL_S = 0.5


@dataclass(frozen=True, slots=True)
class Summary:
    """What became of a job.

    Attributes:
        folder: The data set.
        inputs: Its inputs.
        done: Those of them that are in committed shards.
        failed: Those that failed in this job's share of the shards.
        seconds: How long this job took.
        computed: Inputs that this job computed.
    """

    folder: str
    inputs: int
    done: int
    failed: int
    seconds: float
    computed: int


@dataclass(frozen=True, slots=True)
class Job:
    """A data set that has been begun: all that computing any shard of it takes.

    Attributes:
        inputs: The images; the same ones, in the same order, in every job of a data set.
        wish: What is made of them.
        store: The data set.
        key: Its key.
        reducers: What shortens the vectors of each column.
    """

    inputs: Inputs
    wish: Wish
    store: Store
    key: Key
    reducers: Reducers

    def _places(self, shard: int) -> range:
        first = shard * self.key.shard_size
        return range(first, first + self.key.count(shard))

    def due(self, share: tuple[int, int] = (0, 1), *, retry_failed: bool = False) -> list[int]:
        """Return the shards that are missing.

        Args:
            share: Number and count of jobs that share the work: this one has every count-th shard from that number on.
            retry_failed: Also return shards in which inputs failed.

        Raises:
            UsageError: The share is none.
        """
        number, count = share
        if not 0 <= number < count:
            raise UsageError(f"shard {number + 1}/{count} is none. Allowed: 1/N to N/N.", flags=("--shard",))
        there = set(done_shards(self.store, self.key))
        mine = range(number, self.key.shards, count)
        return [shard for shard in mine if shard not in there or (retry_failed and not self._is_good(shard))]

    def summary(self, share: tuple[int, int], computed: int, seconds: float) -> Summary:
        """Return what became of the inputs."""
        done = done_shards(self.store, self.key)
        failed = sum(self._failures(shard) for shard in done if shard % share[1] == share[0])
        inputs = sum(self.key.count(shard) for shard in done)
        return Summary(self.store.address, self.key.inputs, inputs, failed, seconds, computed)

    def rows(self, places: Iterable[int], sessions: Sessions | None = None) -> Generator[Row]:
        """Compute inputs, by their places, and yield a row for each, in order."""
        inputs = (self.inputs[place] for place in places)
        with closing(compute_rows(inputs, self.inputs.readers, self.wish, self.reducers, sessions)) as rows:
            yield from rows

    def compute(self, shards: Sequence[int], progress: Progress = no_progress, sessions: Sessions | None = None) -> int:
        """Compute shards and commit each; return how many inputs were computed.

        Args:
            shards: Their numbers.
            progress: Receives the progress.
            sessions: Sessions that stay open for the next call.

        Raises:
            BackendUnavailable: An engine is missing, or images or data set cannot be reached.
            KeyboardInterrupt: The user interrupted; what was committed stays, and shards in work are dropped.
        """
        teller = Teller(progress, sum(map(self.key.count, shards)))
        places = (place for shard in shards for place in self._places(shard))
        with closing(self.rows(places, sessions)) as rows, _Writer(self) as writer:
            for shard in shards:
                writer.write(shard, [teller.told(row) for row in islice(rows, self.key.count(shard))])
        return teller.number

    def _is_good(self, shard: int) -> bool:
        try:
            return not self._failures(shard)
        except ArtifactError:  # damaged, or another job is making it anew
            return False

    def _failures(self, shard: int) -> int:
        return sum(row["status"] != "ok" for row in read_manifest(self.store, shard))


def begin(inputs: Inputs, wish: Wish, store: Store, progress: Progress = no_progress) -> Job:
    """Begin a data set, or go on with one.

    Raises:
        UsageError: The place holds a data set of something else, or the wish cannot be fulfilled.
        BackendUnavailable: An engine or a package is missing, or the place cannot be reached.
    """
    key = _key(inputs, wish)
    there = find_key(store)
    if wish.reduction is None:
        reducers = no_reducers(key)
    elif there is not None and there.reduction == wish.reduction.name:
        reducers = read_reducers(store, there)
    else:
        sample = wish.reduction.sample_of(len(inputs))
        plain = replace(wish, l2=False, dtype="float32")
        whole = compute_rows((inputs[place] for place in sample), inputs.readers, plain, no_reducers(key))
        with closing(whole) as rows:
            reducers = fit(wish.reduction, key, (row.values for row in rows if row.values is not None), progress)
    key = reducers.shortened(key, wish.reduction)
    require_key(store, key, reducers.files(key))
    return Job(inputs, wish, store, key, reducers)


def extract_shards(
    inputs: Inputs,
    wish: Wish,
    store: Store,
    *,
    share: tuple[int, int] = (0, 1),
    retry_failed: bool = False,
    progress: Progress = no_progress,
) -> Summary:
    """Compute the shards of a share that are missing: see :meth:`Job.due` and :meth:`Job.compute`."""
    started = time.monotonic()
    job = begin(inputs, wish, store, progress)
    computed = job.compute(job.due(share, retry_failed=retry_failed), progress)
    progress("done", 1.0)
    return job.summary(share, computed, time.monotonic() - started)


class _Writer:
    """Commits shards, one after the other, while the next one is being computed."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._pool = ThreadPoolExecutor(1, "fmedge-writer")
        self._last: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def write(self, shard: int, rows: Sequence[Row]) -> None:
        """Write a shard once the one before is written."""
        self._wait()
        self._last = self._pool.submit(commit, self._job.store, self._job.key, shard, rows)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._pool.shutdown(wait=True)
        if kind is None:
            self._wait()

    def _wait(self) -> None:
        if self._last is not None:
            self._last.result()


class Teller:
    """Reports the progress: how many inputs, at which rate, how many failed, how long it takes."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._total = progress, total
        self._started = self._told = time.monotonic()
        self.number = self._failed = 0

    def told(self, row: Row) -> Row:
        """Count a row and return it."""
        self.count(1, failed=row.values is None)
        return row

    def count(self, number: int, *, failed: bool = False) -> None:
        """Count inputs, and report them from time to time."""
        self.number += number
        self._failed += failed
        now = time.monotonic()
        if self.number and now > self._told + _TELL_S:
            self._told, rate = now, self.number / (now - self._started)
            of_them = f", {self._failed:,} failed" if self._failed else ""
            left = duration((self._total - self.number) / rate)
            words = f"{self.number:,} of {self._total:,} images, {rate:.1f} a second{of_them}; about {left} left"
            self._progress(words, self.number / self._total)


def _key(inputs: Inputs, wish: Wish) -> Key:
    """Return the key of a data set whose vectors are not shortened."""
    card = wish.artifact.card
    size = card.options.size
    if size is None and wish.resize != "none":
        size = INPUT_SIZE
    columns = columns_of(wish)
    return Key(
        model_sha256=card.file_sha256 or "",
        weights=card.describe_weights(),
        activation=str(card.activation),
        preprocessing=card.preprocessing.describe(),
        size=size,
        resize=wish.resize,
        columns=columns,
        format=wish.format,
        dtype=wish.dtype,
        l2=wish.l2,
        reduction=None,
        reduction_sha256=(),
        backend=choose_backend(wish.run, card.format).name,
        device=wish.run.device,
        math=wish.run.math,
        inputs=len(inputs),
        inputs_sha256=hash_of_keys(inputs.keys()),
        shard_size=wish.shard_size or shard_size_of(columns),
    )


def columns_of(wish: Wish) -> tuple[Column, ...]:
    """Return the values of every image, in the order in which they are computed.

    Raises:
        UsageError: They do not have the same shape for all images.
    """
    card = wish.artifact.card
    return tuple(
        Column(f"{tap}.{pool.name}", tap, pool.name, _shape(card, tap, pool))
        for tap in card.submodel.taps
        for pool in wish.pools
    )


def shard_size_of(columns: Sequence[Column]) -> int:
    """Return how many images a shard has by default."""
    row_bytes = sum(column.length for column in columns) * np.dtype(np.float32).itemsize
    return max(1, min(SHARD_INPUTS, SHARD_BYTES // row_bytes))


def _shape(card: ModelCard, tap: str, pool: Pool) -> tuple[int, ...]:
    """Return the shape of an image's values.

    Raises:
        UsageError: It is not the same for all images.
    """
    spec = next(each for each in card.outputs if each.name == tap)
    extents = dict(zip(spec.layout, spec.shape, strict=True))
    channels, height, width = (extents[axis] for axis in "CHW")
    if pool.whole and (height is None or width is None):
        raise UsageError(f"The pool '{pool.way}' needs a model of one size.", hint="Name one: --size.")
    return pool.shape((channels or 0, height or 0, width or 0))
