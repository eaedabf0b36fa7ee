"""What is known of the machine."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

from fmedge.memory import available_bytes

_BOARD = Path("/proc/device-tree/model")
_CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine.

    Attributes:
        system: Operating system and its version.
        architecture: Such as ``x86_64`` or ``aarch64``.
        processor: The board's name where it says one, else the processor's.
        memory_bytes: Memory that is free; None where the system does not say.
        python: Version of Python.
    """

    system: str
    architecture: str
    processor: str
    memory_bytes: int | None
    python: str


def this_machine() -> Machine:
    """The machine that this runs on."""
    return Machine(
        system=f"{platform.system()} {platform.release()}",
        architecture=platform.machine(),
        processor=_processor(),
        memory_bytes=available_bytes(),
        python=platform.python_version(),
    )


def processor_features() -> frozenset[str]:
    """What the processor says that it can do, in the kernel's words, such as ``avx2`` or ``atomics``.

    Empty where the system does not say (it does on Linux).
    """
    if _CPUINFO.is_file():
        for line in _CPUINFO.read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("flags", "Features"):
                return frozenset(value.split())
    return frozenset()


def _processor() -> str:
    if _BOARD.is_file():
        return _BOARD.read_text(errors="replace").strip("\0\n ")
    if _CPUINFO.is_file():
        for line in _CPUINFO.read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
