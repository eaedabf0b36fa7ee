"""Shorten the vectors of a data set: a reduction per column, fitted on a sample and stored with the data set."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import cast, get_args

import numpy as np
import numpy.typing as npt

from fmedge.bulk.dataset import reduction_names
from fmedge.bulk.key import Key
from fmedge.bulk.pooling import Pool
from fmedge.bulk.reduction import Method, Reduction, fit_pca, random_projection
from fmedge.bulk.stores import Store
from fmedge.errors import ArtifactError, UsageError
from fmedge.system.choices import one_of
from fmedge.system.progress import Progress

SAMPLE = 4096
"""Images that a PCA is fitted on, by default, evenly chosen."""

Values = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Wanted:
    """How vectors are to be shortened.

    Attributes:
        method: ``pca``, or ``random`` for a random projection.
        components: Values that a vector has then.
        sample: Most images that a PCA is fitted on.
    """

    method: Method
    components: int
    sample: int = SAMPLE

    def __post_init__(self) -> None:
        one_of("reduction", self.method, get_args(Method))
        if self.components < 1 or self.sample < 1:
            raise UsageError(f"{self.method}: {self.components} values of a sample of {self.sample} are too few.")

    @property
    def name(self) -> str:
        """How it is called in a data set's key."""
        return f"random:{self.components}" if self.method == "random" else f"pca:{self.components}/{self.sample}"

    def sample_of(self, inputs: int) -> list[int]:
        """Return the places of the inputs that are looked at first, evenly chosen."""
        count = 0 if self.method == "random" else min(self.sample, inputs)
        return [place * inputs // count for place in range(count)]


def read_wanted(name: str) -> Wanted:
    """Return what a name in a data set's key stands for."""
    method, _, numbers = name.partition(":")
    return Wanted(cast("Method", method), *map(int, numbers.split("/")))


@dataclass(frozen=True, slots=True)
class Reducers:
    """What shortens the vectors of each column.

    Attributes:
        columns: Layer and pool of each column.
        steps: Its reduction; none where vectors stay as they are.
    """

    columns: tuple[tuple[str, str], ...]
    steps: tuple[Reduction, ...]

    def of(self, tap: str, pool: Pool) -> Callable[[Values], Values]:
        """Return what a column's vectors go through."""
        return self.steps[self.columns.index((tap, pool.name))] if self.steps else _same

    def files(self, key: Key) -> dict[str, bytes]:
        """Return the files that hold them."""
        return dict(zip(reduction_names(key), (step.to_bytes() for step in self.steps), strict=True))

    def shortened(self, key: Key, wanted: Wanted | None) -> Key:
        """Return the key of the data set with shortened vectors."""
        if wanted is None:
            return key
        columns = tuple(replace(column, shape=(wanted.components,)) for column in key.columns)
        hashes = tuple(hashlib.sha256(step.to_bytes()).hexdigest() for step in self.steps)
        return replace(key, columns=columns, reduction=wanted.name, reduction_sha256=hashes)


def no_reducers(key: Key) -> Reducers:
    """Return what leaves vectors as they are."""
    return Reducers(_columns(key), ())


def fit(wanted: Wanted, key: Key, sample: Iterable[Sequence[Values]], progress: Progress) -> Reducers:
    """Find what shortens the vectors of each column.

    Args:
        wanted: How.
        key: Key of the data set with vectors as they are.
        sample: Values of the sample's images, per column.
        progress: Receives the progress.

    Raises:
        UsageError: The sample is too small.
        LimitExceeded: The sample takes more memory than there is.
    """
    if wanted.method == "random":
        steps = [random_projection(column.length, wanted.components) for column in key.columns]
        return Reducers(_columns(key), tuple(steps))
    progress(f"fit the PCA on up to {wanted.sample:,} images", 0.0)
    rows = list(sample)
    if not rows:
        raise UsageError("No image of the PCA's sample can be read.")
    steps = [fit_pca(np.stack([row[place] for row in rows]), wanted.components) for place in range(len(key.columns))]
    return Reducers(_columns(key), tuple(steps))


def read_reducers(store: Store, key: Key) -> Reducers:
    """Read what shortens the vectors of a data set.

    Raises:
        ArtifactError: A file is missing, damaged or another one.
    """
    steps: list[Reduction] = []
    for name, sha256 in zip(reduction_names(key), key.reduction_sha256, strict=True):
        content = store.read(name)
        if hashlib.sha256(content).hexdigest() != sha256:
            raise ArtifactError(f"'{store.address}/{name}' is not the one that the data set was made with.")
        steps.append(Reduction.from_bytes(content, name))
    return Reducers(_columns(key), tuple(steps))


def _columns(key: Key) -> tuple[tuple[str, str], ...]:
    return tuple((column.tap, column.pool) for column in key.columns)


def _same(values: Values) -> Values:
    return values
