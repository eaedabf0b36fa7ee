"""A case that is being measured: its processes, one after the other, and what they reported."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from fmedge.bench import roofline
from fmedge.bench.matrix import Case, load_order
from fmedge.bench.protocol import Pace, Protocol, expected_pace, seconds_left
from fmedge.bench.watch import Watch
from fmedge.bench.worker_pipe import Worker, WorkerFailed
from fmedge.data.bench_report import Limit, Missing
from fmedge.data.energy import Turn
from fmedge.data.measurement import Measurement, Process

MODULE = "fmedge.bench.worker"

_OF_A_PROCESS = ("load_s", "first_run_s", "warm_up_runs", "run_s", "start_s", "steady")
"""Facts that differ between the processes of a case; the other facts are the same for all of them."""


@dataclass(slots=True)
class Started:
    """A process of a case: what it reported, and the reference loads that were measured alongside."""

    facts: dict[str, Any]
    turns: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    yardstick: list[float] = field(default_factory=list[float])


@dataclass(slots=True)
class Subject:
    """A case that is being measured."""

    case: Case
    protocol: Protocol
    worker: Worker | None = None
    started: list[Started] = field(default_factory=list[Started])
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
        """Start its next process, load the model there and warm it up."""
        start = time.perf_counter()
        self.worker = Worker(MODULE)
        facts = self._ask(**load_order(self.case), image=self._image)
        facts |= self._ask(do="warm_up", least_s=self.protocol.warm_up_s)
        self.started.append(Started({**facts, "start_s": time.perf_counter() - start}))

    def turn(self) -> None:
        """Have the current process compute for a moment."""
        order = {"runs": self.protocol.turn_runs, "seconds": self.protocol.turn_s}
        self.started[-1].turns.append(self._ask(do="turn", **order))

    def stage(self) -> None:
        """Time every stage up to the page once."""
        self.stages.append(self._ask(do="stages", image=self._image)["stages"])

    def stop(self) -> None:
        """End the current process, if there is one."""
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


def result_of(
    subject: Subject, found: Mapping[int, Limit], watch: Watch, *, interrupted: bool
) -> Measurement | Missing:
    """Return what was measured of a case so far.

    Args:
        subject: The case.
        found: The machine's limits, by numbers of threads.
        watch: What watched the machine meanwhile.
        interrupted: Whether that was not all.
    """
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
