"""Let workers take turns: each computes for a moment while all others are quiet, again and again.

If the machine gets slower or faster meanwhile, it does so for all, and no engine's threads spin while another computes.
Each configuration is measured in several processes, one after the other. So differences between processes, such as the
place of their memory, and changes within seconds become visible, and are not mistaken for the program's speed.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import median
from typing import Any

from fmedge._version import __version__
from fmedge.bench import roofline
from fmedge.bench.matrix import Case, load_order
from fmedge.bench.protocol import STAGE_TURNS, Pace, Protocol, expected_pace, processes_that_fit, seconds_left
from fmedge.bench.watch import Watch
from fmedge.bench.worker_pipe import Worker, WorkerFailed
from fmedge.data.bench_report import Limit, Missing, Report
from fmedge.data.energy import Turn
from fmedge.data.measurement import Measurement, Process
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

_PACE_TURNS = 5
"""How many of the processes of a configuration have the machine's own speed measured alongside."""

_OF_A_PROCESS = ("load_s", "first_run_s", "warm_up_runs", "run_s", "start_s", "steady")
"""Facts that differ between the processes of a case; the other facts are the same for all of them."""

MODULE = "fmedge.bench.worker"


@dataclass(slots=True)
class _Started:
    """A process of a case: what it reported, and the reference loads that were measured alongside."""

    facts: dict[str, Any]
    turns: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    yardstick: list[float] = field(default_factory=list[float])


@dataclass(slots=True)
class _Subject:
    """A case that is being measured."""

    case: Case
    protocol: Protocol
    worker: Worker | None = None
    started: list[_Started] = field(default_factory=list[_Started])
    stages: list[dict[str, float]] = field(default_factory=list[dict[str, float]])
    failure: WorkerFailed | None = None
    count: int = 1  # processes, as they are planned now

    def attempt(self, work: Callable[[], None]) -> None:
        """Do something with the worker; if that fails, record the failure and stop the worker."""
        try:
            work()
        except WorkerFailed as error:
            self.failure = error
            self.stop()

    def load(self) -> None:
        start = time.perf_counter()
        self.worker = Worker(MODULE)
        facts = self._ask(**load_order(self.case), image=self._image)
        facts |= self._ask(do="warm_up", least_s=self.protocol.warm_up_s)
        self.started.append(_Started({**facts, "start_s": time.perf_counter() - start}))

    def turn(self) -> None:
        order = {"runs": self.protocol.turn_runs, "seconds": self.protocol.turn_s}
        self.started[-1].turns.append(self._ask(do="turn", **order))

    def stage(self) -> None:
        self.stages.append(self._ask(do="stages", image=self._image)["stages"])

    def stop(self) -> None:
        if self.worker is not None:
            self.worker.stop()
            self.worker = None

    def due(self, number: int) -> bool:
        """Return whether the current process, of that number from 0, still has to run; each has at least one turn."""
        if self.failure is not None:
            return False
        return not self.started[-1].turns or self.share < (number + 1) / self.count

    @property
    def turns(self) -> list[dict[str, Any]]:
        """The turns of all processes."""
        return [turn for process in self.started for turn in process.turns]

    @property
    def share(self) -> float:
        """The share of the runs and of their time that is done, 0 to 1."""
        if self.failure is not None:
            return 1.0
        runs = sum(len(turn["seconds"]) for turn in self.turns)
        seconds = sum(sum(turn["seconds"]) for turn in self.turns)
        done = [runs / max(1, self.protocol.runs)]
        if self.protocol.seconds > 0:
            done.append(seconds / self.protocol.seconds)
        return min(1.0, *done)

    @property
    def pace(self) -> Pace:
        """How fast it gets on, as far as that is known."""
        if not self.started:
            return expected_pace(self.case)
        starts = [process.facts["start_s"] for process in self.started]
        return Pace(sum(starts) / len(starts), self.started[-1].facts["run_s"], 1 - self.share)

    @property
    def done(self) -> float:
        """The share of the work that is done, of all processes, 0 to 1."""
        return 1.0 if self.failure is not None else min(self.share, len(self.started) / self.count)

    @property
    def left_s(self) -> float:
        """Expected seconds until it is measured."""
        starts = self.count - len(self.started)
        if self.failure is not None or (self.share == 1 and not starts):
            return 0.0
        needed = seconds_left(self.protocol, self.pace, starts, starts)
        return needed if self.started else max(needed, self.protocol.budget_s or 0.0)

    @property
    def _image(self) -> str | None:
        return None if self.protocol.image is None else str(self.protocol.image.absolute())

    def _ask(self, **order: object) -> dict[str, Any]:
        if self.worker is None:
            raise WorkerFailed("the worker is gone")
        return self.worker.ask(self.protocol.timeout_s, **order)


