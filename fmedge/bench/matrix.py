"""What is measured: all combinations of layers, engines, precisions and so on, each with its artifact."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, get_args

from fmedge.data.bench_report import MAX_MEASUREMENTS, Missing
from fmedge.data.measurement import Configuration, Scenario
from fmedge.errors import (
    ArtifactError,
    BackendUnavailable,
    FmedgeError,
    LimitExceeded,
    ParityError,
    UsageError,
    closest,
)
from fmedge.model.artifact import Artifact
from fmedge.model.card import ModelCard, describe_weights
from fmedge.model.preprocessing import Preprocessing
from fmedge.model.run_options import Math, RunOptions
from fmedge.model.stock import INPUT_SIZE
from fmedge.model.submodel import OWN_SIZE, ExportOptions, Format, Precision, find_activation
from fmedge.runtime.backends import (
    BACKENDS,
    Backend,
    default_threads,
    find_backend,
    providers_for,
    seven_bits_are_faster,
)
from fmedge.runtime.opening import choose_backend
from fmedge.system.choices import one_of, require_whole
from fmedge.system.log import log
from fmedge.system.progress import Progress, no_progress
from fmedge.workflow.artifacts import obtain_artifact, require_request
from fmedge.workflow.request import ArtifactSpec, find_artifact, request_artifact

PLAIN = ""
"""The name of a model's plain form, which is none of :data:`VARIANTS`."""


@dataclass(frozen=True, slots=True)
class Variant:
    """Another way of writing a model.

    Attributes:
        formats: The formats that it exists in.
        precision: Its number format.
        options: The options that differ from the defaults, by the names of :class:`ExportOptions`.
    """

    formats: tuple[Format, ...]
    precision: Precision
    options: Mapping[str, Any]


VARIANTS: Mapping[str, Variant] = {
    "tap-float": Variant((Format.ONNX, Format.TFLITE), Precision.INT8, {"float_tap": True}),
    "seven-bit": Variant((Format.ONNX,), Precision.INT8, {"seven_bit": True}),
    "seven-bit-tap-float": Variant((Format.ONNX,), Precision.INT8, {"seven_bit": True, "float_tap": True}),
}
"""Ways of writing a model that trade speed, accuracy or size against each other."""


def variants_here() -> tuple[str, ...]:
    """Return the variants that can pay off on this processor."""
    seven = seven_bits_are_faster()
    return tuple(name for name, variant in VARIANTS.items() if seven or not variant.options.get("seven_bit"))


@dataclass(frozen=True, slots=True)
class BenchMatrix:
    """The values whose combinations are all measured.

    Attributes:
        layers: Layers; one with ``+`` is a model with several taps.
        backends: Names of engines; None takes those that are installed.
        precisions: Number formats.
        variants: Names of :data:`VARIANTS`, or :data:`PLAIN`; each is used where an engine's format and a precision
            have it.
        maths: Arithmetic of float models.
        threads: Numbers of CPU threads; None takes one per core.
        activation: ``relu`` or ``none``.
        size: Height and width of the image, in pixels; by default the network's own.
        scenario: One image after the other, or batches.
        batch: Images per run; 1 for ``single-stream``.
        device: The device that computes.
        network: As in ``request_artifact``; so are the following.
        weights: Weights of a stock network.
        keras: A Keras model instead of a stock network.
        onnx: An ONNX network instead.
        preprocessing: What such a network needs done to pixels.
        models: As in ``request_artifact``.
        calibration: Folder of photos, for int8 models that must be exported first.
        offline: Never touch the network.

    Raises:
        UsageError: Scenario and batch contradict each other, or a value is not allowed.
    """

    layers: tuple[str, ...] = ("block1_conv1",)
    backends: tuple[str, ...] | None = None
    precisions: tuple[Precision, ...] = (Precision.FP32,)
    variants: tuple[str, ...] = (PLAIN,)
    maths: tuple[Math, ...] = ("fp32",)
    threads: tuple[int, ...] | None = None
    activation: str = "relu"
    size: tuple[int, int] = OWN_SIZE
    scenario: Scenario = "single-stream"
    batch: int = 1
    device: str = "cpu"
    network: str | None = None
    weights: str | None = None
    keras: Path | None = None
    onnx: Path | None = None
    preprocessing: str | Preprocessing | None = None
    models: Path | None = None
    calibration: Path | None = None
    offline: bool = False

    def __post_init__(self) -> None:
        find_activation(self.activation)
        one_of("scenario", self.scenario, get_args(Scenario))
        for each in self.maths:
            one_of("math", each, get_args(Math))
        object.__setattr__(self, "precisions", tuple(one_of("precision", each, Precision) for each in self.precisions))
        require_whole("batch", self.batch)
        if self.batch < 1 or (self.scenario == "single-stream" and self.batch != 1):
            raise UsageError(
                f"batch {self.batch} is not allowed with {self.scenario}.",
                hint="Use --scenario offline.",
                flags=("--batch",),
            )
        for name in self.variants:
            if name not in (PLAIN, *VARIANTS):
                raise UsageError(f"Unknown variant '{name}'.{closest(name, VARIANTS)} Allowed: {', '.join(VARIANTS)}.")


