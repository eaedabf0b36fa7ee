"""Writing a file so that its name holds either all of it or what was there before."""

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
"""Why no file can be created in a folder, where it is for its owner or its file system to say."""


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


def require_writable(*paths: Path) -> None:
    """Check, before work is spent, that files can be written at these paths.

    In each of their folders a file is created and removed again: bits of access are not the whole truth.

    Raises:
        WriteError: A folder is missing or closed to us, or a path is a folder, a device or no name at all.
    """
    for path in paths:
        _require_name(path)
    for path in {path.parent: path for path in paths}.values():
        _try_folder(path)


_ANOTHER_PLACE = "Choose another: --output for what is written, --models for models."
"""What to do where a folder, such as the current one, takes no files from this user."""


def require_folder(folder: Path) -> None:
    """Check, before work is spent, that files can be written to a folder; where it is missing it is not created yet.

    Raises:
        WriteError: It is closed to us, cannot be created, or a file is in the way.
    """
    there = folder
    while not os.path.lexists(there) and there != there.parent:
        there = there.parent
    if not is_folder(there):
        raise WriteError(f"Cannot write to '{folder}': '{there}' is no folder. Choose another.")
    _try_folder(there / (folder.name if folder != there else "fmedge"))


def _require_name(path: Path) -> None:
    """Check that a name is free, or that of a file: a device is never replaced, nor a link to one."""
    if is_folder(path):
        raise WriteError(f"Cannot write '{path}': it is a folder. Name a file in it.")
    if not is_folder(path.parent):
        raise WriteError(f"Cannot write '{path}': the folder '{path.parent}' does not exist. Create it first.")
    with write_error(path), contextlib.suppress(FileNotFoundError):
        if not stat.S_ISREG(path.stat().st_mode):
            raise WriteError(f"Cannot write '{path}': it is a pipe, a device or the like. Name a file.")


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
        mend = _ANOTHER_PLACE if error.errno in _CLOSED else "Choose another place or free some space."
        raise WriteError(f"Cannot write '{path}': {reason}.", hint=mend) from error


@contextlib.contextmanager
def replacing(path: Path, is_whole: Callable[[IO[bytes]], bool]) -> Generator[IO[bytes]]:
    """Open a new temporary file beside ``path`` that takes its name when the block ends well.

    The content reaches the disk and is read again before the file gets its name (fsync, check, rename, fsync of the
    folder), so after a crash the name holds the old file or the new one. When the block raises, the temporary file is
    removed; one that a killed process left goes when the same name is written again.

    Args:
        path: The final name; an existing file is replaced, a link too: what it points to stays as it is.
        is_whole: Told by what is read from the start of the stream, whether it is what was meant.

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
        WriteError: The file could not be written; a former one is still whole.
    """
    with replacing(path, partial(holds, chunks=chunks)) as stream:
        for chunk in chunks:
            stream.write(chunk)


def write_record(path: Path, record: bytes, parts: Mapping[Path, bytes]) -> None:
    """Write files that belong together, and the record of them, which is there only while all of them are.

    All are whole on the disk before a name is touched. Then the former record goes, the others get their names, and the
    record comes last. Two processes do that one after the other, so that what is left is all of one of them.

    Args:
        path: Final name of the record.
        record: Its content.
        parts: Final names of the other files, all in the folder of the record, and their content.

    Raises:
        WriteError: One could not be written; what was there before is still whole, unless the disk failed while names
            were given: then there is no record.
    """
    with contextlib.ExitStack() as drafts:
        ready: list[tuple[Path, Path]] = []
        for final, content in (*parts.items(), (path, record)):
            stream, temporary = drafts.enter_context(_draft(final))  # which names the file, should the block fail
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
    """A new file beside ``path`` and its name, which is gone at the end unless the file was renamed."""
    _require_name(path)
    with write_error(path):  # outermost: a full disk is met again when the file is closed
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
        raise WriteError(f"Cannot write '{path}': what was written reads otherwise. Choose another disk.")


@contextlib.contextmanager
def temporary_folder() -> Generator[Path]:
    """A new folder where the system keeps temporary files, gone when the block ends.

    Raises:
        WriteError: There is no place for it.
    """
    with contextlib.ExitStack() as ending:
        try:
            folder = ending.enter_context(temporaries.temporary_folder())
        except OSError as error:
            raise WriteError("No folder for temporary files can be written. Name one: TMPDIR=FOLDER.") from error
        yield folder


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
        if error.errno != errno.EINVAL:  # a file system that syncs no folders
            raise
    finally:
        os.close(descriptor)
