"""Which cores are big and which are little, and the governors of their clocks.

Files are those of Documentation/ABI/testing/sysfs-devices-system-cpu and Documentation/admin-guide/pm/cpufreq.rst.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from fmedge.errors import UsageError, WriteError, closest
from fmedge.system.sensors.host import Host
from fmedge.system.wording import plural

Side = Literal["big", "little", "all"]
"""Which cores: the fastest kind, the slowest kind, or every one."""

SIDES: tuple[Side, ...] = get_args(Side)

_CPUS = "sys/devices/system/cpu"

_CLOSE = 0.05
"""Cores whose measures differ by no more than this share are of one kind: favoured cores of Intel's and AMD's
processors may be clocked a little higher than their equals."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Cores of one kind.

    Attributes:
        cpus: Their numbers, in order.
        capacity: Relative speed by the kernel: 1024 for the fastest; None where it does not say.
        max_mhz: Highest clock, in megahertz; None where the system does not report it.
    """

    cpus: tuple[int, ...]
    capacity: float | None
    max_mhz: float | None


def find_clusters(host: Host | None = None) -> tuple[Cluster, ...]:
    """Return the kinds of cores that are switched on, the fastest first; one where they are all alike.

    They are told apart by ``cpu_capacity`` where it differs, and otherwise by the highest clock.
    """
    host = host or Host()
    cores = [
        Cluster(
            (int(path.name[3:]),),
            host.number(path / "cpu_capacity"),
            None if (kilohertz := host.number(path / "cpufreq/cpuinfo_max_freq")) is None else kilohertz / 1e3,
        )
        for path in host.paths(f"{_CPUS}/cpu[0-9]*")
        if path.name[3:].isdigit() and host.text(path / "online") in (None, "1")
    ]
    by_capacity = len({core.capacity for core in cores}) > 1
    found: list[Cluster] = []
    for core in sorted(cores, key=lambda core: (-_speed(core, by_capacity=by_capacity), core.cpus)):
        if found and _speed(core, by_capacity=by_capacity) >= (1 - _CLOSE) * _speed(found[-1], by_capacity=by_capacity):
            last = found[-1]
            found[-1] = Cluster(tuple(sorted((*last.cpus, *core.cpus))), last.capacity, last.max_mhz)
        else:
            found.append(core)
    return tuple(found)


def _speed(core: Cluster, *, by_capacity: bool) -> float:
    return (core.capacity if by_capacity else core.max_mhz) or 0.0


def choose_cpus(side: Side, host: Host | None = None) -> tuple[int, ...]:
    """Return the numbers of the cores of a side, in order; of this machine only those that this process may use.

    Raises:
        UsageError: The cores of this machine are all alike, or the system does not tell them apart.
    """
    clusters = find_clusters(host)
    if host is None and hasattr(os, "sched_getaffinity"):
        clusters = _allowed(clusters, os.sched_getaffinity(0))
    if side == "all":
        return tuple(sorted(cpu for cluster in clusters for cpu in cluster.cpus))
    if len(clusters) < 2:
        raise UsageError(
            f"cpus {side}: the cores of this machine are all alike, as far as the system tells.",
            hint="Leave out --cpus, or give numbers: --cpus 0,1.",
            flags=("--cpus",),
        )
    return clusters[0 if side == "big" else -1].cpus


def _allowed(clusters: Sequence[Cluster], cpus: set[int]) -> tuple[Cluster, ...]:
    found = (replace(each, cpus=tuple(cpu for cpu in each.cpus if cpu in cpus)) for each in clusters)
    return tuple(each for each in found if each.cpus)


def describe_clusters(clusters: Sequence[Cluster]) -> str:
    """Return the kinds of cores in words: ``4 big cores (4-7, 2400 MHz), 4 little cores (0-3, 1800 MHz)``."""
    if len(clusters) < 2:
        return ""
    names = ["big", *["middle"] * (len(clusters) - 2), "little"]
    return ", ".join(
        f"{plural(len(each.cpus), f'{name} core')} ({', '.join(_facts(each))})"
        for name, each in zip(names, clusters, strict=True)
    )


def _facts(cluster: Cluster) -> list[str]:
    clock = [] if cluster.max_mhz is None else [f"{cluster.max_mhz:.0f} MHz"]
    return [ranges(cluster.cpus), *clock]


def ranges(numbers: Sequence[int]) -> str:
    """Return numbers in order, with consecutive ones as a range: ``0-3, 6``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return ", ".join("-".join(map(str, run)) for run in runs)


_former: dict[Path, str] = {}
"""Governors to restore, by the file that they are written to."""


@contextlib.contextmanager
def governor_set(name: str, host: Host | None = None) -> Generator[None]:
    """Set the governor of every core's clock; each gets its own back at the end, also after SIGINT and SIGTERM.

    Raises:
        UsageError: There is no such governor, or the system has none.
        WriteError: This user may not set it.
    """
    host = host or Host()
    folders = host.paths(f"{_CPUS}/cpufreq/policy*")
    if not folders:
        raise UsageError(
            "governor: this system does not let programs choose a governor.",
            hint="Leave out --governor.",
            flags=("--governor",),
        )
    for folder in folders:
        known = (host.text(folder / "scaling_available_governors") or "").split()
        if name not in known:
            raise UsageError(
                f"Unknown governor '{name}'.{closest(name, known)} Allowed: {', '.join(known) or 'none'}.",
                hint="Leave out --governor.",
            )
    try:
        for folder in folders:
            path = host.root / folder / "scaling_governor"
            before = host.text(folder / "scaling_governor")
            if before is not None and before != name:
                _former[path] = before
                _write(path, name)
        yield
    finally:
        end_all()


def end_all() -> None:
    """Restore the governors that were changed; it may be called twice, and from another thread."""
    for path in list(_former):
        before = _former.pop(path, None)
        if before is not None:
            with contextlib.suppress(WriteError):
                _write(path, before)


def _write(path: Path, name: str) -> None:
    try:
        with path.open("w") as stream:
            stream.write(name)
    except OSError as error:
        raise WriteError(
            f"Cannot set the governor in '{path}': {error.strerror}.",
            hint="It takes root: sudo, or leave out --governor.",
        ) from error
