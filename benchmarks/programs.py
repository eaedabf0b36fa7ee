"""Let programs take turns; each run is a process from its start to its end."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Run:
    """A run of a process: wall time in seconds, peak resident memory and size of the file that it wrote, in bytes."""

    wall_s: float
    peak_bytes: int
    file_bytes: int


@dataclass(frozen=True)
class Program:
    """A command, and the file that it writes."""

    command: Sequence[str | Path]
    file: Path


def run_in_turns(programs: Mapping[str, Program], runs: int) -> dict[str, list[Run]]:
    """Run each program ``runs`` times, A B A B, after a turn that does not count."""
    found: dict[str, list[Run]] = {name: [] for name in programs}
    for turn in range(runs + 1):
        for name, program in programs.items():
            run = _run(program)
            if turn:
                found[name].append(run)
    return found


def _run(program: Program) -> Run:
    program.file.unlink(missing_ok=True)
    command = [str(word) for word in program.command]
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=quiet)
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return Run(wall_s, usage.ru_maxrss * 1024, program.file.stat().st_size)


def median_run(runs: Sequence[Run]) -> Run:
    """Return the median of each figure."""
    names = ("wall_s", "peak_bytes", "file_bytes")
    return Run(*(statistics.median(getattr(run, name) for run in runs) for name in names))


def times_as_fast(ours: Sequence[Run], theirs: Sequence[Run]) -> float:
    """Return the median ratio of neighbouring runs: how many times as fast ours is as theirs."""
    return 1 / statistics.median(first.wall_s / second.wall_s for first, second in zip(ours, theirs, strict=True))
