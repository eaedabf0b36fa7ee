"""Read what the control groups of this process allow: CPU time and memory, as containers and services are given them.

Only Linux has them, in two versions (the kernel's ``Documentation/admin-guide/cgroup-v2.rst`` and ``cgroup-v1/``).
Groups are nested and each may have its own limits, so the smallest limit from the group up to the root counts.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_UNLIMITED_BYTES = 1 << 60
"""Version 1 writes "no limit" as the largest multiple of a page that fits into 63 bits."""

_MEMORY_FILES = {True: ("memory.max", "memory.current"), False: ("memory.limit_in_bytes", "memory.usage_in_bytes")}
"""The files of a group's limit and of what is used of it, for version 2 and version 1."""


_BLOCK_BYTES = 1 << 14


class MemoryLimits(NamedTuple):
    """What the control groups of this process leave it of memory.

    Attributes:
        limit_bytes: Memory that may be used; None where there is no limit.
        left_bytes: What is left of it; cached files that are not in use count as free.
    """

    limit_bytes: int | None = None
    left_bytes: int | None = None


class _Group(NamedTuple):
    """The folder of a group that may limit this process."""

    folder: str
    is_v2: bool


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Return the CPU seconds that may be used per second; None where there is no quota.

    Args:
        root: Directory that contains ``proc`` and the mounted groups.
    """
    quotas = [quota for group in _groups_of(root, "cpu") if (quota := _cpus(group)) is not None]
    return min(quotas, default=None)


def memory_limits(root: Path = Path("/")) -> MemoryLimits:
    """Return the limits on memory.

    Args:
        root: Directory that contains ``proc`` and the mounted groups.
    """
    pairs = [pair for group in _groups_of(root, "memory") if (pair := _memory(group)) is not None]
    smallest = [min(sizes) for sizes in zip(*pairs, strict=True)]
    return MemoryLimits(*smallest)


def _groups_of(root: Path, controller: str) -> tuple[_Group, ...]:
    """Return the groups in which a controller may limit this process; the innermost of each tree comes first."""
    return _groups(root, controller, text_of(root / "proc/self/cgroup"))


@functools.lru_cache(maxsize=8)
def _groups(root: Path, controller: str, memberships: str) -> tuple[_Group, ...]:
    """Look the groups up once for each content of ``/proc/self/cgroup``, which names those that the process is in."""
    return tuple(
        _Group(str(folder), is_v2)
        for mount, top, is_v2, names in _mounts(root)
        if is_v2 or controller in names
        if (path := _path(memberships, controller, is_v2=is_v2)) is not None
        for folder in _up(mount, os.path.relpath(path, top))
    )


def _up(mount: Path, inside: str) -> Iterator[Path]:
    folder = mount if inside.startswith("..") else mount / inside  # containers may hide the path to their group
    while folder != mount:
        yield folder
        folder = folder.parent
    yield mount


def _mounts(root: Path) -> Iterator[tuple[Path, str, bool, list[str]]]:
    """Yield each mounted tree of groups: mount point, top group, whether it is version 2, controllers of version 1."""
    for line in text_of(root / "proc/self/mountinfo").splitlines():
        place, _, kind = line.partition(" - ")
        fields, (name, *rest) = place.split(), kind.split() or [""]
        if name in ("cgroup", "cgroup2") and len(fields) > 4:
            mount = fields[4].encode().decode("unicode_escape")  # a space is written as \040
            yield root / mount.lstrip("/"), fields[3], name == "cgroup2", rest[-1].split(",") if rest else []


def _path(memberships: str, controller: str, *, is_v2: bool) -> str | None:
    """Return the path of this process' group in the tree of a controller."""
    for line in memberships.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if (is_v2 and number == "0" and not controllers) or (not is_v2 and controller in controllers.split(",")):
            return path
    return None


def _cpus(group: _Group) -> float | None:
    if group.is_v2:
        words = text_of(f"{group.folder}/cpu.max").split()
    else:
        words = [text_of(f"{group.folder}/{name}").strip() for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")]
    quota, period = (_number(word) for word in words) if len(words) == 2 else (None, None)
    return quota / period if quota and period else None


def _memory(group: _Group) -> tuple[int, int] | None:
    """Return the limit and what is left of it, in bytes."""
    limit_name, used_name = _MEMORY_FILES[group.is_v2]
    limit = _number(text_of(f"{group.folder}/{limit_name}").strip())
    if limit is None or limit >= _UNLIMITED_BYTES:
        return None
    used = _number(text_of(f"{group.folder}/{used_name}").strip())
    if used is None:
        return None
    lines = text_of(f"{group.folder}/memory.stat").splitlines()
    kept = {name: count for name, _, count in (line.partition(" ") for line in lines)}
    idle = _number(kept.get("total_inactive_file") or kept.get("inactive_file", "")) or 0
    return limit, max(0, limit - used + idle)


def _number(word: str) -> int | None:
    """Return a count; None for ``max``, ``-1`` and anything that is not a number."""
    return int(word) if word.isascii() and word.isdigit() else None


def text_of(path: Path | str) -> str:
    """Return a small file's text, in a third of the time of ``Path.read_text``: it is asked for at every image."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:  # other system or version, or no permission
        return ""
    try:
        return b"".join(iter(lambda: os.read(descriptor, _BLOCK_BYTES), b"")).decode(errors="replace")
    except OSError:
        return ""
    finally:
        os.close(descriptor)
