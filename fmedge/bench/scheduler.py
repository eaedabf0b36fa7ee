"""Let workers take turns: each computes for a moment while all others are quiet, again and again.

If the machine gets slower or faster meanwhile, it does so for all, and no engine's threads spin while another computes.
Each configuration is measured in several processes, one after the other. So differences between processes, such as the
place of their memory, and changes within seconds become visible, and are not mistaken for the program's speed.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fmedge._version import __version__
from fmedge.bench import roofline
from fmedge.bench.matrix import Case
from fmedge.bench.protocol import STAGE_TURNS, Protocol, processes_that_fit
from fmedge.bench.subject import Subject, result_of
from fmedge.bench.watch import Watch
from fmedge.bench.worker_pipe import Worker, WorkerFailed
from fmedge.data.bench_report import Missing, Report
from fmedge.data.measurement import Measurement
from fmedge.system.machine import read_clocks, this_machine
from fmedge.system.memory import available_bytes
from fmedge.system.progress import Progress, no_progress
from fmedge.system.sensors.host import Host
from fmedge.system.wording import duration

_TOGETHER = 16
"""Most workers loaded at a time; fewer where memory is short."""

_BASE_BYTES = 300 << 20
_PER_MODEL_BYTE = 8
"""Estimated memory of a worker: Python and an engine, 0.1 to 0.3 GB, and the weights as the engine lays them out (ncnn
takes six times their size while it loads)."""

_KEEP_S = 5.0
"""Fewest seconds between two times at which what was measured is kept."""

_PACE_TURNS = 5
"""How many of the processes of a configuration have the machine's own speed measured alongside."""


@dataclass(frozen=True, slots=True)
class _Run:
    """What is measured in one run of the benchmark, what watches the machine, who is told, and what keeps results."""

    subjects: Sequence[Subject]
    watch: Watch
    progress: Progress
    keep: Callable[[], None]

    @property
    def share(self) -> float:
        """The share of the work that is done, below 1."""
        return min(0.99, sum(subject.done for subject in self.subjects) / len(self.subjects))

    def tell(self, words: str) -> None:
        self.progress(words, self.share)


def measure(
    cases: Sequence[Case],
    protocol: Protocol | None = None,
    *,
    missing: Sequence[Missing] = (),
    progress: Progress = no_progress,
    keep: Callable[[Report], None] | None = None,
    host: Host | None = None,
) -> Report:
    """Measure configurations, each in several processes of its own, one after the other.

    On ``KeyboardInterrupt`` it returns what was measured so far, and the report says so.

    Args:
        cases: The configurations to measure.
        protocol: How to measure; None takes the defaults.
        missing: Configurations that could not be prepared: they become part of the report.
        progress: Receives the progress.
        keep: Receives what was measured so far, from time to time, as if it had been interrupted then.
        host: Where the machine's sensors are read; None for this machine.
    """
    protocol = protocol or Protocol()
    started, clocks = datetime.now(UTC), read_clocks()
    subjects = [Subject(case, protocol, count=protocol.count) for case in cases]
    paces: defaultdict[int, list[dict[str, float]]] = defaultdict(list)

    def report(*, interrupted: bool) -> Report:
        found = {threads: roofline.summarize(threads, turns) for threads, turns in sorted(paces.items()) if turns}
        results = [result_of(subject, found, watch, interrupted=interrupted) for subject in subjects]
        measurements = tuple(result for result in results if isinstance(result, Measurement))
        return Report(
            fmedge=__version__,
            started=started.isoformat(timespec="seconds"),
            machine=this_machine(),
            clocks=(clocks, read_clocks()),
            runs=protocol.runs,
            seconds=protocol.seconds,
            limits=tuple(found.values()),
            measurements=measurements,
            missing=(*(result for result in results if isinstance(result, Missing)), *missing),
            interrupted=interrupted,
            processes=max((len(each.processes) for each in measurements), default=protocol.count),
            telemetry=watch.telemetry(),
        )

    kept_at = time.monotonic()

    def keep_some() -> None:
        nonlocal kept_at
        if keep is not None and time.monotonic() > kept_at + _KEEP_S:
            keep(report(interrupted=True))
            kept_at = time.monotonic()

    interrupted = False
    with Watch(protocol, cases[0].configuration.device if cases else "cpu", host) as watch:
        run = _Run(subjects, watch, progress, keep_some)
        try:
            watch.rest(progress, 0.0)
            waiting = deque(subjects)
            while waiting:
                begun = time.perf_counter()
                group = _load_some(waiting, run)
                _measure_group(group, begun + len(group) * (protocol.budget_s or 0.0), run, paces)
            watch.rest(progress, 0.99)
            progress("measured", 1.0)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            for subject in subjects:
                subject.stop()
        watch.take()
    return report(interrupted=interrupted)


