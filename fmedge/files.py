"""Reading a whole file, and writing one so that its name holds either all of it or what was there before."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Generator
from pathlib import Path
from typing import IO

from fmedge.errors import ArtifactError, UsageError, WriteError


def require_writable(path: Path) -> None:
    """Check, before work is spent, that a file can be written at this path.

    Raises:
        WriteError: The folder is missing or closed to us, or the path is a folder.
    """
    folder = path.parent
    if path.is_dir():
        raise WriteError(f"Cannot write '{path}': it is a folder. Name a file in it.")
    if not folder.is_dir():
        raise WriteError(f"Cannot write '{path}': the folder '{folder}' does not exist. Create it first.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise WriteError(f"Cannot write '{path}': the folder '{folder}' is read-only. Choose another with --output.")


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
    crash the name holds the old file or the new one. When the block raises, the temporary file is removed.

    Args:
        path: The final name; an existing file is replaced.

    Yields:
        The temporary file, open for binary writing.

    Raises:
        WriteError: The disk is full, the folder read-only, or the like.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    with write_error(path):
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        descriptor = os.open(temporary, flags, 0o666)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


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
    """Read a regular file whole.

    Args:
        path: The file.
        limit: Largest size allowed, in bytes.

    Raises:
        ArtifactError: It is no regular file, cannot be read, or is larger than allowed.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(limit + 1)
    except OSError as error:
        raise ArtifactError(f"Cannot read '{path}': {error.strerror}.") from error
    if len(data) > limit:
        raise ArtifactError(f"'{path}' is larger than the {limit:,} bytes allowed.")
    return data
