"""Reading a whole file, and writing one so that its name holds either all of it or what was there before."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Generator
from pathlib import Path
from typing import IO

from fmedge.errors import ArtifactError, UsageError, WeightsError, WriteError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


def is_file(path: Path) -> bool:
    """Whether there is such a file; a name that no file can have is no file."""
    try:
        return path.is_file()
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    """Whether there is such a folder; a name that no folder can have is no folder."""
    try:
        return path.is_dir()
    except OSError:
        return False


def require_writable(path: Path) -> None:
    """Check, before work is spent, that a file can be written at this path.

    Raises:
        WriteError: The folder is missing or closed to us, or the path is a folder.
    """
    folder = path.parent
    if is_folder(path):
        raise WriteError(f"Cannot write '{path}': it is a folder. Name a file in it.")
    if not is_folder(folder):
        raise WriteError(f"Cannot write '{path}': the folder '{folder}' does not exist. Create it first.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise WriteError(f"Cannot write '{path}': the folder '{folder}' is read-only. Choose another.")


def require_output(path: Path | None, suffix: str) -> None:
    """Check that a file to be written has the suffix of its form, and that it can be written.

    Args:
        path: Where a user wants it; None is always right.
        suffix: Such as ``.html``.

    Raises:
        UsageError: It has another suffix.
        WriteError: See :func:`require_writable`.
    """
    if path is None:
        return
    if path.suffix.lower() != suffix:
        raise UsageError(f"Cannot tell the form of '{path}'. Allowed: a name that ends in {suffix}.")
    require_writable(path)


@contextlib.contextmanager
def write_error(path: Path) -> Generator[None]:
    """Turn an ``OSError`` of the block into a :class:`WriteError` that names the path."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise WriteError(f"Cannot write '{path}': {reason}. Choose another place or free some space.") from error


@contextlib.contextmanager
def replacing(path: Path) -> Generator[IO[bytes]]:
    """Open a new temporary file beside ``path`` that takes its name when the block ends well.

    The content reaches the disk before the name does (fsync, rename, fsync of the folder), so after a
    crash the name holds the old file or the new one. When the block raises, the temporary file is removed; one that
    a killed process left goes when the same name is written again.

    Args:
        path: The final name; an existing file is replaced.

    Yields:
        The temporary file, open for binary writing.

    Raises:
        WriteError: The disk is full, the folder read-only, or the like.
    """
    with write_error(path):
        _sweep(path)
        temporary, descriptor = _open_temporary(path)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
                temporary.replace(path)  # while the lock is held
        finally:
            temporary.unlink(missing_ok=True)  # gone already where it took its name
        sync_folder(path.parent)


def _open_temporary(path: Path) -> tuple[Path, int]:
    """A new file beside ``path``, locked for as long as it is open."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
        descriptor = os.open(temporary, flags, 0o666)
        if _lock(descriptor) and os.fstat(descriptor).st_nlink:
            return temporary, descriptor
        os.close(descriptor)  # another process swept it away before it was locked


def _sweep(path: Path) -> None:
    """Remove temporary files of ``path`` that a killed process left: those that nobody holds locked."""
    if fcntl is None:
        return
    start = f".{path.name}."
    for name in os.listdir(path.parent):  # noqa: PTH208 - a run may write thousands of files into one folder
        if name.startswith(start) and name.endswith(".tmp"):
            entry = path.with_name(name)
            with contextlib.suppress(OSError):
                descriptor = os.open(entry, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
                try:
                    if _lock(descriptor):
                        entry.unlink()
                finally:
                    os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Lock an open file, where the system can (POSIX); False when another process has it."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def write_bytes(path: Path, *chunks: bytes) -> None:
    """Write the chunks one after the other as the whole content of ``path``, atomically.

    Raises:
        WriteError: The file could not be written; a former one is still whole.
    """
    with replacing(path) as stream:
        for chunk in chunks:
            stream.write(chunk)


def create_folder(folder: Path) -> None:
    """Create a folder and its parents where they are missing.

    Raises:
        WriteError: It cannot be created, or a file of that name is in the way.
    """
    with write_error(folder):
        folder.mkdir(parents=True, exist_ok=True)


def remove(path: Path) -> None:
    """Remove a file if it is there, and make that last through a crash.

    Raises:
        WriteError: It is there and cannot be removed.
    """
    with write_error(path):
        if path.exists():
            path.unlink()
            sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Write a folder's entries to the disk, where the system can (POSIX)."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_bytes(path: Path, limit: int) -> bytes:
    """Read a file whole.

    Args:
        path: The file.
        limit: Largest size allowed, in bytes.

    Raises:
        ArtifactError: It cannot be read, or is larger than allowed.
    """
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            data = stream.read(min(size, limit) + 1)  # Python takes memory for as much as is asked for
            if len(data) > size:  # it has grown, or tells no size
                data += stream.read(max(0, limit + 1 - len(data)))
    except OSError as error:
        raise ArtifactError(f"Cannot read '{path}': {error.strerror}.") from error
    if len(data) > limit:
        raise ArtifactError(f"'{path}' is larger than the {limit:,} bytes allowed.")
    return data


def digest(path: Path, algorithm: str) -> str:
    """Hash of a weights file's content, in hexadecimal digits.

    Raises:
        WeightsError: It cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
    except OSError as error:
        raise WeightsError(f"Cannot read the weights '{path}': {error.strerror}.") from error