@dataclass(frozen=True, slots=True)
class _Run:
    """What is measured in one run of the benchmark, what watches the machine, and who is told."""

    subjects: Sequence[_Subject]
    watch: Watch
    progress: Progress

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
    host: Host | None = None,
) -> Report:
    """Measure configurations, each in several processes of its own, one after the other.

    On ``KeyboardInterrupt`` it returns what was measured so far, and the report says so.

    Args:
        cases: The configurations to measure.
        protocol: How to measure; None takes the defaults.
        missing: Configurations that could not be prepared: they become part of the report.
        progress: Receives the progress.
        host: Where the machine's sensors are read; None for this machine.
    """
    protocol = protocol or Protocol()
    started, clocks = datetime.now(UTC), read_clocks()
    subjects = [_Subject(case, protocol, count=protocol.count) for case in cases]
    paces: defaultdict[int, list[dict[str, float]]] = defaultdict(list)
    interrupted = False
    with Watch(protocol, cases[0].configuration.device if cases else "cpu", host) as watch:
        run = _Run(subjects, watch, progress)
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
    found = {threads: roofline.summarize(threads, turns) for threads, turns in sorted(paces.items()) if turns}
    results = [_result(subject, found, watch, interrupted=interrupted) for subject in subjects]
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


def _measure_group(
    group: Sequence[_Subject], until: float, run: _Run, paces: defaultdict[int, list[dict[str, float]]]
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
        number += 1


def _load_some(waiting: deque[_Subject], run: _Run) -> list[_Subject]:
    """Load and warm up as many cases as fit into memory, one after the other; at least one."""
    group: list[_Subject] = []
    while waiting and len(group) < _TOGETHER and (not group or _fits(waiting[0].case)):
        subject = waiting.popleft()
        run.tell(f"loading {subject.case.configuration.describe()}")
        group.append(subject)
        subject.attempt(subject.load)
    return group


def _load_again(group: Sequence[_Subject], run: _Run) -> None:
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
    group: Sequence[_Subject], number: int, run: _Run, paces: defaultdict[int, list[dict[str, float]]]
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


def _start_meters(group: Sequence[_Subject], protocol: Protocol) -> dict[int, Worker]:
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


def _result(subject: _Subject, found: dict[int, Limit], watch: Watch, *, interrupted: bool) -> Measurement | Missing:
    case, what = subject.case, subject.case.configuration
    if subject.failure is not None:
        return Missing(what, str(subject.failure), subject.failure.exit_code)
    if not subject.turns:
        return Missing(what, "interrupted before it was measured" if interrupted else "not measured")
    limit = found.get(what.threads) if what.device == "cpu" else None
    layers = case.card.submodel.stock_layers  # the work of other networks is not known
    others = [turn["others_s"] for turn in subject.turns if turn["others_s"] is not None]
    started = [process for process in subject.started if process.turns]
    facts = [process.facts for process in started]
    memory = [turn["peak_memory_bytes"] for turn in subject.turns if turn["peak_memory_bytes"] is not None]
    spans = [
        Turn(turn["start_s"], turn["start_s"] + turn["wall_s"], what.batch * len(turn["seconds"]))
        for turn in subject.turns
    ]
    energy = watch.energy(spans)
    return Measurement(
        configuration=what,
        processes=tuple(
            Process(
                tuple(tuple(turn["seconds"]) for turn in process.turns),
                median(process.yardstick) if process.yardstick else None,
            )
            for process in started
        ),
        load_s=median(each["load_s"] for each in facts),
        first_run_s=median(each["first_run_s"] for each in facts),
        warm_up_runs=max(each["warm_up_runs"] for each in facts),
        steady=all(each["steady"] for each in facts),
        cpu_s=sum(turn["cpu_s"] for turn in subject.turns),
        wall_s=sum(turn["wall_s"] for turn in subject.turns),
        others_s=max(0.0, sum(others)) if others else None,
        peak_memory_bytes=max(memory, default=None),
        macs=sum(spec.macs(*what.size) for spec in layers) if layers else None,
        limit_s=roofline.direct_seconds(layers, what.size, what.batch, limit) if limit and layers else None,
        file_size=case.file_size,
        parity=case.card.parity,
        stages={
            name: tuple(way[name] for way in subject.stages) for name in (subject.stages[0] if subject.stages else ())
        },
        energy=None if isinstance(energy, str) else energy,
        no_energy=energy if isinstance(energy, str) else "",
        throttled=watch.states.throttled(spans),
        hottest_c=watch.states.hottest_c(spans),
        **{name: value for name, value in facts[0].items() if name not in _OF_A_PROCESS},
    )
