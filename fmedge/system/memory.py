"""Check how much memory is available before it is needed."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    resource = None

from fmedge.errors import LimitExceeded
from fmedge.system.cgroup import memory_limits, text_of

_MEMINFO = Path("/proc/meminfo")
_STATM = Path("/proc/self/statm")
"""Its first number is the size of the process' address space, in pages."""

_STATUS = Path("/proc/self/status")


def available_bytes() -> int | None:
    """Return the available memory in bytes: without swapping, within the limits on the process and its control groups.

    None where the system does not report it (Linux does).
    """
    found = [size for size in (_free(), _left(), memory_limits().left_bytes) if size is not None]
    return min(found, default=None)


def _left() -> int | None:
    if resource is None or not _STATM.is_file():
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return None
    return max(0, limit - int(_STATM.read_text().split()[0]) * resource.getpagesize())


def _free() -> int | None:
    return _meminfo("MemAvailable")


def _meminfo(wanted: str) -> int | None:
    for line in text_of(_MEMINFO).splitlines():
        name, _, rest = line.partition(":")
        if name == wanted:
            return int(rest.split()[0]) * 1024
    return None


def peak_bytes() -> int | None:
    """Return the most memory that this process has held so far, in bytes; None where the system does not report it.

    On Linux it comes from /proc, because the peak of ``getrusage`` is never below that of the parent process.
    """
    if _STATUS.is_file():
        for line in _STATUS.read_text().splitlines():
            name, _, rest = line.partition(":")
            if name == "VmHWM":
                return int(rest.split()[0]) * 1024
    if resource is None:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS, which gets here


def total_bytes() -> int | None:
    """Return the machine's memory in bytes, or less where a control group allows less; None if neither is reported."""
    found = [size for size in (_meminfo("MemTotal"), memory_limits().limit_bytes) if size is not None]
    return min(found, default=None)


def require_memory(what: str, wanted: int) -> None:
    """Check that there is memory for something large.

    Args:
        what: What needs it, for the message.
        wanted: How much, in bytes.

    Raises:
        LimitExceeded: There is less.
    """
    if not _is_there(wanted):
        raise LimitExceeded(
            f"{what} needs about {_in_words(wanted)} of memory; {_in_words(available_bytes() or 0)} is free. "
            "Give fewer or smaller images."
        )


@dataclass(slots=True)
class _Reserved:
    """Memory that threads of this process are about to allocate, in bytes."""

    size: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)


_reserved = _Reserved()

_LARGE = 1 << 28
"""Bytes (those of 67 megapixels) above which reserved memory, once freed, is returned to the system at once, before
another thread allocates as much. That takes a few milliseconds."""


@contextlib.contextmanager
def reserved_memory(what: str, wanted: int, most: float = float("inf")) -> Generator[None]:
    """Reserve memory for something large; threads take turns where there is not enough for all of them at once.

    Args:
        what: What needs it, for the message.
        wanted: How much, in bytes.
        most: Limit on what all threads reserve together, in bytes, however much is available; a single thread may
            exceed it.

    Raises:
        LimitExceeded: There is less, although no other thread has any reserved.
    """
    reserved = _reserved
    with reserved.changed:
        while reserved.size and (wanted + reserved.size > most or not _is_there(wanted + reserved.size)):
            reserved.changed.wait()
        require_memory(what, wanted)
        reserved.size += wanted
    try:
        yield
    finally:
        if wanted > _LARGE:
            _return_freed()
        with reserved.changed:
            reserved.size -= wanted
            reserved.changed.notify_all()


def _forget_reserved() -> None:
    global _reserved
    _reserved = _Reserved()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_reserved)


def _is_there(size: int) -> bool:
    available = available_bytes()
    if available is None or size <= available:
        return True
    _return_freed()
    return size <= (available_bytes() or 0)


def _return_freed() -> None:
    """Make glibc return the freed memory that it keeps per thread, which other threads cannot use."""
    with contextlib.suppress(ImportError, OSError, AttributeError, TypeError):  # other C library or system
        import ctypes  # only where memory is short

        ctypes.CDLL(None).malloc_trim(0)


def _in_words(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"
