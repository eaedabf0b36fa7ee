"""Manage temporary files next to the final one: new names, locked while they are written, leftovers swept away later.

Files that this process has created and not yet renamed or removed are recorded, so that none is left when it must end.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
import time
from collections.abc import Generator
from pathlib import Path
from threading import Lock

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_TOKEN_BYTES = 6
_END = re.compile(rf"[0-9a-f]{{{2 * _TOKEN_BYTES}}}\.tmp")
"""End of the name of a temporary file."""

_MAX_NAME_BYTES = 200
"""Most bytes of the final name that the temporary name repeats: file systems allow 255 in all."""

_LONGEST_WAIT_S = 5.0
_PAUSE_S = 0.002

_LAST_WAIT_S = 0.3
"""How long to wait for a file that is just being created before the process ends."""

_STREAMS = 3
"""Lower descriptors are the standard streams: what libraries print there must not end up in one of fmedge's files."""

_present: set[Path] = set()
_creating = Lock()
"""``_present``: temporary files and folders of this process, recorded before they exist. ``_creating``: the lock for
creating one."""


@contextlib.contextmanager
def turn(folder: Path, *, reading: bool = False) -> Generator[None]:
    """Rename, or read, files of a folder that belong together while no other process renames any.

    Others need only milliseconds. After :data:`_LONGEST_WAIT_S` the wait ends and the block runs anyway: anybody who
    may read the folder can hold the lock, or be stopped while holding it, and the files have hashes that reveal a mix.

    Args:
        folder: Where they are; without a lock if it is missing or not readable.
        reading: Lock for reading, which many processes may do at once.
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
    """Create a file next to ``path``, locked for as long as it is open.

    Returns:
        Its path, and its descriptor, open for reading and writing.

    Raises:
        OSError: It cannot be created.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    while True:
        temporary = path.with_name(f"{_start(path)}{secrets.token_hex(_TOKEN_BYTES)}.tmp")
        with _creating:
            _present.add(temporary)
            try:
                descriptor = _beyond_streams(os.open(temporary, flags, 0o666))
            except OSError:
                _present.discard(temporary)
                raise
        try:
            if _lock(descriptor) and os.fstat(descriptor).st_nlink:
                return temporary, descriptor
        except OSError:
            discard(temporary)
            os.close(descriptor)
            raise
        _present.discard(temporary)
        os.close(descriptor)  # another process swept it away before it was locked


@contextlib.contextmanager
def folder_beside(path: Path) -> Generator[Path]:
    """Create a folder next to ``path``, locked; it is removed, with all that is in it, when the block ends.

    Raises:
        OSError: It cannot be created.
    """
    import shutil

    temporary, descriptor = _open_temporary_folder(path)
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        _present.discard(temporary)
        if descriptor is not None:
            os.close(descriptor)


def _open_temporary_folder(path: Path) -> tuple[Path, int | None]:
    """Create it; return its path, and the descriptor that locks it where the system has locks."""
    while True:
        temporary = path.with_name(f"{_start(path)}{secrets.token_hex(_TOKEN_BYTES)}.tmp")
        with _creating:
            _present.add(temporary)
            try:
                temporary.mkdir()
            except OSError:
                _present.discard(temporary)
                raise
        if fcntl is None:
            return temporary, None
        with contextlib.suppress(FileNotFoundError):
            descriptor = _beyond_streams(os.open(temporary, os.O_RDONLY))
            if _lock(descriptor) and temporary.exists():
                return temporary, descriptor
            os.close(descriptor)
        _present.discard(temporary)  # another process swept it away before it was locked


def _beyond_streams(descriptor: int) -> int:
    """Return a descriptor of the same file that is not the number of a standard stream, which may be closed."""
    if descriptor >= _STREAMS or fcntl is None:
        return descriptor
    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _STREAMS)
    finally:
        os.close(descriptor)


def discard(temporary: Path) -> None:
    """Remove a temporary file, unless it was renamed meanwhile."""
    temporary.unlink(missing_ok=True)
    _present.discard(temporary)


@contextlib.contextmanager
def temporary_folder() -> Generator[Path]:
    """Create a new folder where the system keeps temporary files; it is removed when the block ends.

    Raises:
        OSError: There is no place for it.
    """
    import tempfile  # rarely needed

    with _creating:
        folder = tempfile.TemporaryDirectory(prefix="fmedge-", ignore_cleanup_errors=True)
        _present.add(Path(folder.name))
    try:
        with folder as name:
            yield Path(name)
    finally:
        with contextlib.suppress(OSError):  # listing it takes a descriptor, and none may be left
            os.rmdir(folder.name)  # noqa: PTH106
        _present.discard(Path(folder.name))


def end_all() -> None:
    """Remove every temporary file and folder of this process, which must end: from then on none can be created."""
    _creating.acquire(timeout=_LAST_WAIT_S)  # kept
    for temporary in list(_present):
        with contextlib.suppress(OSError):
            if temporary.is_dir():
                import shutil  # which is loaded where there is a folder: nothing waits for the import lock

                shutil.rmtree(temporary, ignore_errors=True)
            else:
                temporary.unlink()


def _start_anew() -> None:
    """Reset the state in a forked process: a thread of the parent may hold the lock, and the files are the parent's."""
    global _creating
    _creating = Lock()
    _present.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)


def _start(path: Path) -> str:
    """Return how temporary files of ``path`` begin; a long name is cut, since a name has 255 bytes at most."""
    name = os.fsencode(path.name)
    return f".{path.name if len(name) <= _MAX_NAME_BYTES else name[:_MAX_NAME_BYTES].decode(errors='ignore')}."


def sweep(path: Path, *, folders: bool = False) -> None:
    """Remove temporary files of ``path`` that a killed process left: those that nobody has locked.

    Args:
        path: The final name.
        folders: Remove folders of :func:`folder_beside` instead.

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
                    if stat.S_ISDIR(os.fstat(descriptor).st_mode) == folders and _lock(descriptor, unknown=False):
                        _remove_left(entry, folder=folders)
                finally:
                    os.close(descriptor)


def _remove_left(entry: Path, *, folder: bool) -> None:
    if folder:
        import shutil

        shutil.rmtree(entry, ignore_errors=True)
    else:
        entry.unlink()


def _lock(descriptor: int, kind: int | None = None, *, unknown: bool = True) -> bool:
    """Lock an open file or folder, exclusively by default; return False when another process has it.

    Where the system cannot tell, return ``unknown``.
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
