"""What is known of the machine."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

from fmedge.system.cgroup import group_limits
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
"""Abilities that decide how fast a convolution can be, as Linux spells them; Arm's ``asimd`` is NEON, ``asimddp`` its
dot product, ``asimdhp`` its float16."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine.

    Attributes:
        system: Operating system and its version.
        architecture: Such as ``x86_64`` or ``aarch64``.
        processor: The board's name where it says one, else the processor's.
        memory_bytes: Memory that is free; None where the system does not say.
        python: Version of Python.
        flags: What the processor can do that matters here.
        cores: CPU cores that this process may use.
        affinity: Their numbers; None where the system does not say.
        total_memory_bytes: Memory that the machine has, or less where a control group (a container) allows less; None
            where the system does not say.
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
        """Such as ``8 cores``, with the control group's quota where there is one."""
        quota = "" if self.cpu_quota is None else f", of them {self.cpu_quota:g} by quota"
        return f"{plural(self.cores, 'core')}{quota}"

    @property
    def hardware(self) -> tuple[object, ...]:
        """What makes two measurements of two machines: processor, its abilities, cores and their quota."""
        return self.architecture, self.processor, self.flags, self.cores, self.cpu_quota


@dataclass(frozen=True, slots=True)
class Clocks:
    """How fast the cores that may be used are run at a moment.

    Attributes:
        governors: Linux' rule for their clock, per core; None where the system does not say.
        megahertz: Their clock, per core; None where the system does not say.
    """

    governors: tuple[str, ...] | None
    megahertz: tuple[float, ...] | None


def this_machine() -> Machine:
    """The machine that this runs on."""
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
        cpu_quota=group_limits().cpus,
    )


def read_clocks() -> Clocks:
    """Governor and clock of every core that may be used, as /sys says; virtual machines mostly say nothing."""
    cores = _affinity() or ()
    governors = [_setting(core, "scaling_governor") for core in cores]
    kilohertz = [_setting(core, "scaling_cur_freq") for core in cores]
    return Clocks(
        tuple(word for word in governors if word) if cores and all(governors) else None,
        tuple(int(word) / 1000 for word in kilohertz if word) if cores and all(kilohertz) else None,
    )


def busy_seconds() -> float | None:
    """CPU time that all processes of the machine have taken since it started, and that others took from a virtual one.

    None where the system does not say (it does on Linux, in steps of a hundredth of a second).
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
    except OSError:  # not there, or not for us
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
