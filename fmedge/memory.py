"""How much memory there is, asked before it is needed."""

from __future__ import annotations

from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    resource = None

from fmedge.errors import LimitExceeded
from fmedge.vgg16 import find_layer, layers_through

_FLOAT_BYTES = 4
_ARRAYS = 3
"""Arrays of a layer's size that an engine holds at once: what it reads, what it writes, and what is reordered."""

_MEMINFO = Path("/proc/meminfo")
_STATM = Path("/proc/self/statm")
"""Its first number is the process' address space, in pages."""

_STATUS = Path("/proc/self/status")

_CGROUPS = (
    (Path("/sys/fs/cgroup"), "memory.max", "memory.current"),
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.usage_in_bytes"),
)
"""Where a container (``docker -m``) finds what it may have and what it has, by the version of control groups: 2, and 1.
What it has counts the files that were read; of those the system gives back what is not in use (``inactive_file``)."""


def available_bytes() -> int | None:
    """Memory that can be had, in bytes: without swapping, within the limits on process and container.

    None where the system does not say (it does on Linux).
    """
    found = [size for size in (_free(), _left(), _granted()) if size is not None]
    return min(found, default=None)


def _left() -> int | None:
    if resource is None or not _STATM.is_file():
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return None
    return max(0, limit - int(_STATM.read_text().split()[0]) * resource.getpagesize())


def _granted() -> int | None:
    for folder, limit, used in _CGROUPS:
        try:
            left = int((folder / limit).read_text()) - int((folder / used).read_text())
            kept = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            return max(0, left + int(kept.get("inactive_file", 0)))
        except (OSError, ValueError):  # another version, no container, no limit ("max")
            continue
    return None


def _free() -> int | None:
    return _meminfo("MemAvailable")


def _meminfo(wanted: str) -> int | None:
    if not _MEMINFO.is_file():
        return None
    for line in _MEMINFO.read_text().splitlines():
        name, _, rest = line.partition(":")
        if name == wanted:
            return int(rest.split()[0]) * 1024
    return None


def peak_bytes() -> int | None:
    """The most memory that this process has held so far, in bytes; None where the system does not say.

    On Linux out of /proc: what ``getrusage`` calls the peak is not less than that of the process that started this one.
    """
    if _STATUS.is_file():
        for line in _STATUS.read_text().splitlines():
            name, _, rest = line.partition(":")
            if name == "VmHWM":
                return int(rest.split()[0]) * 1024
    if resource is None:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS, where this is reached


def total_bytes() -> int | None:
    """Memory that the machine has, in bytes; None where the system does not say."""
    return _meminfo("MemTotal")


def vgg16_bytes(deepest: str, images: int, height: int, width: int) -> int:
    """Memory for the values of the largest layer on the way to a tap of VGG16, for so many images of that size."""
    largest = max(tap_bytes(spec.name, images, height, width) for spec in layers_through(deepest))
    return largest * _ARRAYS


def weight_bytes(deepest: str) -> int:
    """Memory for the weights of VGG16 down to a layer."""
    return sum(spec.parameters for spec in layers_through(deepest)) * _FLOAT_BYTES


def tap_bytes(layer: str, images: int, height: int, width: int) -> int:
    """Memory for the maps of a layer of VGG16, for so many images of that size."""
    channels, rows, columns = find_layer(layer).output_shape(height, width)
    return images * channels * rows * columns * _FLOAT_BYTES


def require_memory(what: str, wanted: int) -> None:
    """Check that there is memory for something large.

    Args:
        what: What needs it, for the message.
        wanted: How much, in bytes.

    Raises:
        LimitExceeded: There is less.
    """
    available = available_bytes()
    if available is not None and wanted > available:
        raise LimitExceeded(
            f"{what} needs about {_in_words(wanted)} of memory, {_in_words(available)} are free. "
            "Give fewer or smaller images."
        )


def _in_words(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"
