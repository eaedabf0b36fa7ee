"""Write a file so that its name always holds either all of the new content or what was there before."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Generator, Mapping
from functools import partial
from pathlib import Path
from typing import IO

from fmedge.errors import UsageError, WriteError
from fmedge.system import temp_files as temporaries
from fmedge.system.reading import holds
from fmedge.system.temp_files import discard, open_temporary, sweep, turn

_CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)
"""Errors that mean that the owner of a folder or its file system does not allow creating files there."""


def is_file(path: Path) -> bool:
    """Return whether there is such a file; False for a name that no file can have."""
    try:
        return path.is_file()
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    """Return whether there is such a folder; False for a name that no folder can have."""
    try:
        return path.is_dir()
    except OSError:
        return False


def require_writable(*paths: Path) -> None:
    """Check, before any work is done, that files can be written at these paths.

    A file is created in each of their folders and removed again, because permission bits do not tell everything.

    Raises:
        WriteError: A folder is missing or not writable, or a path is a folder, a device or not a valid name.
    """
    for path in paths:
        _require_name(path)
    for path in {path.parent: path for path in paths}.values():
        _try_folder(path)


_ANOTHER_PLACE = "Choose another folder: --output for results, --models for models."
"""What to do where a folder, such as the current one, is not writable for this user."""


def require_folder(folder: Path) -> None:
    """Check, before any work is done, that files can be written to a folder; a missing folder is not created yet.

    Raises:
        WriteError: It is not writable, cannot be created, or a file is in the way.
    """
    there = folder
    while not os.path.lexists(there) and there != there.parent:
        there = there.parent
    if not is_folder(there):
        raise WriteError(f"Cannot write to '{folder}': '{there}' is not a folder. Choose another.")
    _try_folder(there / (folder.name if folder != there else "fmedge"))


def _require_name(path: Path) -> None:
    """Check that a name is free or belongs to a regular file: a device, or a link to one, is never replaced."""
    if is_folder(path):
        raise WriteError(f"Cannot write '{path}': it is a folder. Name a file in it.")
    if not is_folder(path.parent):
        raise WriteError(f"Cannot write '{path}': the folder '{path.parent}' does not exist. Create it first.")
    with write_error(path), contextlib.suppress(FileNotFoundError):
        if not stat.S_ISREG(path.stat().st_mode):
            raise WriteError(f"Cannot write '{path}': not a regular file (pipe, device or similar). Name another.")


def _try_folder(path: Path) -> None:
    """Create a temporary file as for ``path``, and remove it."""
    with write_error(path):
        try:
            sweep(path)
            temporary, descriptor = open_temporary(path)
            try:
                os.close(descriptor)
            finally:
                discard(temporary)
        except OSError as error:
            if error.errno not in _CLOSED:
                raise
            raise WriteError(f"Cannot write '{path}': '{path.parent}' is read-only. {_ANOTHER_PLACE}") from error


def require_output(path: Path | None, suffix: str) -> None:
    """Check that an output file has the suffix of its format, and that it can be written.

    Args:
        path: Where a user wants it; None is always accepted.
        suffix: Such as ``.html``.

    Raises:
        UsageError: It has another suffix.
        WriteError: See :func:`require_writable`.
    """
    if path is None:
        return
    if path.suffix.lower() != suffix:
        raise UsageError(f"Unknown file type: '{path}'. Allowed: a name that ends in {suffix}.")
    require_writable(path)


@contextlib.contextmanager
def write_error(path: Path) -> Generator[None]:
    """Turn an ``OSError`` raised in the block into a :class:`WriteError` that names the path."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        mend = _ANOTHER_PLACE if error.errno in _CLOSED else "Choose another folder or free some disk space."
        raise WriteError(f"Cannot write '{path}': {reason}.", hint=mend) from error


