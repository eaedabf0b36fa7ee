"""Check whether a long life leaves traces: mixed work on every engine, and what remains of it.

    python benchmarks/soak.py [--seconds 1800] [--json FILE]

Each engine has a process that lives as long as the soak test. The processes take turns of a second, so that one
computes at a time. What they do is in `soak_worker.py`: photos of all kinds through several models, pages, archives and
pictures written, sessions opened and closed, many photos at once, unknown models, and everything that is refused. Only
the seed decides the order.

Resident memory shows what is held only if the allocator returns what is freed. glibc raises the size from which it does
so according to what a program frees, up to 32 MB; maps of 12 MB then stay with the threads, and memory goes up and down
by 100 MB while the memory in use stays the same. Here that size keeps its initial value, as it should in a server that
is to use little memory (docs/running.md); `--keep-freed` leaves it to glibc.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from flatness import Drift, drift_of, joined, slope_per_run
from fmedge.bench import roofline
from fmedge.bench.worker_pipe import Worker, WorkerFailed
from fmedge.runtime.backends import BACKENDS, usable_cpus
from turns import workers_at_hand

MODULE = "soak_worker"
GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": "131072"}
"""glibc's initial size in bytes from which freed blocks go back to the system; once set, it stays fixed."""

TURN_S = 1.0
LONGEST_S = 600.0
"""Longest time for one request, in seconds: making TFLite models takes tens of seconds."""

SETTLED = 0.2
"""Share of the time, at the beginning, that does not count: allocators and caches are still growing."""

MAX_BYTES_PER_RUN = 1000
MAX_DRIFT = 0.10
"""The limits for growing memory and for runs that get slower."""


@dataclass
class Found:
    """The measurements of an engine.

    Attributes:
        times: End of each run, in seconds since the Epoch.
        kinds: Kind of each run.
        seconds: Duration of each run.
        resident: Resident memory after each run, in bytes.
        yardstick: Seconds of the reference load before each run's turn.
        rounds: For the end of each round the number of runs so far, descriptors, threads and leftover files.
        failure: Why the process ended early.
    """

    times: list[float] = field(default_factory=list[float])
    kinds: list[str] = field(default_factory=list[str])
    seconds: list[float] = field(default_factory=list[float])
    resident: list[int] = field(default_factory=list[int])
    yardstick: list[float] = field(default_factory=list[float])
    rounds: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    failure: str = ""

    def add(self, turn: dict[str, list], yardstick_s: float) -> None:
        """Add the runs of a turn."""
        for when, kind, seconds, resident in turn["runs"]:
            self.times.append(when)
            self.kinds.append(kind)
            self.seconds.append(seconds)
            self.resident.append(resident)
            self.yardstick.append(yardstick_s)
        self.rounds += turn["rounds"]

    @property
    def settled(self) -> int:
        """The number of runs at the beginning that do not count."""
        begin = self.times[0] + SETTLED * (self.times[-1] - self.times[0])
        return int(np.searchsorted(self.times, begin))

    def drifts(self) -> dict[str, Drift]:
        """Return the drift of every kind of work that was done often enough."""
        times, seconds, yardstick = (
            np.array(each[self.settled :]) for each in (self.times, self.seconds, self.yardstick)
        )
        kinds = np.array(self.kinds[self.settled :])
        found: dict[str, Drift] = {}
        for kind in dict.fromkeys(self.kinds):
            mine = kinds == kind
            drift = drift_of(times[mine], seconds[mine], yardstick[mine], (times[0], times[-1]))
            if drift is not None:
                found[kind] = drift
        return found


def soak(chosen: argparse.Namespace, found: dict[str, Found]) -> None:
    """Let the engines take turns for the chosen time; add what they do to ``found`` as they do it."""
    seed, environment = chosen.seed, {} if chosen.keep_freed else GIVE_BACK
    with tempfile.TemporaryDirectory(prefix="soak-") as folder, workers_at_hand(MODULE, environment) as start:
        os.environ["FMEDGE_STATE"] = str(Path(folder, "state"))  # unknown models leave marks there
        maker = start()
        made = maker.ask(LONGEST_S, do="prepare", folder=folder, backends=chosen.backend, side=chosen.side, seed=seed)
        maker.stop()
        for words in made["missing"]:
            print(f"left out: {words}", file=sys.stderr)
        workers: dict[str, Worker] = {}
        for backend, models in made["models"].items():
            if models:
                found[backend], workers[backend] = Found(), start()
                workers[backend].ask(LONGEST_S, do="open", folder=folder, backend=backend, models=models, seed=seed)
        threads = usable_cpus()
        yardstick = Worker("fmedge.bench.roofline", roofline.environment(threads))
        try:
            until = time.monotonic() + chosen.seconds
            while time.monotonic() < until and workers:
                for backend, worker in list(workers.items()):
                    state = float(yardstick.ask(LONGEST_S, do="yardstick", threads=threads)["seconds"])
                    try:
                        found[backend].add(worker.ask(LONGEST_S, do="turn", seconds=TURN_S), state)
                    except WorkerFailed as failure:
                        found[backend].failure = str(failure)
                        del workers[backend]
        finally:
            yardstick.stop()