@dataclass(frozen=True, slots=True)
class Case:
    """A configuration that can be measured.

    Attributes:
        configuration: The configuration.
        model: Its model file.
        card: The model's card.
        file_size: Size of the model's files, in bytes.
    """

    configuration: Configuration
    model: Path
    card: ModelCard
    file_size: int


def load_order(case: Case) -> dict[str, Any]:
    """Return the request that makes a worker load a case's model."""
    what = case.configuration
    return {
        "do": "load",
        "path": str(case.model.absolute()),
        "backend": what.backend,
        "run": {"device": what.device, "threads": what.threads, "math": what.math},
        "batch": what.batch,
        "size": what.size,
    }


def prepare_cases(matrix: BenchMatrix, *, progress: Progress = no_progress) -> tuple[list[Case], list[Missing]]:
    """Find the artifacts of all configurations; export what is missing.

    Args:
        matrix: What to measure.
        progress: Receives the progress of exports.

    Returns:
        The configurations that can be measured, and those that cannot, with the reason.

    Raises:
        UsageError: A layer, an engine or the like does not exist.
        LimitExceeded: There are more configurations than a report may contain.
        BackendUnavailable: A named engine is not installed, or no engine is.
        WeightsError: The weights cannot be obtained.
        WriteError: An artifact cannot be written.
    """
    made: dict[Path, Artifact | FmedgeError] = {}
    cases: list[Case] = []
    missing: list[Missing] = []
    rows, forms = installed_backends(matrix), [*export_forms(matrix)]
    threads_tried = matrix.threads or (default_threads(),)
    combined = math.prod(map(len, (matrix.layers, rows, forms, matrix.maths, threads_tried)))
    if combined > MAX_MEASUREMENTS:
        raise LimitExceeded(f"{combined:,} configurations requested. Allowed: {MAX_MEASUREMENTS:,}. Request fewer.")
    for layer, row, (variant, options) in product(matrix.layers, rows, forms):
        if variant and row.formats[0] not in VARIANTS[variant].formats:
            continue
        request = request_form(matrix, layer, replace(options, format=row.formats[0]))
        for arithmetic, threads in product(matrix.maths, threads_tried):
            configuration = _configuration(matrix, request, row, arithmetic, threads, variant)
            if arithmetic not in row.maths:
                missing.append(Missing(configuration, f"{row.name} does not offer --math {arithmetic}"))
                continue
            if request.path not in made:
                made[request.path] = obtain(request, row, matrix, progress)
            found = made[request.path]
            if isinstance(found, Artifact):
                cases.append(Case(configuration, found.path, found.card, found.size))
            else:
                skipped = isinstance(found, UsageError | BackendUnavailable)
                missing.append(Missing(configuration, found.in_full(), 0 if skipped else found.exit_code))
    return cases, missing


