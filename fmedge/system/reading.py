"""Read untrusted files: without waiting, whole, only regular files, no larger than allowed."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import IO, cast

from fmedge.errors import ArtifactError, WeightsError

_BLOCK_BYTES = 1 << 20
"""Bytes read at a time when a file is compared."""

_HASHED_BYTES = 1 << 18
"""Bytes read at a time when a file is hashed, as in hashlib itself."""

_FLAGS = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_NOCTTY", "O_BINARY"))

NOT_REGULAR = "Not a regular file (pipe, device or similar)"
"""Why a file that is not a regular file is not read."""


def open_regular(path: Path) -> IO[bytes]:
    """Open a regular file for reading, without waiting.

    A pipe, whose writer would be waited for, a device, or a link to one is refused.

    Raises:
        OSError: It cannot be opened, or is not a regular file.
    """
    descriptor = os.open(path, _FLAGS)
    try:
        kind = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(kind):
            is_folder = stat.S_ISDIR(kind)
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR)) if is_folder else OSError(errno.ENOTSUP, NOT_REGULAR)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_bytes(path: Path, limit: int) -> bytes:
    """Read a whole file.

    Args:
        path: The file.
        limit: Largest allowed size, in bytes.

    Raises:
        ArtifactError: It cannot be read, or is larger than allowed.
    """
    try:
        with open_regular(path) as stream:
            size = os.fstat(stream.fileno()).st_size
            data = _read(stream, min(size, limit) + 1)  # Python allocates as much as is requested
            if len(data) > size:  # it has grown, or reports no size
                data += _read(stream, max(0, limit + 1 - len(data)))
    except OSError as error:
        raise ArtifactError(f"Cannot read '{path}': {error.strerror}.") from error
    if len(data) > limit:
        raise ArtifactError(f"'{path}' is larger than the {limit:,} bytes allowed.")
    return data


def _read(stream: IO[bytes], count: int) -> bytes:
    """Read ``count`` bytes or up to the end; raise where a file of the system would wait for more data (/proc/kmsg)."""
    data = cast("bytes | None", stream.read(count))
    if data is None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return data


def digest(path: Path, algorithm: str) -> str:
    """Return the hash of a weights file's content, in hexadecimal digits.

    Raises:
        WeightsError: It cannot be read.
    """
    try:
        with open_regular(path) as stream:
            found = hashlib.new(algorithm, usedforsecurity=False)
            while block := _read(stream, _HASHED_BYTES):
                found.update(block)
            return found.hexdigest()
    except OSError as error:
        raise WeightsError(f"Cannot read the weights '{path}': {error.strerror}.") from error


def file_holds(path: Path, content: bytes) -> bool:
    """Return whether a file exists, can be read and holds exactly this content."""
    try:
        with open_regular(path) as stream:
            return holds(stream, (content,))
    except OSError:
        return False


def holds(stream: IO[bytes], chunks: Sequence[bytes]) -> bool:
    """Return whether a file holds exactly these chunks."""
    blocks = (chunk[at : at + _BLOCK_BYTES] for chunk in chunks for at in range(0, len(chunk), _BLOCK_BYTES))
    return all(stream.read(len(block)) == block for block in blocks) and not stream.read(1)