def judge(found: Found) -> Iterator[str]:
    """Yield a line for each thing that is not as wanted."""
    if found.failure:
        yield f"failed: {found.failure}"
    first = found.settled if found.times else 0
    if len(found.times) - first < 2:
        yield "too few runs for a conclusion"
        return
    slope = slope_per_run(found.resident[first:])
    if slope.robust >= MAX_BYTES_PER_RUN:
        yield (
            f"memory grows by {slope.robust:,.0f} bytes per run (95 %: {slope.low:,.0f} to {slope.high:,.0f}); "
            f"allowed: less than {MAX_BYTES_PER_RUN:,}"
        )
    rounds = [each for each in found.rounds if each["run"] > first]
    if not rounds:
        yield "no round was completed"
    for what in ("descriptors", "threads"):
        values = [each[what] for each in rounds]
        if len(set(values)) > 1:
            yield f"{what} are not constant: {min(values)} to {max(values)}, first {values[0]}, last {values[-1]}"
    if rounds and len(rounds[-1]["left"]) > len(rounds[0]["left"]):
        yield f"files left behind: {', '.join(sorted({*rounds[-1]['left']} - {*rounds[0]['left']})[:5])}"
    drifts = found.drifts()
    if not drifts:
        yield "too few runs to see how latency drifts"
    elif joined(list(drifts.values())).corrected >= MAX_DRIFT:
        both = joined(list(drifts.values()))
        yield (
            f"slower by {both.corrected:.1%} in the last third ({both.raw:.1%} with the machine's own drift); "
            f"allowed: less than {MAX_DRIFT:.0%}"
        )


def report(engines: dict[str, Found]) -> Iterator[str]:
    """Print the table: a line per engine, followed by a line per kind of its work."""
    for backend, found in engines.items():
        if len(found.times) < 2:
            continue
        first = found.settled
        slope, drifts = slope_per_run(found.resident[first:]), found.drifts()
        rounds = [each for each in found.rounds if each["run"] > first] or [{}]
        held = ", ".join(
            f"{_range([row.get(what, 0) for row in rounds])} {what}" for what in ("descriptors", "threads")
        )
        if rounds[-1].get("left"):
            held += f", {len(rounds[-1]['left'])} files of the engine's own ({rounds[-1]['left'][0]})"
        raw, corrected = joined(list(drifts.values())) if drifts else (np.nan, np.nan)
        yield f"{backend}: {len(found.times):,} runs, {len(found.rounds)} rounds; {held}"
        yield (
            f"  memory {found.resident[first] / 1e6:.1f} MB when settled, {found.resident[-1] / 1e6:.1f} at the end: "
            f"{slope.robust:+,.0f} bytes per run (95 %: {slope.low:+,.0f} to {slope.high:+,.0f}; "
            f"straight line {slope.line:+,.0f})"
        )
        yield f"  p90 {corrected:+.1%} in the last third ({raw:+.1%} with the machine's own drift)"
        yield f"  {'':24}{'runs':>8}{'p90 first':>12}{'p90 last':>12}{'drift':>9}{'corrected':>11}"
        for kind, drift in drifts.items():
            yield (
                f"  {kind:24}{drift.runs:8}{1e3 * drift.first_s:9.2f} ms{1e3 * drift.last_s:9.2f} ms{drift.raw:+9.1%}"
                f"{drift.corrected:+11.1%}"
            )


def _range(values: Sequence[int]) -> str:
    return str(values[0]) if len(set(values)) == 1 else f"{min(values)} to {max(values)}"


def main() -> int:
    """Run the soak, print the table, and report whether all is as wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--seconds", type=float, default=1800, help="duration for all engines together, after preparation"
    )
    parser.add_argument("--backend", nargs="+", default=[row.name for row in BACKENDS if row.installed])
    parser.add_argument("--side", type=int, default=224, help="side of the models' images, in pixels")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep-freed", action="store_true", help="leave it to glibc how much freed memory it keeps")
    parser.add_argument("--json", type=Path, help="write all measurements, run by run")
    chosen = parser.parse_args()
    found: dict[str, Found] = {}
    try:
        soak(chosen, found)
    except KeyboardInterrupt:
        print("interrupted: these are the results so far", file=sys.stderr)
    if chosen.json:
        chosen.json.write_text(json.dumps({backend: asdict(each) for backend, each in found.items()}) + "\n")
    for line in report(found):
        print(line)
    broken = [f"{backend}: {words}" for backend, each in found.items() for words in judge(each)]
    for line in broken or ["" if found else "nothing was measured"]:
        print(line) if line else None
    return 1 if broken or not found else 0


if __name__ == "__main__":
    sys.exit(main())
