"""Temporary files beside the final one: created under a new name, locked while they are written, swept away later."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
from collections.abc import Generator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_TOKEN_BYTES = 6
_END = re.compile(rf"[0-9a-f]{{{2 * _TOKEN_BYTES}}}\.tmp")
"""How the name of a temporary file ends."""

_MOST_NAME_BYTES = 200
"""Of the final name, in that of the temporary file: file systems allow 255 in all."""

_LONGEST_WAIT_S = 5.0
_PAUSE_S = 0.002


@contextlib.contextmanager
def turn(folder: Path, *, reading: bool = False) -> Generator[None]:
    """Give names to files of a folder that belong together, or read them, while no other process gives any.

    That takes others milliseconds. Who has waited :data:`_LONGEST_WAIT_S` goes on: whoever may read the folder can hold
    the lock, or be stopped while holding it, and the files have their hashes.

    Args:
        folder: Where they are; one that is missing or closed to us is nobody's turn.
        reading: Many may read at once.
    """
    descriptor = None
    with contextlib.suppress(OSError):
        descriptor = None if fcntl is None else os.open(folder, os.O_RDONLY)
    if fcntl is None or descriptor is None:
        yield
        return
    try:
        waiting_ends = time.monotonic() + _LONGEST_WAIT_S
        while not _lock(descriptor, fcntl.LOCK_SH if reading else fcntl.LOCK_EX) and time.monotonic() < waiting_ends:
            time.sleep(_PAUSE_S)
        yield
    finally:
        os.close(descriptor)


def open_temporary(path: Path) -> tuple[Path, int]:
    """Create a file beside ``path``, locked for as long as it is open.

    Returns:
        Its path, and the descriptor it is open under, for reading and writing.

    Raises:
        OSError: It cannot be created.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    while True:
        temporary = path.with_name(f"{_start(path)}{secrets.token_hex(_TOKEN_BYTES)}.tmp")
        descriptor = os.open(temporary, flags, 0o666)
        try:
            if _lock(descriptor) and os.fstat(descriptor).st_nlink:
                return temporary, descriptor
        except OSError:
            temporary.unlink(missing_ok=True)
            os.close(descriptor)
            raise
        os.close(descriptor)  # another process swept it away before it was locked


def _start(path: Path) -> str:
    """How temporary files of ``path`` begin; a long name is cut, since a name has 255 bytes at most."""
    name = os.fsencode(path.name)
    return f".{path.name if len(name) <= _MOST_NAME_BYTES else name[:_MOST_NAME_BYTES].decode(errors='ignore')}."


def sweep(path: Path) -> None:
    """Remove temporary files of ``path`` that a killed process left: those that nobody holds locked.

    Raises:
        OSError: The folder cannot be read.
    """
    if fcntl is None:
        return
    start = _start(path)
    for name in os.listdir(path.parent):  # noqa: PTH208 - a run may write thousands of files into one folder
        if name.startswith(start) and _END.fullmatch(name, len(start)):
            entry = path.with_name(name)
            with contextlib.suppress(OSError):
                descriptor = os.open(entry, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
                try:
                    if _lock(descriptor, unknown=False):
                        entry.unlink()
                finally:
                    os.close(descriptor)


def _lock(descriptor: int, kind: int | None = None, *, unknown: bool = True) -> bool:
    """Lock an open file or folder, by default for us alone; False when another process has it.

    Where the system cannot tell, the answer is ``unknown``.
    """
    if fcntl is None:
        return unknown
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if kind is None else kind) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return unknown
    return True
