"""Compute images: read, decode, run, pool, shorten; a row for each, in order."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fmedge.bulk.dataset import Row
from fmedge.bulk.inputs import Input
from fmedge.bulk.key import DType, FormatName
from fmedge.bulk.pooling import Pool, normalized
from fmedge.bulk.reducing import Reducers, Wanted
from fmedge.bulk.sources import Content
from fmedge.data.feature_maps import FeatureMaps
from fmedge.data.images import label_of
from fmedge.errors import FmedgeError, ImageError
from fmedge.model.artifact import Artifact
from fmedge.model.run_options import RunOptions
from fmedge.workflow.batch import Sessions, run_many
from fmedge.workflow.extraction import Resizing

Values = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Wish:
    """What is made of every image.

    Attributes:
        artifact: The model.
        pools: Ways of pooling; every layer of the model is pooled in each of them.
        format: Form of the files.
        dtype: Number format of the values.
        l2: Whether each vector is divided by its norm, after it has been shortened.
        reduction: How vectors are shortened; None leaves them.
        resize: How photos are resized.
        run: Engine, device and the number of workers: ``threads``, of which each computes with one.
        shard_size: Inputs of a shard; None takes 1,024, or fewer where values take more room.
    """

    artifact: Artifact
    pools: tuple[Pool, ...]
    format: FormatName = "parquet"
    dtype: DType = "float32"
    l2: bool = False
    reduction: Wanted | None = None
    resize: Resizing = "nearest"
    run: RunOptions = field(default_factory=RunOptions)
    shard_size: int | None = None


def read_ahead(inputs: Iterable[Input], readers: int) -> Generator[tuple[Input, Content | ImageError]]:
    """Yield inputs, in order, with what they hold, or why they cannot be read; so many are read at once."""

    def read(each: Input) -> Content | ImageError:
        try:
            return each.read()
        except ImageError as error:
            return error

    if readers == 1:
        yield from ((each, read(each)) for each in inputs)
        return
    waiting: deque[tuple[Input, Future[Content | ImageError]]] = deque()
    pool = ThreadPoolExecutor(readers, "fmedge-reader")
    try:
        for each in inputs:
            waiting.append((each, pool.submit(read, each)))
            if len(waiting) == 2 * readers:
                first, found = waiting.popleft()
                yield first, found.result()
        while waiting:
            first, found = waiting.popleft()
            yield first, found.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def hash_of(content: Content) -> str:
    """Return the SHA-256 of an image's bytes, or of its pixels, row by row."""
    return hashlib.sha256(content if isinstance(content, bytes) else np.ascontiguousarray(content).data).hexdigest()


def compute_rows(
    inputs: Iterable[Input], readers: int, wish: Wish, reducers: Reducers, sessions: Sessions | None = None
) -> Generator[Row]:
    """Yield a row for every input, in order."""
    waiting: deque[tuple[Input, str, ImageError | None]] = deque()
    taps = wish.artifact.card.submodel.taps
    steps = {tap: [(pool, reducers.of(tap, pool)) for pool in wish.pools] for tap in taps}

    def contents() -> Iterator[Content]:
        with closing(read_ahead(inputs, readers)) as contents:
            for each, content in contents:
                if isinstance(content, ImageError):
                    waiting.append((each, "", content))
                else:
                    waiting.append((each, hash_of(content), None))
                    yield content

    def unreadable() -> Iterator[Row]:
        while waiting and (error := waiting[0][2]) is not None:
            yield Row(waiting.popleft()[0].key, "", None, str(error))

    def pooled(_: Content, maps: FeatureMaps) -> list[Values]:
        found = [reduce(pool(maps.maps[0])) for pool, reduce in steps[maps.layer]]
        return [_fitting(normalized(each) if wish.l2 else each, wish.dtype) for each in found]

    many = run_many(
        wish.artifact,
        contents(),
        pooled,
        resize=wish.resize,
        run=wish.run,
        single_threaded=True,
        sessions=sessions,
    )
    with closing(many) as results:
        for content, found in results:
            yield from unreadable()
            each, sha256, _ = waiting.popleft()
            if isinstance(found, FmedgeError):
                yield Row(each.key, sha256, None, str(found).replace(f"'{label_of(content)}'", "it"))
            else:
                yield Row(each.key, sha256, tuple(values for tap in taps for values in found[tap]))
    yield from unreadable()


def _fitting(values: Values, dtype: DType) -> Values:
    """Return values that a number format can hold.

    Raises:
        ImageError: It cannot hold them.
    """
    if dtype != "float32":
        most = float(np.abs(values).max(initial=0))
        if not most <= float(np.finfo(np.float16 if dtype == "float16" else np.float32).max):
            raise ImageError(f"Its values, up to {most:.3g}, do not fit into {dtype}.")
    return values
