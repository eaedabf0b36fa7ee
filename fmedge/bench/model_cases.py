"""Measure model files that are there already, and make those that another machine is to measure.

A board exports nothing: its models are made here, copied, and measured there as files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

from fmedge.bench.matrix import VARIANTS, BenchMatrix, Case, export_forms, installed_backends, obtain, request_form
from fmedge.data.bench_report import MAX_MEASUREMENTS, Missing
from fmedge.data.measurement import Configuration
from fmedge.errors import FmedgeError, LimitExceeded, UsageError
from fmedge.model.artifact import Artifact
from fmedge.model.run_options import Math
from fmedge.model.stock import INPUT_SIZE
from fmedge.model.submodel import ExportOptions
from fmedge.runtime.backends import Backend, default_threads, find_backend
from fmedge.system.progress import Progress, no_progress
from fmedge.workflow.model_files import open_model


def prepare_model_cases(matrix: BenchMatrix, paths: Sequence[Path]) -> tuple[list[Case], list[Missing]]:
    """Return what can be measured of model files: each on every engine that takes its format.

    Args:
        matrix: Engines, arithmetic, threads, scenario and device; what models are follows from their cards.
        paths: The model files.

    Returns:
        The configurations that can be measured, and those that cannot, with the reason.

    Raises:
        ArtifactError: A file is missing, damaged, or not one of fmedge.
        BackendUnavailable: A named engine is not installed, or none is.
        LimitExceeded: There are more configurations than a report may contain.
        UsageError: No engine that is installed or named runs any of the files.
    """
    artifacts = [open_model(path) for path in paths]
    rows = installed_backends(matrix)
    threads_tried = matrix.threads or (default_threads(),)
    combined = [*product(artifacts, rows, matrix.maths, threads_tried)]
    if len(combined) > MAX_MEASUREMENTS:
        raise LimitExceeded(f"{len(combined):,} configurations requested. Allowed: {MAX_MEASUREMENTS:,}.")
    cases: list[Case] = []
    missing: list[Missing] = []
    for artifact, row, arithmetic, threads in combined:
        if artifact.card.format is not row.formats[0]:
            continue
        configuration = _configuration(matrix, artifact, row, arithmetic, threads)
        if arithmetic in row.maths:
            cases.append(Case(configuration, artifact.path, artifact.card, artifact.size))
        else:
            missing.append(Missing(configuration, f"{row.name} does not offer --math {arithmetic}"))
    if not cases and not missing:
        raise UsageError(f"No engine here runs '{paths[0]}'.", hint="Which there are: fmedge doctor.")
    return cases, missing


def _configuration(matrix: BenchMatrix, artifact: Artifact, row: Backend, math: Math, threads: int) -> Configuration:
    card = artifact.card
    return Configuration(
        layer="+".join(card.submodel.taps),
        activation=card.activation,
        weights=card.describe_weights(),
        size=card.options.size or INPUT_SIZE,
        batch=matrix.batch,
        scenario=matrix.scenario,
        backend=row.name,
        device=matrix.device,
        precision=card.options.precision,
        math=math,
        threads=threads,
        variant=variant_of(card.options),
    )


def variant_of(options: ExportOptions) -> str:
    """Return the name of the variant that options make; empty for the plain form."""
    for name, variant in VARIANTS.items():
        plain = {"float_tap": False, "seven_bit": False, **variant.options}
        if options.precision is variant.precision and all(
            getattr(options, key) == value for key, value in plain.items()
        ):
            return name
    return ""


def prepare_models(
    matrix: BenchMatrix, engines: Sequence[str], *, progress: Progress = no_progress
) -> tuple[list[Artifact], list[str]]:
    """Find or export the models that another machine is to measure.

    Args:
        matrix: What to measure.
        engines: Names of the engines of that machine; they need not be installed here.
        progress: Receives the progress of exports.

    Returns:
        The models, and for each that cannot be made the reason.

    Raises:
        UsageError: A layer or the like does not exist.
        WeightsError: The weights cannot be obtained.
        WriteError: A model cannot be written.
    """
    made: dict[Path, Artifact | FmedgeError] = {}
    for layer, name, (variant, options) in product(matrix.layers, engines, export_forms(matrix)):
        row = find_backend(name)
        if variant and row.formats[0] not in VARIANTS[variant].formats:
            continue
        request = request_form(matrix, layer, replace(options, format=row.formats[0]))
        if request.path not in made:
            made[request.path] = obtain(request, row, matrix, progress)
    models = [found for found in made.values() if isinstance(found, Artifact)]
    return models, [f"{path}: {found.in_full()}" for path, found in made.items() if isinstance(found, FmedgeError)]