@contextlib.contextmanager
def replacing(path: Path, is_whole: Callable[[IO[bytes]], bool]) -> Generator[IO[bytes]]:
    """Open a new temporary file next to ``path`` and give it that name when the block ends without an error.

    The content is written to the disk and read back before the file gets its name (fsync, check, rename, fsync of the
    folder), so after a crash the name holds the old file or the new one. When the block raises, the temporary file is
    removed; one left by a killed process is removed the next time the same name is written.

    Args:
        path: The final name. An existing file is replaced; so is a link, while its target stays as it is.
        is_whole: Reads the stream from its start and returns whether it holds what was meant.

    Yields:
        The temporary file, open for binary writing.

    Raises:
        WriteError: The disk is full, the folder read-only, or the like.
    """
    with _draft(path) as (stream, temporary):
        yield stream
        _finish(path, stream, is_whole)
        temporary.replace(path)  # while the lock is held
        sync_folder(path.parent)


def write_bytes(path: Path, *chunks: bytes) -> None:
    """Write the chunks one after the other as the whole content of ``path``, atomically.

    Raises:
        WriteError: The file could not be written; a previous one is still whole.
    """
    with replacing(path, partial(holds, chunks=chunks)) as stream:
        for chunk in chunks:
            stream.write(chunk)


def write_record(path: Path, record: bytes, parts: Mapping[Path, bytes]) -> None:
    """Write files that belong together, and a record of them that exists only while all of them do.

    All are whole on the disk before any name is changed. Then the previous record is removed, the other files get their
    names, and the record comes last. Two processes do this one after the other, so the files that remain all come from
    one of them.

    Args:
        path: Final name of the record.
        record: Its content.
        parts: Final names of the other files, all in the folder of the record, and their content.

    Raises:
        WriteError: One could not be written. What was there before is still whole, unless the disk failed while files
            were renamed: then there is no record.
    """
    with contextlib.ExitStack() as drafts:
        ready: list[tuple[Path, Path]] = []
        for final, content in (*parts.items(), (path, record)):
            stream, temporary = drafts.enter_context(_draft(final))  # its error names the file if the block fails
            stream.write(content)
            _finish(final, stream, partial(holds, chunks=(content,)))
            ready.append((temporary, final))
        with turn(path.parent):
            remove(path)
            for temporary, final in ready:
                if final == path:
                    sync_folder(path.parent)
                temporary.replace(final)
            sync_folder(path.parent)


@contextlib.contextmanager
def _draft(path: Path) -> Generator[tuple[IO[bytes], Path]]:
    """Create a new file next to ``path`` and yield it with its name; it is removed at the end unless it was renamed."""
    _require_name(path)
    with write_error(path):  # outermost: a full disk raises again when the file is closed
        sweep(path)
        temporary, descriptor = open_temporary(path)
        try:
            with os.fdopen(descriptor, "w+b") as stream:
                yield stream, temporary
        finally:
            discard(temporary)


def _finish(path: Path, stream: IO[bytes], is_whole: Callable[[IO[bytes]], bool]) -> None:
    stream.flush()
    os.fsync(stream.fileno())
    stream.seek(0)
    if not is_whole(stream):
        raise WriteError(f"Cannot write '{path}': it does not read back as it was written. Use another disk.")


@contextlib.contextmanager
def temporary_folder() -> Generator[Path]:
    """Create a new folder where the system keeps temporary files; it is removed when the block ends.

    Raises:
        WriteError: There is no place for it.
    """
    with contextlib.ExitStack() as ending:
        try:
            folder = ending.enter_context(temporaries.temporary_folder())
        except OSError as error:
            raise WriteError("No folder for temporary files is writable. Name one: TMPDIR=FOLDER.") from error
        yield folder


def create_folder(folder: Path) -> None:
    """Create a folder and its parents where they are missing.

    Raises:
        WriteError: It cannot be created, or a file of that name is in the way.
    """
    with write_error(folder):
        folder.mkdir(parents=True, exist_ok=True)


def remove(path: Path) -> None:
    """Remove a file if it exists, so that it stays removed after a crash.

    Raises:
        WriteError: It exists and cannot be removed.
    """
    with write_error(path):
        try:
            path.unlink()
        except FileNotFoundError:  # or another process was first
            return
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Write a folder's entries to the disk, where the system can (POSIX)."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that cannot sync folders
            raise
    finally:
        os.close(descriptor)
