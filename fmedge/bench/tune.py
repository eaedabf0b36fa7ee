"""The tuner: find the best way to run a sub-model on this machine, under an accuracy bound, by successive halving.

Every way is measured for a moment, the slower half drops out, the rest is measured for longer, and so on (Jamieson and
Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization", 2016). The last few go through the
whole protocol of ``fmedge bench``, taking turns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fmedge._version import __version__
from fmedge.bench.matrix import PLAIN, BenchMatrix, Case, load_order, prepare_cases, request_form, variants_here
from fmedge.bench.protocol import Protocol, with_energy
from fmedge.bench.scheduler import MODULE, measure
from fmedge.bench.worker_pipe import Worker, WorkerFailed
from fmedge.data.bench_report import Missing, Report
from fmedge.data.images import load_photo, parity_image
from fmedge.data.measurement import Measurement
from fmedge.errors import LimitExceeded, SensorUnavailable, UsageError
from fmedge.model.parity import Parity
from fmedge.model.submodel import Precision
from fmedge.runtime.backends import default_threads, find_backend
from fmedge.system.files import temporary_folder, write_error
from fmedge.system.machine import this_machine
from fmedge.system.progress import Progress, no_progress
from fmedge.system.sensors.table import find_power
from fmedge.workflow.artifacts import reference_maps
from fmedge.workflow.tuned_choice import EXACT_DB, Candidate, Dropped, Objective, Tuned

FIRST_S = 0.3
"""Seconds for which every way is measured in the first round; each further round takes three times as long."""

FINALISTS = 4
"""Fewest ways that are kept for the whole protocol: halving further would save little and risk the best."""

MAX_PHOTOS = 8
"""Most photos on which accuracy is judged; at full depth the float64 reference takes about a second for each."""

_ROUGH_DB = 60.0
"""Accuracy bound below which int8 and bf16 are tried: their results are at 20 to 50 dB."""


@dataclass(frozen=True, slots=True)
class Goal:
    """The goal of the search.

    Attributes:
        objective: What to minimize.
        min_snr_db: Least agreement with the float64 reference, in dB.
        photos: Photos on which accuracy is judged; empty takes noise with ramps, as the parity check does.
    """

    objective: Objective = "latency"
    min_snr_db: float = EXACT_DB
    photos: tuple[Path, ...] = ()

    @property
    def judges(self) -> tuple[Path, ...]:
        """The photos that are used: at most :data:`MAX_PHOTOS`, evenly chosen."""
        step = max(1, len(self.photos) / MAX_PHOTOS)
        return tuple(self.photos[int(place * step)] for place in range(min(MAX_PHOTOS, len(self.photos))))


class Found(NamedTuple):
    """The tuned choice, and the report of the last round."""

    tuned: Tuned
    report: Report


@dataclass(frozen=True, slots=True)
class _Way:
    """A case whose accuracy is known."""

    case: Case
    parity: Parity


def tune(
    matrix: BenchMatrix,
    goal: Goal,
    protocol: Protocol | None = None,
    *,
    progress: Progress = no_progress,
) -> Found:
    """Search the ways to run one layer's sub-model.

    Args:
        matrix: Layer, engines, threads, weights and so on; precisions, arithmetic and variants follow from the goal.
        goal: The goal of the search.
        protocol: How the last round is measured; None takes the defaults.
        progress: Receives the progress.

    Raises:
        UsageError: No way keeps the bound.
        LimitExceeded: Nothing could be measured.
        SensorUnavailable: Energy is the objective, and the sensor failed.
        KeyboardInterrupt: The user interrupted it; there is no choice then.
        FmedgeError: See :func:`fmedge.bench.matrix.prepare_cases`.
    """
    protocol, started = protocol or Protocol(), datetime.now(UTC)
    cases, missing = _prepare(matrix, goal, progress)
    dropped = [Dropped(each.configuration.describe(), each.reason, each.exit_code) for each in missing]
    ways = _judge(cases, matrix, goal, dropped, protocol.timeout_s, progress)
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
        judged_on=f"{len(goal.judges)} photos" if goal.photos else "the parity image",
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


def _prepare(matrix: BenchMatrix, goal: Goal, progress: Progress) -> tuple[list[Case], list[Missing]]:
    """Prepare all ways that may keep the bound, as far as this is known without measuring."""
    cores = default_threads()
    threads = matrix.threads or tuple(sorted({cores, max(1, cores // 2), 1}, reverse=True))
    rough = goal.min_snr_db < _ROUGH_DB
    asked = [replace(matrix, threads=threads, maths=("fp32", "bf16") if rough else ("fp32",), variants=(PLAIN,))]
    if goal.min_snr_db < EXACT_DB:
        asked += [replace(matrix, threads=threads, precisions=(Precision.FP16,))]
    if rough:
        asked += [replace(matrix, threads=threads, precisions=(Precision.INT8,), variants=(PLAIN, *variants_here()))]
    cases: list[Case] = []
    missing: list[Missing] = []
    for each in asked:
        found, absent = prepare_cases(each, progress=progress)
        cases += found
        missing += [one for one in absent if one.configuration.math in find_backend(one.configuration.backend).maths]
    return cases, missing


def _judge(
    cases: Sequence[Case],
    matrix: BenchMatrix,
    goal: Goal,
    dropped: list[Dropped],
    timeout_s: float,
    progress: Progress,
) -> list[_Way]:
    """Return the cases that keep the bound; the number of threads changes no result.

    Raises:
        UsageError: None does.
        LimitExceeded: Nothing could be run.
    """
    judged: dict[tuple[Path, str, str], Parity | WorkerFailed] = {}
    ways: list[_Way] = []
    best = float("-inf")
    with temporary_folder() as folder:
        reference = folder / "reference.npz"
        for number, case in enumerate(cases):
            what = case.configuration
            if number == 0:
                _write_reference(reference, case, matrix, goal)
            key = case.model, what.backend, what.math
            if key not in judged:
                progress(f"checking the accuracy of {what.describe()}", number / len(cases))
                judged[key] = _judge_one(case, reference, timeout_s)
            parity = judged[key]
            if isinstance(parity, WorkerFailed):
                dropped.append(Dropped(what.describe(), str(parity), parity.exit_code))
                continue
            best = max(best, parity.snr_db)
            if parity.snr_db >= goal.min_snr_db:
                ways.append(_Way(case, parity))
            else:
                dropped.append(Dropped(what.describe(), f"{parity.snr_db:.1f} dB, less than {goal.min_snr_db:g}"))
    progress("accuracy checked", 1.0)
    if not ways:
        if best == float("-inf") and dropped:
            raise LimitExceeded(f"Nothing could be run. {dropped[-1].what}: {dropped[-1].reason}."[:200])
        raise UsageError(
            f"min_snr {goal.min_snr_db:g}: nothing reaches it. Best: {best:.1f} dB. Lower it.", flags=("--min-snr",)
        )
    return ways


def _write_reference(path: Path, case: Case, matrix: BenchMatrix, goal: Goal) -> None:
    (layer,) = matrix.layers
    request, size = request_form(matrix, layer), case.configuration.size
    if goal.photos:
        images = np.stack([load_photo(photo, size).pixels for photo in goal.judges])
    else:
        images = parity_image(*size)[np.newaxis]
    expected: Mapping[str, np.ndarray] = reference_maps(request, images, offline=matrix.offline)
    with write_error(path):
        np.savez(path, allow_pickle=False, images=images, **expected)


def _judge_one(case: Case, reference: Path, timeout_s: float) -> Parity | WorkerFailed:
    try:
        worker = Worker(MODULE)
    except WorkerFailed as error:
        return error
    try:
        worker.ask(timeout_s, **load_order(case))
        return Parity.from_dict(worker.ask(timeout_s, do="judge", reference=str(reference)))
    except WorkerFailed as error:
        return error
    finally:
        worker.stop()


def _candidates(ways: Sequence[_Way], measured: Sequence[Measurement]) -> dict[int, Candidate]:
    """Return the candidates for the ways that were measured, by their place in the sequence."""
    by_what = {each.configuration: each for each in measured}
    return {
        place: _candidate(way, by_what[way.case.configuration])
        for place, way in enumerate(ways)
        if way.case.configuration in by_what
    }


def _candidate(way: _Way, measured: Measurement) -> Candidate:
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


def _better_half(
    ways: Sequence[_Way], found: Mapping[int, Candidate], goal: Goal, dropped: list[Dropped]
) -> list[_Way]:
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
