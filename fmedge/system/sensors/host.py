"""Read the files and tools that sensors are made of; what they say is data of unknown origin and stays that."""

from __future__ import annotations

import math
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fmedge.errors import printable

_LONGEST = 4096
"""Most bytes that are read of a file or a tool: a page, which is the most that a file in /sys holds."""

_MOST_ENTRIES = 256
"""Most files that a pattern may find: servers have about a hundred cores, boards a dozen sensors."""

_TOOL_PATHS = "/usr/bin:/bin:/usr/local/bin:/opt/vc/bin"
"""Where tools are looked for, whatever PATH says; the last was Raspberry Pi OS' place up to 2021."""

_TOOL_S = 2.0
"""Longest time that a tool may take, in seconds; ``vcgencmd`` takes a few milliseconds."""

_FLAGS = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_NOCTTY", "O_BINARY", "O_CLOEXEC"))

_NUMBER = re.compile(r"[+-]?\d{1,20}(\.\d{1,20})?")


@dataclass(frozen=True, slots=True)
class Host:
    """Where sensors are read.

    Attributes:
        root: The folder that ``sys`` and ``proc`` lie in; another one than ``/`` for a recorded machine.
        tools: What tools print, by their command line; None runs the tools.
        nvml: Name of NVIDIA's management library; empty for none.
    """

    root: Path = Path("/")
    tools: Mapping[str, str] | None = None
    nvml: str = "libnvidia-ml.so.1"

    def text(self, path: str | Path) -> str | None:
        """Return a file's text, without surrounding space and control characters; None where it cannot be read."""
        try:
            return clean(_read(os.path.join(self.root, path)))  # noqa: PTH118 - three times as fast, and often called
        except (OSError, ValueError):
            return None

    def number(self, path: str | Path) -> float | None:
        """Return the number that a file holds; None where there is none."""
        return to_number(self.text(path))

    def refusal(self, path: str | Path) -> str:
        """Return why a file cannot be read, in the system's words; empty where it can be."""
        try:
            _read(os.path.join(self.root, path))  # noqa: PTH118
        except OSError as error:
            return error.strerror or type(error).__name__
        return ""

    def paths(self, pattern: str) -> list[Path]:
        """Return what a pattern finds, relative to the root; hwmon10 comes after hwmon9."""
        found: list[Path] = []
        try:
            for path in self.root.glob(pattern):
                found.append(path.relative_to(self.root))
                if len(found) == _MOST_ENTRIES:
                    break
        except OSError:
            return []
        return sorted(found, key=_natural)

    def run(self, *command: str, first_line: bool = False) -> str | None:
        """Return what a tool prints; None where there is none, or it fails.

        Args:
            command: The tool's name, without a folder, and its arguments.
            first_line: Whether the first line is enough, after which the tool is ended.
        """
        if self.tools is not None:
            return self.tools.get(" ".join(command))
        return _run(command, first_line=first_line)


def _read(path: str) -> bytes:
    """Read the beginning of a file with three calls of the system: a sampler does so a hundred times a second."""
    descriptor = os.open(path, _FLAGS)
    try:
        return os.read(descriptor, _LONGEST)
    finally:
        os.close(descriptor)


def clean(data: bytes) -> str:
    """Return bytes as text of bounded length, with a ``?`` for what cannot be shown; line breaks stay."""
    text = data[:_LONGEST].decode("utf-8", "replace").strip("\0 \n")
    if text.isprintable():
        return text
    lines = text.splitlines()
    return "\n".join(map(printable, lines))


def to_number(text: str | None) -> float | None:
    """Return the number that a text is, if it is one and finite."""
    if text is None or not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def _natural(path: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", str(path))]


def _run(command: Sequence[str], *, first_line: bool) -> str | None:
    name, *arguments = command
    places = (Path(folder) / name for folder in _TOOL_PATHS.split(":"))
    tool = next((place for place in places if os.access(place, os.X_OK)), None)
    if tool is None:
        return None
    try:
        with subprocess.Popen(  # noqa: S603 - one of the names in this package, from the system's own folders
            [str(tool), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"LC_ALL": "C", "PATH": _TOOL_PATHS},
        ) as process:
            return _answer(process, first_line=first_line)
    except OSError:
        return None


def _answer(process: subprocess.Popen[bytes], *, first_line: bool) -> str | None:
    """Return what a process prints, within the time allowed; it has ended then."""
    from threading import Timer

    late = Timer(_TOOL_S, process.kill)
    late.daemon = True
    late.start()
    try:
        if process.stdout is None:
            return None
        data = process.stdout.readline(_LONGEST) if first_line else process.stdout.read(_LONGEST)
        if first_line or len(data) == _LONGEST:
            process.kill()
            return clean(data) or None
        return clean(data) if process.wait() == 0 else None
    finally:
        process.kill()
        late.cancel()