def request_form(matrix: BenchMatrix, layer: str, options: ExportOptions | None = None) -> ArtifactSpec:
    """Return the specification of a layer's artifact in a form; its size is the matrix's, or the network's own.

    Raises:
        UsageError: The layer does not exist, or the network needs an option that is missing.
        WeightsError: There is no such file, or it is damaged.
    """
    options = replace(options or ExportOptions(), size=matrix.size, preprocessing=matrix.preprocessing)

    def requested(options: ExportOptions) -> ArtifactSpec:
        return request_artifact(
            layer,
            matrix.activation,
            network=matrix.network,
            weights=matrix.weights,
            keras=matrix.keras,
            onnx=matrix.onnx,
            models=matrix.models,
            options=options,
        )

    request = requested(options)
    return request if request.options.size else requested(replace(options, size=INPUT_SIZE))


def export_forms(matrix: BenchMatrix) -> Iterator[tuple[str, ExportOptions]]:
    """Yield each wanted variant of each wanted precision, without the format; also 7-bit int8 where it is faster."""
    names = dict.fromkeys((*matrix.variants, *(("seven-bit",) if seven_bits_are_faster() else ())))
    for precision, name in product(matrix.precisions, names):
        if name == PLAIN:
            yield PLAIN, ExportOptions(precision=precision)
        elif precision is VARIANTS[name].precision:
            yield name, ExportOptions(precision=precision, **VARIANTS[name].options)


def installed_backends(matrix: BenchMatrix) -> list[Backend]:
    """Return the engines that are measured: those that are named, or those that are installed.

    Raises:
        UsageError: There is no such engine.
        BackendUnavailable: A named one is not installed, or none is.
    """
    if matrix.backends is None:
        rows = [row for row in BACKENDS if row.installed and providers_for(row, matrix.device)]
        return rows or [choose_backend(RunOptions(device=matrix.device))]  # raises the error
    rows = [find_backend(name) for name in matrix.backends]
    for row in rows:
        if not row.installed:
            raise BackendUnavailable(f"{row.name} is not installed.", hint=f"Install it: {row.install}.")
    return rows


def _configuration(
    matrix: BenchMatrix, request: ArtifactSpec, row: Backend, math: Math, threads: int, variant: str
) -> Configuration:
    return Configuration(
        layer="+".join(request.submodel.taps),
        activation=matrix.activation,
        weights=describe_weights(request.submodel, request.weights.facts),
        size=request.options.size or INPUT_SIZE,
        batch=matrix.batch,
        scenario=matrix.scenario,
        backend=row.name,
        device=matrix.device,
        precision=request.options.precision,
        math=math,
        threads=threads,
        variant=variant,
    )


def obtain(request: ArtifactSpec, row: Backend, matrix: BenchMatrix, progress: Progress) -> Artifact | FmedgeError:
    """Return the artifact, exported first if it is missing, or the error why it cannot be obtained."""
    int8 = request.options.precision is Precision.INT8
    try:
        if int8 and matrix.calibration is None:
            return find_artifact(request) or _no_int8(request)
        return obtain_artifact(
            request,
            calibration=matrix.calibration if int8 else None,
            offline=matrix.offline,
            run=RunOptions(row.name),
            on_export=lambda _: log.info(f"Exporting {request.path} first: it is missing, or not as requested."),
            progress=progress,
        )
    except (UsageError, BackendUnavailable, ArtifactError, ParityError, LimitExceeded) as error:
        return error


def _no_int8(request: ArtifactSpec) -> UsageError:
    """Return the error for a missing int8 model where there are no photos to calibrate it; it says what to do."""
    require_request(request, Path())
    options = request.options
    words = f"fmedge export --layer {request.submodel.label} --format {options.format} --precision int8"
    flags = f"{'--tap float ' if options.float_tap else ''}{'--seven-bit ' if options.seven_bit else ''}"
    return UsageError("No int8 model.", hint=f"Make one: {words} {flags}--calibration DIR")
