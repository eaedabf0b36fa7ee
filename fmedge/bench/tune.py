"""The tuner: find the best way to run a sub-model on this machine, under an accuracy bound, by successive halving.

Every way is measured for a moment, the slower half drops out, the rest is measured for longer, and so on (Jamieson and
Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization", 2016). The last few go through the
whole protocol of ``fmedge bench``, taking turns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple

from fmedge._version import __version__
from fmedge.bench.matrix import BenchMatrix
from fmedge.bench.protocol import Protocol, with_energy
from fmedge.bench.scheduler import measure
from fmedge.bench.ways import Given, Goal, Way, judge_ways, prepare_ways
from fmedge.data.bench_report import Report
from fmedge.data.measurement import Measurement
from fmedge.errors import LimitExceeded, SensorUnavailable
from fmedge.system.machine import this_machine
from fmedge.system.progress import Progress, no_progress
from fmedge.system.sensors.table import find_power
from fmedge.workflow.tuned_choice import EXACT_DB, Candidate, Dropped, Objective, Tuned

FIRST_S = 0.3
"""Seconds for which every way is measured in the first round; each further round takes three times as long."""

FINALISTS = 4
"""Fewest ways that are kept for the whole protocol: halving further would save little and risk the best."""


class Found(NamedTuple):
    """The tuned choice, and the report of the last round."""

    tuned: Tuned
    report: Report


def tune(
    matrix: BenchMatrix,
    goal: Goal,
    protocol: Protocol | None = None,
    *,
    given: Given | None = None,
    progress: Progress = no_progress,
) -> Found:
    """Search the ways to run one layer's sub-model.

    Args:
        matrix: Layer, engines, threads, weights and so on; precisions, arithmetic and variants follow from the goal.
        goal: The goal of the search.
        protocol: How the last round is measured; None takes the defaults.
        given: Models and reference that are there already; layer and weights then follow from them.
        progress: Receives the progress.

    Raises:
        UsageError: No way keeps the bound.
        LimitExceeded: Nothing could be measured.
        SensorUnavailable: Energy is the objective, and the sensor failed.
        KeyboardInterrupt: The user interrupted it; there is no choice then.
        FmedgeError: See :func:`fmedge.bench.matrix.prepare_cases`.
    """
    protocol, started = protocol or Protocol(), datetime.now(UTC)
    cases, missing = prepare_ways(matrix, goal, given, progress=progress)
    dropped = [Dropped(each.configuration.describe(), each.reason, each.exit_code) for each in missing]
    ways = judge_ways(cases, matrix, goal, given, dropped, protocol.timeout_s, progress)
    seconds = FIRST_S
    while True:
        last = len(ways) <= FINALISTS or seconds >= protocol.seconds
        rough = protocol if last else replace(protocol, runs=1, seconds=_rough_s(protocol, seconds), processes=1)
        report = measure([way.case for way in ways], rough, progress=progress)
        if report.interrupted:
            raise KeyboardInterrupt
        found = _candidates(ways, report.measurements)
        dropped += [Dropped(each.configuration.describe(), each.reason, each.exit_code) for each in report.missing]
        if not found:
            raise LimitExceeded(f"Nothing could be measured. {dropped[-1].what}: {dropped[-1].reason}."[:200])
        if last:
            break
        ways = _better_half(ways, found, goal, dropped)
        seconds *= 3
    front = sorted(_front(list(found.values()), goal.objective), key=lambda each: each.value(goal.objective))
    if goal.objective == "energy" and front[0].energy_j is None:
        reasons = dict.fromkeys(each.no_energy for each in report.measurements)
        raise SensorUnavailable(f"Energy could not be measured: {'; '.join(reasons)}."[:200])
    dropped += [_lost(each, front[0], goal.objective) for each in found.values() if each not in front]
    tuned = Tuned(
        fmedge=__version__,
        started=started.isoformat(timespec="seconds"),
        machine=this_machine(),
        objective=goal.objective,
        min_snr_db=goal.min_snr_db,
        judged_on="a given reference" if given else goal.judged_on,
        batch=matrix.batch,
        front=tuple(front),
        dropped=tuple(dropped),
    )
    return Found(tuned, report)


def require_sensor(goal: Goal, protocol: Protocol, device: str = "cpu") -> Protocol:
    """Return the protocol for a goal: with turns whose energy can be measured, where energy is the objective.

    Raises:
        SensorUnavailable: Energy is the objective, and this machine has no power sensor.
    """
    if goal.objective != "energy":
        return protocol
    search = find_power(device=device)
    if search.source is None:
        raise SensorUnavailable(f"Energy cannot be measured: {search.reason}.", hint="Choose another --objective.")
    return with_energy(protocol, search.source.rate_hz)


def _rough_s(protocol: Protocol, seconds: float) -> float:
    """Return the seconds of a round before the last: where energy is measured, at least two turns."""
    return max(seconds, 2 * protocol.longest_turn_s) if protocol.energy else seconds


def _candidates(ways: Sequence[Way], measured: Sequence[Measurement]) -> dict[int, Candidate]:
    """Return the candidates for the ways that were measured, by their place in the sequence."""
    by_what = {each.configuration: each for each in measured}
    return {
        place: _candidate(way, by_what[way.case.configuration])
        for place, way in enumerate(ways)
        if way.case.configuration in by_what
    }


def _candidate(way: Way, measured: Measurement) -> Candidate:
    what = way.case.configuration
    return Candidate(
        model=way.case.model.name,
        file_sha256=measured.file_sha256,
        backend=what.backend,
        engine_version=measured.engine_version,
        device=what.device,
        math=what.math,
        threads=what.threads,
        form=what.form,
        parity=way.parity,
        p50_s=measured.p50,
        images_per_s=measured.images_per_s,
        load_s=measured.load_s,
        first_run_s=measured.first_run_s,
        peak_memory_bytes=measured.peak_memory_bytes,
        file_size=measured.file_size,
        energy_j=None if measured.energy is None else measured.energy.energy_j,
    )


def _front(found: Sequence[Candidate], objective: Objective) -> list[Candidate]:
    """Return the candidates that no other beats at equal or better accuracy; all exact ones are equally accurate."""

    def accuracy(each: Candidate) -> float:
        return min(each.parity.snr_db, EXACT_DB)

    def beats(one: Candidate, other: Candidate) -> bool:
        better = one.value(objective) < other.value(objective)
        return accuracy(one) >= accuracy(other) and better

    return [each for each in found if not any(beats(other, each) for other in found)]


def _better_half(ways: Sequence[Way], found: Mapping[int, Candidate], goal: Goal, dropped: list[Dropped]) -> list[Way]:
    """Return the front, and the best of the others up to half of all."""
    front = _front(list(found.values()), goal.objective)
    order = sorted(found, key=lambda place: (found[place] not in front, found[place].value(goal.objective)))
    kept = max(FINALISTS, len(front), (len(order) + 1) // 2)
    best = found[order[0]]
    dropped += [_lost(found[place], best, goal.objective) for place in order[kept:]]
    return [ways[place] for place in sorted(order[:kept])]


def _lost(each: Candidate, best: Candidate, objective: Objective) -> Dropped:
    if objective == "energy" and each.energy_j is None:
        return Dropped(each.describe(), "its energy could not be measured")
    share = each.value(objective)[0] / best.value(objective)[0]
    return Dropped(each.describe(), f"worse than {best.describe()} by a factor of {share:.2f} ({objective})")
