"""Arrange reports of one or more machines for a page: tasks, rows, labels, and the rows on the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fmedge.data.bench_report import Missing, Report
from fmedge.data.measurement import Configuration, Measurement
from fmedge.system.wording import plural

SINGLE_STREAM = "single-stream"


@dataclass(frozen=True, slots=True)
class Row:
    """A measurement with its place on the page.

    Attributes:
        machine: Number of its machine.
        task: Number of its task.
        choice: What was chosen to do the task, as far as it distinguishes rows: ``ncnn, fp16, 2 threads``.
        measured: The figures.
        throttling_known: Whether the machine would have told that it was throttled.
    """

    machine: int
    task: int
    choice: str
    measured: Measurement
    throttling_known: bool = False

    @property
    def exact(self) -> bool:
        """Whether weights and arithmetic are float32."""
        return self.measured.configuration.form == "fp32"

    @property
    def snr_db(self) -> float | None:
        """Distance from the float64 reference, in dB; None where it is not known.

        It was measured when the model was exported, with float32 arithmetic, and does not apply to other arithmetic.
        """
        parity = self.measured.parity
        return None if parity is None or self.measured.configuration.math != "fp32" else parity.snr_db


@dataclass(frozen=True, slots=True)
class Gap:
    """A configuration that has no figures, with its place on the page; attributes as in :class:`Row`."""

    machine: int
    task: int
    choice: str
    missing: Missing


@dataclass(frozen=True, slots=True)
class Layout:
    """The arranged reports.

    Attributes:
        machines: Names of the machines.
        reports: Their reports, in the same order.
        tasks: What was to be computed, in words.
        common: What all tasks share, in words.
        rows: What was measured, fastest first within machine and task.
        gaps: What was not.
    """

    machines: tuple[str, ...]
    reports: tuple[Report, ...]
    tasks: tuple[str, ...]
    common: str
    rows: tuple[Row, ...]
    gaps: tuple[Gap, ...]

    def of(self, task: int, machine: int) -> list[Row]:
        """Return the rows of a task on a machine, fastest first."""
        return [row for row in self.rows if (row.task, row.machine) == (task, machine)]


def lay_out(reports: Mapping[str, Report]) -> Layout:
    """Sort the measurements of several machines into tasks and rows.

    Args:
        reports: The reports by the machines' names.
    """
    found = tuple(reports.values())
    configurations = [what for report in found for what in _configurations(report)]
    facts = [_facts(what) for what in configurations]
    differing = {place for place in range(len(_FACTS)) if len({each[place] for each in facts}) > 1}
    keys = list(dict.fromkeys((what.layer, *_facts(what)) for what in configurations))
    namer = _Namer(found, configurations)

    def place(each: Measurement | Missing) -> int:
        return keys.index((each.configuration.layer, *_facts(each.configuration)))

    rows = [
        Row(machine, place(each), namer.choice(each.configuration, report), each, _tells_throttling(report))
        for machine, report in enumerate(found)
        for each in report.measurements
    ]
    gaps = [
        Gap(machine, place(each), namer.choice(each.configuration, report), each)
        for machine, report in enumerate(found)
        for each in report.missing
    ]
    return Layout(
        machines=tuple(reports),
        reports=found,
        tasks=tuple(", ".join((layer, *_pick(each, differing))) for layer, *each in keys),
        common=", ".join(_pick(facts[0], set(range(len(_FACTS))) - differing)) if facts else "",
        rows=tuple(sorted(rows, key=lambda row: (row.task, row.machine, row.measured.p50, row.choice))),
        gaps=tuple(gaps),
    )


def _tells_throttling(report: Report) -> bool:
    return report.telemetry is not None and bool(report.telemetry.signs)


_FACTS = ("activation", "size", "scenario", "weights")
"""Fields that, with the layer, distinguish one task from another."""


def _configurations(report: Report) -> list[Configuration]:
    return [each.configuration for each in (*report.measurements, *report.missing)]


def _facts(what: Configuration) -> tuple[str, ...]:
    """Return the values of :data:`_FACTS` in words."""
    activations = {"relu": "after the activation", "none": "before the activation"}
    single = what.scenario == SINGLE_STREAM
    return (
        activations.get(what.activation, what.activation),
        " \u00d7 ".join(map(str, what.size)),
        "one image at a time" if single else f"in batches of {what.batch}",
        what.weights,
    )


def _pick(facts: Sequence[str], places: Iterable[int]) -> list[str]:
    return [facts[place] for place in sorted(places)]


class _Namer:
    """Names choices by what distinguishes them, in the same way for every machine."""

    def __init__(self, reports: Sequence[Report], configurations: Sequence[Configuration]) -> None:
        self._several = len(reports) > 1
        self._devices = len({what.device for what in configurations}) > 1 or any(
            what.device != "cpu" for what in configurations
        )
        self._threads = (
            len({self._thread_words(what, report) for report in reports for what in _configurations(report)}) > 1
        )

    def choice(self, what: Configuration, report: Report) -> str:
        words = [what.backend, what.form]
        if self._devices:
            words.append(what.device)
        if self._threads:
            words.append(self._thread_words(what, report))
        return ", ".join(words)

    def _thread_words(self, what: Configuration, report: Report) -> str:
        """Return the threads in words; ``all cores`` pairs machines that differ in their number of cores."""
        if self._several and what.threads == report.machine.cores:
            return "all cores"
        return plural(what.threads, "thread")


def front(rows: Iterable[Row]) -> list[Row]:
    """Return the Pareto front, fastest first: rows for which no other row is at least as fast and more exact."""
    best, found = -math.inf, list[Row]()
    known = [(row.measured.p50, -row.snr_db, row) for row in rows if row.snr_db is not None]
    for _, negative, row in sorted(known, key=lambda each: each[:2]):
        if -negative > best:
            best = -negative
            found.append(row)
    return found
