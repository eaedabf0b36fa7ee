"""Find out what a board is before anything is put on it; what it says of itself is data, whatever it holds."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files as resources

from fmedge.boards.ssh import Said
from fmedge.boards.target import LinkLost, Target
from fmedge.errors import BoardUnavailable, printable
from fmedge.system import children

PYTHONS = ("python3.13", "python3.12", "python3.11", "python3")
"""Names under which a Python is looked for, the newest first. What is run is always one of these, or what the user
named: never a path that the board told."""

OLDEST, NEWEST = (3, 11), (3, 13)
"""Versions of Python that fmedge runs on: those of ``pyproject.toml``."""

_MARKER = "fmedge-board-probe"
_MOST_BYTES = 1 << 16
_LONGEST_S = 60.0
_NUMBERS = ("bits", "elf", "time", "memory", "available", "disk", "writable")
_TEXTS = ("machine", "kernel", "glibc", "musl", "model")
_LONGEST = 80
"""Most letters of a text."""

_ELF_BITS = {1: 32, 2: 64}
"""The class in the head of an ELF file (elf(5)): of the shell, which is of the userland, as the kernel may not be."""


@dataclass(frozen=True, slots=True)
class Python:
    """A Python on a board.

    Attributes:
        name: The name that it was found by.
        version: Such as ``(3, 11, 2)``.
        bits: Bits of an address: 32 or 64.
        venv: Whether it has the module ``venv``.
        machine: Processor's architecture, as its ``platform`` says.
        libc: ``glibc`` and its version; empty where it is another.
        implementation: ``cpython``, for example.
        threaded: Whether it is built without the interpreter lock.
    """

    name: str
    version: tuple[int, int, int]
    bits: int
    venv: bool
    machine: str
    libc: str
    libc_version: tuple[int, int]
    implementation: str
    threaded: bool

    @property
    def fits(self) -> bool:
        """Whether fmedge runs on it, as far as its version says."""
        return OLDEST <= self.version[:2] <= NEWEST and self.implementation == "cpython" and not self.threaded


@dataclass(frozen=True, slots=True)
class Facts:
    """What a board is.

    Attributes:
        machine: Architecture of its kernel.
        kernel: Name and version of its kernel.
        model: What its maker calls it; empty where it does not say.
        bits: Bits of its userland: 32 or 64; 0 where it does not say.
        musl: Whether its C library is musl.
        memory_bytes: Its memory; 0 where it does not say.
        available_bytes: What of it is free.
        disk_bytes: Free room where fmedge would be.
        writable: Whether files can be created there.
        clock_offset_s: How far its clock is ahead of ours, in seconds.
        pythons: The Pythons that were found.
    """

    machine: str
    kernel: str
    model: str
    bits: int
    musl: bool
    memory_bytes: int
    available_bytes: int
    disk_bytes: int
    writable: bool
    clock_offset_s: float
    pythons: tuple[Python, ...]

    @property
    def python(self) -> Python | None:
        """The Python that is used: the first that fits."""
        return next((each for each in self.pythons if each.fits), None)


def probe(target: Target, python: str = "") -> Facts:
    """Run a script on a board that looks and changes nothing.

    Args:
        target: The board.
        python: The Python to use there, if the user named one.

    Raises:
        LinkLost: The board cannot be reached.
        BoardUnavailable: It has no POSIX shell, or answers nonsense.
    """
    script = resources("fmedge.boards").joinpath("probe.sh").read_bytes()
    process = target.start(["sh", "-s", "--", *([python] if python else [])])
    said = Said(process)
    try:
        with contextlib.suppress(OSError):
            if process.stdin is not None:
                process.stdin.write(script)
                process.stdin.close()
        content = process.stdout.read(_MOST_BYTES) if process.stdout is not None else b""
        code = process.wait(_LONGEST_S) if len(content) < _MOST_BYTES else 0
    finally:
        children.end(process)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
    failure = target.failure(code, said.text()) if code else None
    if failure is not None:
        raise LinkLost(failure)
    return read_facts(target.name, content.decode(errors="replace"), time.time(), python)


def read_facts(name: str, text: str, now: float, python: str = "") -> Facts:
    """Read what the script printed.

    Args:
        name: The board's name, for messages.
        text: What it printed.
        now: Our time, in seconds since 1970.
        python: The Python that the user named.

    Raises:
        BoardUnavailable: The board did not run the script to its end.
    """
    lines = [line.strip("\r") for line in text.partition(f"\n{_MARKER}\n")[2].split("\n")]
    if "end" not in lines:
        raise BoardUnavailable(
            f"The board '{name}' does not say what it is.", hint="Does a POSIX shell answer there? fmedge needs one."
        )
    told: dict[str, str] = {}
    pythons: list[Python] = []
    for line in lines[: lines.index("end")]:
        key, _, value = line.partition(" ")
        if key == "python":
            pythons += _read_python(value, (*PYTHONS, python))
        else:
            told.setdefault(key, value.strip())
    numbers = {key: int(told[key]) for key in _NUMBERS if re.fullmatch(r"[0-9]{1,15}", told.get(key, ""))}
    texts = {key: printable(told[key])[:_LONGEST] for key in _TEXTS if key in told}
    return Facts(
        machine=texts.get("machine", ""),
        kernel=texts.get("kernel", ""),
        model=texts.get("model", ""),
        bits=_ELF_BITS.get(numbers.get("elf", 0), numbers.get("bits", 0)),
        musl="musl" in texts and "glibc" not in texts,
        memory_bytes=1024 * numbers.get("memory", 0),
        available_bytes=1024 * numbers.get("available", 0),
        disk_bytes=1024 * numbers.get("disk", 0),
        writable="writable" in numbers,
        clock_offset_s=numbers["time"] - now if "time" in numbers else 0.0,
        pythons=tuple(dict.fromkeys(pythons)),
    )


_PYTHON_LINE = re.compile(
    r"(?P<version>\d{1,2}\.\d{1,3}\.\d{1,3}) (?P<bits>32|64) (?P<venv>[01]) (?P<machine>[\w-]{1,32}) "
    r"(?P<libc>[\w-]{1,16}) (?P<level>(?:\d{1,2}\.\d{1,3}|-)\S{0,16}) (?P<kind>\w{1,16}) "
    r"(?P<threaded>[01]) (?P<name>.+)"
)


def _read_python(line: str, allowed: tuple[str, ...]) -> list[Python]:
    """Read a line about a Python; nothing where it is none of those that were asked for."""
    found = _PYTHON_LINE.fullmatch(line)
    if found is None or found["name"] not in allowed or not found["name"]:
        return []
    major, minor, patch = map(int, found["version"].split("."))
    level = re.match(r"(\d+)\.(\d+)", found["level"])
    return [
        Python(
            found["name"],
            (major, minor, patch),
            int(found["bits"]),
            found["venv"] == "1",
            found["machine"],
            found["libc"].replace("-", ""),
            (int(level[1]), int(level[2])) if level else (0, 0),
            found["kind"],
            found["threaded"] == "1",
        )
    ]


def require_fit(name: str, facts: Facts, *, room_bytes: int) -> Python:
    """Return the Python to use on a board.

    Raises:
        BoardUnavailable: fmedge cannot run there.
    """
    for reason, hint in _obstacles(facts, room_bytes):
        raise BoardUnavailable(f"The board '{name}' {reason}.", hint=hint)
    python = facts.python
    assert python is not None  # noqa: S101 - _obstacles found it
    return python


def _obstacles(facts: Facts, room_bytes: int) -> list[tuple[str, str]]:
    """Return why fmedge cannot run on a board, and what to do."""
    found: list[tuple[str, str]] = []
    wide = facts.machine in _WIDE
    if facts.bits == 32:
        where = " on a 64-bit kernel" if wide else ""
        found.append((f"has a 32-bit system{where}; engines have 64-bit packages only", "Install its 64-bit system."))
    if facts.machine and not wide and not found:
        found.append((f"is {facts.machine}; engines have packages for {' and '.join(_WIDE[:2])}", "Use another board."))
    if facts.musl:
        found.append(("has musl as its C library; engines have packages for glibc only", "Use a system with glibc."))
    if not facts.pythons:
        found.append(("has no Python that was found", "Install python3, or name one: --python."))
    elif facts.python is None:
        versions = ", ".join(sorted({".".join(map(str, each.version)) for each in facts.pythons}))
        found.append((f"has Python {versions}; fmedge runs on CPython 3.11 to 3.13", "Install one: --python names it."))
    elif facts.python.bits == 32:
        found.append((f"has a 32-bit Python, {facts.python.name}", "Install a 64-bit one: --python names it."))
    elif not facts.python.venv:
        found.append((f"has {facts.python.name} without its module venv", "Install it, on Debian: python3-venv."))
    if not facts.writable:
        found.append(("does not let files be created in the home folder", "Log in as another user."))
    if 0 < facts.disk_bytes < room_bytes:
        free, need = facts.disk_bytes / 1e6, room_bytes / 1e6
        found.append((f"has {free:,.0f} MB of free disk; {need:,.0f} MB are needed", "Free some disk space there."))
    return found


_WIDE = ("aarch64", "x86_64", "arm64", "amd64")
"""Names of the 64-bit processors that the engines have packages for."""

WRONG_CLOCK_S = 86_400.0
"""A clock that is a day off is wrong: certificates of the network's servers may seem to be invalid then."""


def warnings(facts: Facts) -> Mapping[str, str]:
    """Return what may go wrong on a board, and what to do: texts by a short name."""
    found: dict[str, str] = {}
    if 0 < facts.memory_bytes < 900e6:
        found["memory"] = f"has {facts.memory_bytes / 1e6:,.0f} MB of memory: deep layers may not fit"
    if abs(facts.clock_offset_s) > WRONG_CLOCK_S:
        days = facts.clock_offset_s / 86_400
        found["clock"] = f"has a clock that is {abs(days):,.0f} days {'ahead' if days > 0 else 'behind'}"
    return found
