"""Compute a data set on a Ray cluster: Ray Data spreads the shards, and each worker commits its own.

What travels between machines is the model, the inputs' keys, numbers of shards, and what became of them. Images are
read, and values written, where they are computed: inputs and data set must be addresses that every node reaches.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt

import fmedge.errors
from fmedge.bulk.dataset import done_shards
from fmedge.bulk.extraction import Job, Summary, Teller, begin, columns_of
from fmedge.bulk.inputs import Group, Inputs, Keys
from fmedge.bulk.packages import package
from fmedge.bulk.reducing import Reducers
from fmedge.bulk.rows import Wish, compute_rows
from fmedge.bulk.sources import Content
from fmedge.bulk.stores import Store
from fmedge.bulk.wishes import find_pools
from fmedge.errors import FmedgeError, ProviderUnavailable, UsageError
from fmedge.model.run_options import RunOptions
from fmedge.system.progress import Progress, no_progress
from fmedge.workflow.artifacts import prepare_artifact
from fmedge.workflow.batch import MOST_BESIDE_A_DEVICE, Sessions
from fmedge.workflow.layer_names import Layers

CALLS = 8
"""Calls that a worker gets in the course of a job, at least: with fewer, some workers are idle while others end."""

MOST_SHARDS = 16
"""Most shards of a call: so many are computed again, at most, when a worker ends."""


class ShardWriter:
    """Computes and commits shards: an actor of ``ray.data.Dataset.map_batches``, which keeps its sessions open."""

    def __init__(self, job: Job, folder: str, again: frozenset[int] = frozenset()) -> None:
        """Keep the job.

        Args:
            job: A data set that has been begun.
            folder: What relative paths are relative to.
            again: Shards that are computed though they are there.
        """
        self._job, self._again, self._sessions = job, again, Sessions()
        with contextlib.suppress(OSError):  # a node without it reads from addresses
            os.chdir(folder)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[object]]:
        """Commit the shards of a batch that are missing: a worker that ended may have committed some.

        Args:
            batch: ``shard``: their numbers.

        Returns:
            One row: ``computed``, how many inputs; ``error``, ``message`` and ``hint`` of what ended the work, or "".
        """
        try:
            there = set(done_shards(self._job.store, self._job.key)) - self._again
            due = [shard for shard in map(int, batch["shard"]) if shard not in there]
            computed = self._job.compute(due, sessions=self._sessions)
        except FmedgeError as error:
            return {
                "computed": [0],
                "error": [type(error).__name__],
                "message": [str(error)],
                "hint": [error.hint],
            }
        return {"computed": [computed], "error": [""], "message": [""], "hint": [""]}


def extract_shards(
    inputs: Inputs,
    wish: Wish,
    store: Store,
    *,
    share: tuple[int, int] = (0, 1),
    retry_failed: bool = False,
    progress: Progress = no_progress,
) -> Summary:
    """Compute the shards of a share that are missing: :func:`fmedge.bulk.extraction.extract_shards`, on Ray.

    A cluster is used where RAY_ADDRESS or ``ray.init`` names one; otherwise Ray is started on this machine. On the CPU
    each worker has a core of its own, on another device a whole GPU, and cores that decode for it.

    Raises:
        ProviderUnavailable: The cluster has no GPU.
    """
    started = time.monotonic()
    job = begin(inputs, wish, store, progress)
    due = job.due(share, retry_failed=retry_failed)
    teller = Teller(progress, sum(map(job.key.count, due)))
    for row in _results(job, due, retry_failed=retry_failed) if due else ():
        if row["error"]:
            raise getattr(fmedge.errors, row["error"])(row["message"], hint=row["hint"])
        teller.count(row["computed"])
    progress("done", 1.0)
    return job.summary(share, teller.number, time.monotonic() - started)


def _results(job: Job, due: list[int], *, retry_failed: bool) -> Iterator[dict[str, Any]]:
    """Compute shards on the cluster and yield what each call returned."""
    _start()
    ray, data = package("ray"), package("ray.data")
    data.DataContext.get_current().enable_progress_bars = False
    there: dict[str, float] = ray.cluster_resources()
    cores, cards = (int(there.get(name, 0)) for name in ("CPU", "GPU"))
    on_cpu = job.wish.run.device == "cpu"
    if not on_cpu and not cards:
        raise ProviderUnavailable("The Ray cluster has no GPU.", hint="Choose the CPU: --device cpu.")
    threads = 1 if on_cpu else max(1, min(MOST_BESIDE_A_DEVICE, cores // cards))
    job = replace(job, wish=replace(job.wish, run=replace(job.wish.run, threads=threads)))
    needed = {"num_cpus": threads} if on_cpu else {"num_cpus": threads, "num_gpus": 1}
    workers = max(1, min(len(due), cores if on_cpu else cards))
    shards = max(1, min(MOST_SHARDS, len(due) // (workers * CALLS)))
    numbers = data.from_items([{"shard": shard} for shard in due], override_num_blocks=-(-len(due) // shards))
    again = frozenset(due) if retry_failed else frozenset[int]()
    results = numbers.map_batches(
        ShardWriter,
        fn_constructor_args=(job, os.getcwd(), again),  # noqa: PTH109 - as a text
        batch_size=shards,
        compute=data.ActorPoolStrategy(min_size=1, max_size=workers),
        **needed,
    )
    yield from results.iter_rows()


def _start() -> None:
    """Connect to the cluster that the user has, or start Ray here; quietly."""
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # it calls what is usual an error
    ray = package("ray")
    package("ray.data")
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    if not ray.is_initialized():  # left to itself, Ray waits for the cluster that was here last, though it is gone
        address = os.environ.get("RAY_ADDRESS") or "local"
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)


def names_in(dataset: Any, column: str) -> list[str]:  # noqa: ANN401
    """Return the paths or addresses in a column of a ``ray.data.Dataset``, sorted.

    Raises:
        UsageError: There is no such column.
    """
    if column not in dataset.columns():
        raise UsageError(f"The data set has no column '{column}'. There: {', '.join(dataset.columns())}.")
    return sorted(str(row[column]) for row in dataset.select_columns([column]).iter_rows())


class Features:
    """Adds a column of vectors per layer and pool to a Ray Data set: for ``map_batches``, as a class.

    The rows stay in Ray's hands: there is no manifest, and vectors go through its object store. Rows whose image cannot
    be read get NaN, and the reason in the column ``reason``.
    """

    def __init__(
        self,
        layer: Layers | None = None,
        activation: str | None = None,
        *,
        column: str = "bytes",
        pool: str | Iterable[str] = "gem",
        l2: bool = False,
        **options: Any,  # noqa: ANN401
    ) -> None:
        """Find the model, and export it if it is missing.

        Args:
            layer: As in :func:`fmedge.extract_many`.
            activation: As in :func:`fmedge.extract_many`.
            column: The column of images: bytes of files, or pixels (height, width, 3).
            pool: As in :func:`fmedge.extract_dataset`.
            l2: Whether to divide each vector by its norm.
            **options: What says which model, as in :func:`fmedge.extract_dataset`, and ``run``.
        """
        run = replace(cast("RunOptions", options.get("run") or RunOptions()), threads=1)
        self._column = column
        self._wish = Wish(prepare_artifact(layer, activation, **options), find_pools(pool), l2=l2, run=run)
        self._columns = columns_of(self._wish)
        self._sessions = Sessions()

    def __call__(self, batch: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Return a batch with its vectors.

        Args:
            batch: Columns of rows.
        """
        images = batch[self._column]
        inputs = Inputs([Group(_Batch(images), Keys(map(str, range(len(images)))))])
        rows = list(compute_rows(inputs, 1, self._wish, Reducers((), ()), self._sessions))
        found = {"reason": np.array([row.reason for row in rows], object)}
        for place, column in enumerate(self._columns):
            found[column.name] = np.full((len(rows), *column.shape), np.nan, np.float32)
            for number, row in enumerate(rows):
                if row.values is not None:
                    found[column.name][number] = row.values[place]
        return {**batch, **found}


@dataclass(frozen=True, slots=True)
class _Batch:
    """The images of a batch, as a source."""

    images: npt.NDArray[Any]
    readers: int = 1

    def read(self, number: int, key: str) -> Content:
        del key
        return self.images[number]
