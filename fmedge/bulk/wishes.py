"""What users ask for, as the records that a data set is made with."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import cast, get_args

from fmedge.bulk.formats import find_format
from fmedge.bulk.key import FormatName
from fmedge.bulk.pooling import Pool, find_pool
from fmedge.bulk.reducing import SAMPLE, Wanted
from fmedge.errors import UsageError
from fmedge.system.choices import StrPath, one_of


def find_pools(words: str | Iterable[str]) -> tuple[Pool, ...]:
    """Return ways to pool by their names.

    Raises:
        UsageError: There is no such way.
    """
    return tuple(map(find_pool, (words,) if isinstance(words, str) else words))


def find_address(what: str, value: object) -> str:
    """Return the path or address that a text or path object names.

    Raises:
        UsageError: It is neither.
    """
    text = os.fspath(cast("StrPath", value)) if isinstance(value, os.PathLike) else value
    if not isinstance(text, str):
        raise UsageError(f"{what}: got {value!r}. Allowed: a path or an address, as a string or a path object.")
    return text


def find_reduction(pca: int | None, random_projection: int | None, sample: int | None = None) -> Wanted | None:
    """Return how vectors are shortened.

    Raises:
        UsageError: In two ways, or to too few values.
    """
    if pca is not None and random_projection is not None:
        raise UsageError(
            "pca and random_projection: vectors are shortened in one way.", flags=("--pca", "--random-projection")
        )
    if pca is None and sample is not None:
        raise UsageError("sample: only pca is fitted on one.", flags=("--sample", "--pca"))
    if pca is not None:
        return Wanted("pca", pca, sample or SAMPLE)
    return None if random_projection is None else Wanted("random", random_projection)


def require_form(name: FormatName, pools: Sequence[Pool], reduction: Wanted | None, *, l2: bool) -> None:
    """Check that a form of files can hold what is wanted.

    Raises:
        UsageError: It cannot.
        BackendUnavailable: Its package is missing.
    """
    form = find_format(one_of("format", name, get_args(FormatName)))
    if any(pool.way == "none" for pool in pools):
        if not form.maps:
            raise UsageError(f"{name} holds vectors, not maps.", hint="Choose another form: --format zarr.")
        if l2 or reduction:
            raise UsageError("Maps have no norm and are not shortened.", hint="Choose another way: --pool.")
