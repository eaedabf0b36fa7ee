"""Locks that processes of one run of the tests share."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from pathlib import Path


@contextlib.contextmanager
def locked(path: Path, *, shared: bool = False) -> Generator[None]:
    """Hold a lock until the block ends; others may hold it, too, who share it. Nothing where the system has none."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)  # closing would not do: a forked child may have the file open, too
