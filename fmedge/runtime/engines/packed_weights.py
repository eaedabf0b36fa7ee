"""Packed weights of fmedge's own kernels: kept on disk, mapped, and so shared by all sessions and processes."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fmedge.errors import WriteError
from fmedge.system.files import replacing
from fmedge.system.log import log
from fmedge.system.user_folders import user_folder

Bytes = npt.NDArray[np.uint8]

LEAST_BYTES = 16 << 20
"""Packed weights below this size are not kept: packing them takes less than 10 ms. At full depth of VGG16 it takes 75
ms, and mapping and checking them 21 (2 cores of a Zen 5, November 2026)."""

MOST_BYTES = 1 << 30
"""Most bytes of all that is kept; what has not been used for the longest time is removed first."""

_SPARE = 10
"""Nothing is kept where the disk has less free space than this many times its size."""

_IN_MEMORY = 0.9
"""Least part of a kept file that has to be in memory already: reading all of it from a slow disk, such as a board's SD
card, takes longer than packing the weights, which are a third of it."""


def find(name: str, size: int) -> Bytes | None:
    """Map kept packed weights.

    Args:
        name: Name of the file.
        size: The size that they must have.

    Returns:
        Their bytes, read-only; None where they are missing, unusable or not in memory. In the last case the system is
        asked to read them, so that the next run finds them there.
    """
    path = _path(name)
    if path is None:
        return None
    try:
        with path.open("rb") as stream:
            if os.fstat(stream.fileno()).st_size != size:
                return None
            mapped = mmap.mmap(stream.fileno(), size, access=mmap.ACCESS_READ)
            content = np.frombuffer(mapped, np.uint8)
            if _part_in_memory(content) < _IN_MEMORY:
                os.posix_fadvise(stream.fileno(), 0, size, os.POSIX_FADV_WILLNEED)
                return None
        os.utime(path)
    except (OSError, ValueError):
        return None
    return content


def new(size: int) -> Bytes:
    """Return memory for packed weights, on large pages where the system has them.

    Raises:
        MemoryError: There is none.
    """
    try:
        memory = mmap.mmap(-1, size)
    except OSError as error:
        raise MemoryError from error
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without them
            memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, np.uint8)


def keep(name: str, content: Bytes) -> None:
    """Keep packed weights for later runs where that is possible; where not, nothing happens."""
    path = _path(name)
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(path.parent).free < _SPARE * content.size:
            return
        with replacing(path, lambda _: True) as stream:  # every session checks the digest in them
            stream.write(content.data)
        _make_room(path)
    except (OSError, WriteError) as error:
        log.info("Packed weights are not kept: %s", error)


def _path(name: str) -> Path | None:
    """Return where packed weights are kept; None in a process without a home, such as one for another's model."""
    if "HOME" not in os.environ or not hasattr(os, "posix_fadvise"):
        return None
    return user_folder("cache") / "packed" / name


def _make_room(newest: Path) -> None:
    with os.scandir(newest.parent) as entries:
        found = sorted(((entry.stat().st_mtime, entry.stat().st_size, entry.path) for entry in entries), reverse=True)
    total = newest.stat().st_size
    for _, size, path in found:
        if path != str(newest):
            total += size
            if total > MOST_BYTES:
                with contextlib.suppress(OSError):  # another process was first
                    Path(path).unlink()


def _part_in_memory(content: Bytes) -> float:
    """Return which part of a mapped file's pages is in memory."""
    pages = np.zeros(-(-content.size // mmap.PAGESIZE), np.uint8)
    address, size, found = map(ctypes.c_void_p, (content.ctypes.data, content.size, pages.ctypes.data))
    if ctypes.CDLL(None, use_errno=True).mincore(address, size, found) != 0:
        raise OSError(ctypes.get_errno(), "mincore")
    return float(np.mean(pages & 1))
