"""Bind threads, and our own processes, to cores."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Sequence

from fmedge.errors import UsageError


@contextlib.contextmanager
def bound_to(cpus: Sequence[int] | None) -> Generator[None]:
    """Bind the calling thread, and threads that it starts in the meantime, to those cores; None changes nothing.

    Raises:
        UsageError: There is no such core, or the system cannot bind threads (Linux can).
    """
    if cpus is None:
        yield
        return
    before = _require_cpus(cpus)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def bind_process(cpus: Sequence[int]) -> None:
    """Bind this process and those that it starts to those cores for good; for our own processes with one thread.

    Raises:
        UsageError: As in :func:`bound_to`.
    """
    _require_cpus(cpus)
    os.sched_setaffinity(0, cpus)


def _require_cpus(cpus: Sequence[int]) -> set[int]:
    """Check that there are such cores; return those that may be used now."""
    if not hasattr(os, "sched_setaffinity"):
        raise UsageError("Threads cannot be bound to cores on this system.", hint="Leave out --cpus.")
    allowed = os.sched_getaffinity(0)
    if not cpus or not set(cpus) <= allowed:
        raise UsageError(
            f"cpus {','.join(map(str, cpus))}: allowed here: {','.join(map(str, sorted(allowed)))}.",
            flags=("--cpus",),
        )
    return allowed
