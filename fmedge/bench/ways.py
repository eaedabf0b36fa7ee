"""The ways to run a sub-model that the tuner tries: which forms of model and engine, and how accurate each is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fmedge.bench.matrix import PLAIN, BenchMatrix, Case, load_order, prepare_cases, request_form, variants_here
from fmedge.bench.model_cases import prepare_model_cases
from fmedge.bench.subject import MODULE
from fmedge.bench.worker_pipe import Worker, WorkerFailed
from fmedge.data.bench_report import Missing
from fmedge.data.images import load_photo, parity_image
from fmedge.errors import LimitExceeded, UsageError
from fmedge.model.parity import Parity
from fmedge.model.stock import INPUT_SIZE
from fmedge.model.submodel import Precision
from fmedge.runtime.backends import default_threads, find_backend
from fmedge.system.files import temporary_folder
from fmedge.system.progress import Progress, no_progress
from fmedge.workflow.artifacts import reference_maps
from fmedge.workflow.references import save_reference
from fmedge.workflow.tuned_choice import EXACT_DB, Dropped, Objective

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

    @property
    def judged_on(self) -> str:
        """What accuracy is judged on, in words."""
        return f"{len(self.judges)} photos" if self.photos else "the parity image"


@dataclass(frozen=True, slots=True)
class Way:
    """A case whose accuracy is known."""

    case: Case
    parity: Parity


class Given(NamedTuple):
    """Models and a reference that were made elsewhere, as for a board, which can make neither.

    Attributes:
        models: Model files of one sub-model, in several forms.
        reference: What they are held against: see :func:`write_reference`.
    """

    models: tuple[Path, ...]
    reference: Path


def tried_forms(matrix: BenchMatrix, goal: Goal, variants: Sequence[str]) -> list[BenchMatrix]:
    """Return what a goal allows to be tried, as far as this is known without measuring.

    Args:
        matrix: The sub-model.
        goal: The goal.
        variants: Names of the variants of int8 models that can pay off where they are to run.
    """
    rough = goal.min_snr_db < _ROUGH_DB
    asked = [replace(matrix, maths=("fp32", "bf16") if rough else ("fp32",), variants=(PLAIN,))]
    if goal.min_snr_db < EXACT_DB:
        asked += [replace(matrix, precisions=(Precision.FP16,))]
    if rough:
        asked += [replace(matrix, precisions=(Precision.INT8,), variants=(PLAIN, *variants))]
    return asked


def prepare_ways(
    matrix: BenchMatrix, goal: Goal, given: Given | None = None, *, progress: Progress = no_progress
) -> tuple[list[Case], list[Missing]]:
    """Prepare all ways that may keep the bound; models that are missing are exported, unless models are given."""
    cores = default_threads()
    tried = {cores, max(1, cores // 2), 1} if matrix.device == "cpu" else {cores}  # elsewhere they only wait
    threads = matrix.threads or tuple(sorted(tried, reverse=True))
    cases: list[Case] = []
    missing: list[Missing] = []
    for each in tried_forms(replace(matrix, threads=threads), goal, variants_here()):
        if given is None:
            found, absent = prepare_cases(each, progress=progress)
        else:
            found, absent = _of_precision(each, *prepare_model_cases(each, given.models))
        cases += found
        missing += [one for one in absent if one.configuration.math in find_backend(one.configuration.backend).maths]
    return cases, missing


def _of_precision(
    matrix: BenchMatrix, cases: Sequence[Case], missing: Sequence[Missing]
) -> tuple[list[Case], list[Missing]]:
    """Return what is of the precisions that are tried."""
    return (
        [case for case in cases if case.configuration.precision in matrix.precisions],
        [each for each in missing if each.configuration.precision in matrix.precisions],
    )


def judge_ways(
    cases: Sequence[Case],
    matrix: BenchMatrix,
    goal: Goal,
    given: Given | None,
    dropped: list[Dropped],
    timeout_s: float,
    progress: Progress,
) -> list[Way]:
    """Return the cases that keep the bound; the number of threads changes no result.

    Raises:
        UsageError: None does.
        LimitExceeded: Nothing could be run.
    """
    judged: dict[tuple[Path, str, str], Parity | WorkerFailed] = {}
    ways: list[Way] = []
    best = float("-inf")
    with temporary_folder() as folder:
        reference = given.reference if given else folder / "reference.npz"
        for number, case in enumerate(cases):
            what = case.configuration
            if number == 0 and given is None:
                write_reference(reference, matrix, goal)
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
                ways.append(Way(case, parity))
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


def write_reference(path: Path, matrix: BenchMatrix, goal: Goal) -> None:
    """Write what results are held against, in float64; see :func:`fmedge.workflow.references.save_reference`.

    Raises:
        WeightsError: The weights cannot be obtained.
        WriteError: The file cannot be written.
    """
    (layer,) = matrix.layers
    request = request_form(matrix, layer)
    size = request.options.size or INPUT_SIZE
    if goal.photos:
        images = np.stack([load_photo(photo, size).pixels for photo in goal.judges])
    else:
        images = parity_image(*size)[np.newaxis]
    save_reference(path, images, reference_maps(request, images, offline=matrix.offline))


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
