"""Describe the machine: system, processor, cores, memory, clocks."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

from fmedge.system.cgroup import cpu_quota
from fmedge.system.memory import available_bytes, total_bytes
from fmedge.system.processor import cpuinfo, processor_features
from fmedge.system.wording import plural

_BOARD = Path("/proc/device-tree/model")
_CPUS = Path("/sys/devices/system/cpu")
_STAT = Path("/proc/stat")

_FLAGS = (
    *("avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16"),
    *("neon", "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2"),
)
"""Features that decide how fast a convolution can be, as Linux spells them. On Arm, ``asimd`` is NEON, ``asimddp`` its
dot product, ``asimdhp`` its float16."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine.

    Attributes:
        system: Operating system and its version.
        architecture: Such as ``x86_64`` or ``aarch64``.
        processor: The board's name where the system reports one, otherwise the processor's.
        memory_bytes: Free memory; None where the system does not report it.
        python: Version of Python.
        flags: Processor features that matter here.
        cores: CPU cores that this process may use.
        affinity: Their numbers; None where the system does not report them.
        total_memory_bytes: Memory of the machine, or less where a control group (a container) allows less; None where
            the system does not report it.
        cpu_quota: CPU seconds per second that a control group allows; None where there is no such limit.
    """

    system: str
    architecture: str
    processor: str
    memory_bytes: int | None
    python: str
    flags: tuple[str, ...] = ()
    cores: int = 1
    affinity: tuple[int, ...] | None = None
    total_memory_bytes: int | None = None
    cpu_quota: float | None = None

    @property
    def cores_in_words(self) -> str:
        """The cores in words, such as ``8 cores``, with the control group's quota where there is one."""
        quota = "" if self.cpu_quota is None else f", limited to {self.cpu_quota:g} by quota"
        return f"{plural(self.cores, 'core')}{quota}"

    @property
    def hardware(self) -> tuple[object, ...]:
        """What tells apart the machines of two measurements: architecture, processor, features, cores and quota."""
        return self.architecture, self.processor, self.flags, self.cores, self.cpu_quota


@dataclass(frozen=True, slots=True)
class Clocks:
    """How fast the usable cores are clocked at a moment.

    Attributes:
        governors: Linux' rule for the clock of each core; None where the system does not report it.
        megahertz: Clock of each core; None where the system does not report it.
    """

    governors: tuple[str, ...] | None
    megahertz: tuple[float, ...] | None


def this_machine() -> Machine:
    """Return a description of the machine that this runs on."""
    affinity = _affinity()
    return Machine(
        system=f"{platform.system()} {platform.release()}",
        architecture=platform.machine(),
        processor=_processor(),
        memory_bytes=available_bytes(),
        python=platform.python_version(),
        flags=_flags(),
        cores=len(affinity) if affinity else os.cpu_count() or 1,
        affinity=affinity,
        total_memory_bytes=total_bytes(),
        cpu_quota=cpu_quota(),
    )


def read_clocks() -> Clocks:
    """Read the governor and clock of every usable core from /sys; most virtual machines report neither."""
    cores = _affinity() or ()
    governors = [_setting(core, "scaling_governor") for core in cores]
    kilohertz = [_setting(core, "scaling_cur_freq") for core in cores]
    return Clocks(
        tuple(word for word in governors if word) if cores and all(governors) else None,
        tuple(int(word) / 1000 for word in kilohertz if word) if cores and all(kilohertz) else None,
    )


def busy_seconds() -> float | None:
    """Return the CPU time used since the machine started: by all of its processes, and stolen from a virtual machine.

    None where the system does not report it. Linux does, in steps of a hundredth of a second.
    """
    try:
        fields = _STAT.read_text().partition("\n")[0].split()[1:9]
    except OSError:
        return None
    user, nice, system, _, _, irq, soft_irq, steal = map(int, fields)
    return (user + nice + system + irq + soft_irq + steal) / os.sysconf("SC_CLK_TCK")


def _setting(core: int, name: str) -> str | None:
    try:
        return (_CPUS / f"cpu{core}" / "cpufreq" / name).read_text().strip()
    except OSError:  # missing, or no permission
        return None


def _affinity() -> tuple[int, ...] | None:
    return tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else None


def _processor() -> str:
    if _BOARD.is_file():
        return _BOARD.read_text(errors="replace").strip("\0\n ")
    return cpuinfo("model name") or platform.processor() or platform.machine()


def _flags() -> tuple[str, ...]:
    found = processor_features()
    return tuple(flag for flag in _FLAGS if flag in found)
