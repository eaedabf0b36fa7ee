"""Read what the control groups of this process allow: CPU time and memory, as containers and services are given them.

Only Linux has them, in two versions (the kernel's ``Documentation/admin-guide/cgroup-v2.rst`` and ``cgroup-v1/``).
Groups are nested and each may have its own limits, so the smallest limit from the group up to the root counts.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_UNLIMITED_BYTES = 1 << 60
"""Version 1 writes "no limit" as the largest multiple of a page that fits into 63 bits."""


@dataclass(frozen=True, slots=True)
class GroupLimits:
    """Limits of the control groups that this process is in.

    Attributes:
        cpus: CPU seconds that may be used per second; None where there is no quota.
        memory_bytes: Memory that may be used; None where there is no limit.
        memory_left_bytes: What is left of it; cached files that are not in use count as free.
    """

    cpus: float | None = None
    memory_bytes: int | None = None
    memory_left_bytes: int | None = None


def group_limits(root: Path = Path("/")) -> GroupLimits:
    """Read the limits; all are None where the system has no control groups.

    Args:
        root: Directory that contains ``proc`` and the mounted groups.
    """
    cpus = [_cpus(folder) for folder in _folders(root, "cpu")]
    memory = [pair for folder in _folders(root, "memory") if (pair := _memory(folder)) is not None]
    return GroupLimits(
        min((quota for quota in cpus if quota is not None), default=None),
        min((limit for limit, _ in memory), default=None),
        min((left for _, left in memory), default=None),
    )


def _folders(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of the groups in which a controller may limit this process, the innermost first."""
    for mount, top, is_v2, names in _mounts(root):
        group = _group(root, controller, is_v2=is_v2)
        if group is None or not (is_v2 or controller in names):
            continue
        inside = os.path.relpath(group, top)
        folder = mount if inside.startswith("..") else mount / inside  # containers may hide the path to their group
        while True:
            yield folder
            if folder == mount:
                break
            folder = folder.parent


def _mounts(root: Path) -> Iterator[tuple[Path, str, bool, list[str]]]:
    """Yield each mounted tree of groups: mount point, top group, whether it is version 2, controllers of version 1."""
    for line in _lines(root / "proc/self/mountinfo"):
        place, _, kind = line.partition(" - ")
        fields, (name, *rest) = place.split(), kind.split() or [""]
        if name in ("cgroup", "cgroup2") and len(fields) > 4:
            mount = fields[4].encode().decode("unicode_escape")  # a space is written as \040
            yield root / mount.lstrip("/"), fields[3], name == "cgroup2", rest[-1].split(",") if rest else []


def _group(root: Path, controller: str, *, is_v2: bool) -> str | None:
    """Return the path of this process' group in the tree of a controller."""
    for line in _lines(root / "proc/self/cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if (is_v2 and number == "0" and not controllers) or (not is_v2 and controller in controllers.split(",")):
            return path
    return None


def _cpus(folder: Path) -> float | None:
    words = _first(folder / "cpu.max").split() or [
        _first(folder / "cpu.cfs_quota_us"),
        _first(folder / "cpu.cfs_period_us"),
    ]
    quota, period = (_number(word) for word in words) if len(words) == 2 else (None, None)
    return quota / period if quota and period else None


def _memory(folder: Path) -> tuple[int, int] | None:
    """Return the limit and what is left of it, in bytes."""
    for limit_name, used_name in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
        limit, used = _number(_first(folder / limit_name)), _number(_first(folder / used_name))
        if limit is not None and limit < _UNLIMITED_BYTES and used is not None:
            kept = {name: count for name, _, count in (line.partition(" ") for line in _lines(folder / "memory.stat"))}
            idle = _number(kept.get("total_inactive_file") or kept.get("inactive_file", "")) or 0
            return limit, max(0, limit - used + idle)
    return None


def _number(word: str) -> int | None:
    """Return a count; None for ``max``, ``-1`` and anything that is not a number."""
    return int(word) if word.isascii() and word.isdigit() else None


def _first(path: Path) -> str:
    return next(iter(_lines(path)), "")


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:  # other system or version, or no permission
        return []