def _measure_group(
    group: Sequence[Subject], until: float, run: _Run, paces: defaultdict[int, list[dict[str, float]]]
) -> None:
    """Measure cases whose first process is loaded, in as many processes as fit into the time until then."""
    number, count, cooled_s = 0, 1, run.watch.cooled_s
    while number < count:
        if number:
            _load_again(group, run)
        if not (alive := [subject for subject in group if subject.failure is None]):
            break
        left_s = until + run.watch.cooled_s - cooled_s - time.perf_counter()
        count = processes_that_fit(group[0].protocol, [each.pace for each in alive], number + 1, left_s)
        for subject in alive:
            subject.count = count
        _measure_together(alive, number, run, paces)
        run.watch.take()
        run.keep()
        number += 1


def _load_some(waiting: deque[Subject], run: _Run) -> list[Subject]:
    """Load and warm up as many cases as fit into memory, one after the other; at least one."""
    group: list[Subject] = []
    while waiting and len(group) < _TOGETHER and (not group or _fits(waiting[0].case)):
        subject = waiting.popleft()
        run.tell(f"loading {subject.case.configuration.describe()}")
        group.append(subject)
        subject.attempt(subject.load)
    return group


def _load_again(group: Sequence[Subject], run: _Run) -> None:
    """Start the next process of each case, one after the other."""
    for subject in group:
        if subject.failure is None:
            run.tell(f"loading {subject.case.configuration.describe()}")
            subject.attempt(subject.load)


def _fits(case: Case) -> bool:
    available, what = available_bytes(), case.configuration
    maps = case.card.run_bytes(what.batch, *what.size)
    return available is None or _BASE_BYTES + _PER_MODEL_BYTE * case.file_size + maps < available


def _measure_together(
    group: Sequence[Subject], number: int, run: _Run, paces: defaultdict[int, list[dict[str, float]]]
) -> None:
    """Let the cases' processes of that number, counted from 0, take turns, and then end them."""
    protocol = group[0].protocol
    meters = _start_meters(group, protocol)
    try:
        if number < _PACE_TURNS:
            for threads, pace in _ask_meters(meters, protocol, "pace").items():
                paces[threads].append(pace)
        while pending := [subject for subject in group if subject.due(number)]:
            for subject in pending:
                run.watch.cool_down(run.progress, run.share)
                subject.attempt(subject.turn)
                left = duration(sum(each.left_s for each in run.subjects))
                run.tell(f"measuring {subject.case.configuration.describe()}; about {left} left")
            found = _ask_meters(meters, protocol, "yardstick")
            for subject in pending:
                if subject.case.configuration.threads in found:
                    subject.started[-1].yardstick.append(found[subject.case.configuration.threads]["seconds"])
        last = number == group[0].count - 1
        for _ in range(min(STAGE_TURNS, protocol.runs) if protocol.stages and last else 0):
            for subject in [each for each in group if each.failure is None]:
                subject.attempt(subject.stage)
    finally:
        for meter in meters.values():
            meter.stop()
        for subject in group:
            subject.stop()


def _start_meters(group: Sequence[Subject], protocol: Protocol) -> dict[int, Worker]:
    """Start a meter, which measures the machine itself, for each number of threads.

    Each is asked once, so that none is still starting during a turn.
    """
    counts = sorted({subject.case.configuration.threads for subject in group if subject.failure is None})
    try:
        meters = {threads: Worker(roofline.__name__, roofline.environment(threads)) for threads in counts}
    except WorkerFailed:
        return {}
    _ask_meters(meters, protocol, "yardstick")
    return meters


def _ask_meters(meters: dict[int, Worker], protocol: Protocol, what: str) -> dict[int, dict[str, Any]]:
    """Return the meters' answers by number of threads; a meter that fails is removed and stopped."""
    found: dict[int, dict[str, Any]] = {}
    for threads, meter in list(meters.items()):
        try:
            found[threads] = meter.ask(protocol.timeout_s, do=what, threads=threads)
        except WorkerFailed:  # the report then has no limit and no reference load for it
            meters.pop(threads).stop()
    return found
