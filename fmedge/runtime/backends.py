"""The table of engines and their devices, and opening a session on one of them."""

from __future__ import annotations

import contextlib
import importlib
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal, Protocol, cast

from fmedge import trust
from fmedge.artifact import Artifact, files_sha256
from fmedge.card import ModelCard
from fmedge.errors import BackendUnavailable, ProviderUnavailable, UsageError, closest
from fmedge.floors import is_shortage, require_floor, shortage
from fmedge.machine import processor_features, sums_saturate
from fmedge.memory import vgg16_bytes
from fmedge.run_options import Math, RunOptions
from fmedge.runtime.gate import require_artifact
from fmedge.runtime.session import Engine, Session, bound_to
from fmedge.submodel import VGG16, Format, Precision
from fmedge.vgg16 import INPUT_SIZE


@dataclass(frozen=True, slots=True)
class Provider:
    """An engine's name for a device.

    Attributes:
        device: Ours: what ``--device`` takes.
        name: As the engine spells it, such as ``CPUExecutionProvider``.
        install: The command that installs what it needs.
    """

    device: str
    name: str
    install: str


@dataclass(frozen=True, slots=True)
class Backend:
    """A row of the table.

    Attributes:
        name: What ``--backend`` takes.
        formats: Model files it runs.
        module: Our adapter, imported when used: an :class:`Adapter`.
        package: The engine's import package.
        providers: Its devices: the CPU first, then the best first.
        maths: Arithmetic it can be asked for on the CPU.
        without_vnni: What it makes of int8 models with weights of 8 bits on x86 without VNNI: ``exact`` sums, ``wide``
            ones when it is asked for them, or sums that ``overflow``.
    """

    name: str
    formats: tuple[Format, ...]
    module: str
    package: str
    providers: tuple[Provider, ...]
    maths: tuple[Math, ...] = ("fp32",)
    without_vnni: Literal["exact", "wide", "overflow"] = "exact"

    @property
    def install(self) -> str:
        """The command that installs the engine."""
        return self.providers[0].install

    @property
    def installed(self) -> bool:
        """Whether the engine's package is there; whether it loads is another matter."""
        return find_spec(self.package) is not None


class Adapter(Protocol):
    """What our module for an engine has."""

    def is_present(self, provider: Provider) -> bool:
        """Whether a device is likely to be there, as far as the engine can tell without a model."""
        ...

    def open_engine(self, artifact: Artifact, provider: Provider, threads: int, options: RunOptions) -> Engine:
        """Load a model.

        Args:
            artifact: The model.
            provider: Where it shall compute.
            threads: CPU threads that compute.
            options: The other choices of the run.

        Raises:
            ProviderUnavailable: The device is not there, or does not take the model as a whole.
            ArtifactError: The engine refuses the model.
            LimitExceeded: Memory ran out.
        """
        ...


def _extra(name: str) -> str:
    return f"pip install 'fmedge[{name}]'"


_CPU, _GPU = _extra("cpu"), f"pip uninstall onnxruntime, then {_extra('gpu')}"

BACKENDS: tuple[Backend, ...] = (
    Backend(
        "onnxruntime",
        (Format.ONNX,),
        "fmedge.runtime.onnxruntime_backend",
        "onnxruntime",
        (
            Provider("cpu", "CPUExecutionProvider", _CPU),
            Provider("cuda", "CUDAExecutionProvider", _GPU),
            Provider("tensorrt", "TensorrtExecutionProvider", _GPU),
            Provider("dml", "DmlExecutionProvider", "pip uninstall onnxruntime, then pip install onnxruntime-directml"),
            Provider("coreml", "CoreMLExecutionProvider", f"{_CPU} (macOS)"),
            Provider(
                "openvino",
                "OpenVINOExecutionProvider",
                "pip uninstall onnxruntime, then pip install onnxruntime-openvino",
            ),
        ),
        without_vnni="wide",
    ),
    Backend(
        "openvino",
        (Format.ONNX,),
        "fmedge.runtime.openvino_backend",
        "openvino",
        (Provider("cpu", "CPU", _extra("openvino")), Provider("gpu", "GPU", _extra("openvino"))),
        ("fp32", "bf16"),
        without_vnni="overflow",
    ),
    Backend(
        "ncnn",
        (Format.NCNN,),
        "fmedge.runtime.ncnn_backend",
        "ncnn",
        (Provider("cpu", "CPU", _extra("ncnn")), Provider("vulkan", "Vulkan", _extra("ncnn"))),
        ("fp32", "bf16"),
    ),
    Backend(
        "litert",
        (Format.TFLITE,),
        "fmedge.runtime.litert_backend",
        "ai_edge_litert",
        (Provider("cpu", "XNNPACK", _extra("litert")), Provider("gpu", "GPU", _extra("litert"))),
    ),
)
"""The engines, the preferred one first; LiteRT is last because its files are written by TensorFlow, which few have."""

WIDE = "wide int8"
"""Arithmetic that int8 models get on x86 without VNNI: products of bytes in 32 bits, slower and exact."""

NOT_GPUS = ("cpu", "openvino")
"""Devices that ``gpu`` does not stand for: ONNX Runtime's OpenVINO provider computes on the CPU unless told so."""

MOST_THREADS = 64
"""Threads allowed where there are fewer cores: more would only cost memory."""


def find_backend(name: str) -> Backend:
    """The row of the engine with that name.

    Raises:
        UsageError: There is no such engine.
    """
    for backend in BACKENDS:
        if backend.name == name:
            return backend
    names = [backend.name for backend in BACKENDS]
    raise UsageError(f"Unknown backend '{name}'.{closest(name, names)} Allowed: {', '.join(names)}.")


def choose_backend(options: RunOptions, model_format: Format | None = None) -> Backend:
    """The engine that a run takes first, checked before any work.

    Args:
        options: How it shall run.
        model_format: Of which kind the model is; None leaves it to the engine.

    Raises:
        UsageError: The engine or the device does not exist, or the engine does not take the format.
        BackendUnavailable: The engine is not installed.
    """
    candidates = _candidates(options, model_format)
    backend, provider = candidates[0]
    if not backend.installed:
        raise _not_installed(backend, provider)
    if options.device != "cpu":
        there = (row for row, device in candidates if _load_adapter(row, device).is_present(device))
        backend = next(there, backend)
    return backend


def _not_installed(backend: Backend, provider: Provider) -> BackendUnavailable:
    state = "does not load" if backend.installed else "is not installed"
    return BackendUnavailable(f"{backend.name} {state}. Install it: {provider.install}.")


def default_format(options: RunOptions | None = None) -> Format:
    """The kind of model file that the first installed engine prefers; where none is, the first of the table."""
    return _candidates(options or RunOptions(), None)[0][0].formats[0]


def engine_version(backend: Backend) -> str:
    """Version of an engine that is installed; imports it.

    Raises:
        BackendUnavailable: It does not load.
    """
    _load_adapter(backend, backend.providers[0])  # first: it says how the engine's threads wait
    return str(getattr(importlib.import_module(backend.package), "__version__", "unknown"))


def load_engine_early(options: RunOptions, model_format: Format | None) -> None:
    """Import the engine that a run takes first, for a thread to do; what is wrong is told when it is opened."""
    with contextlib.suppress(Exception):
        _load_adapter(*_candidates(options, model_format)[0])


def has_device(backend: Backend, device: str) -> bool:
    """Whether an engine knows a device by that name; whether it is there is another matter."""
    return bool(_providers(backend, device))


def usable_cpus() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def open_session(artifact: Artifact, options: RunOptions | None = None) -> Session:
    """Load a model into an engine. One that fmedge did not make on this machine is first tried in a process of its own.

    Args:
        artifact: From ``read_artifact``.
        options: How it shall run; None takes the defaults.

    Returns:
        A session; use it in a ``with`` block.

    Raises:
        UsageError: The engine, the device or the number of threads does not exist, or the engine
            does not take the artifact's format.
        BackendUnavailable: The engine is not installed.
        ProviderUnavailable: The device cannot be used here, or does not take the model as a whole.
        ArtifactError: The gate or the engine refuses the model.
        LimitExceeded: It is larger than allowed, crashed the process in which it was tried, or memory ran out.
    """
    return _open(artifact, options or RunOptions(), _require_known)


def open_for_trial(artifact: Artifact, backend: str) -> Session:
    """Load a model, of which nothing is known, on one thread of the CPU: for :mod:`fmedge.runtime.trial` alone."""
    return _open(artifact, RunOptions(backend=backend, threads=1, spinning=False), lambda artifact, backend: None)


def _open(artifact: Artifact, options: RunOptions, prepare: Callable[[Artifact, Backend], None]) -> Session:
    threads = _count_threads(options)
    candidates = _candidates(options, artifact.card.format)
    require_artifact(artifact)
    for backend, provider in candidates:
        require_floor(backend.name, threads, *_sizes(artifact))
        math = _arithmetic(artifact.card, backend, provider, options)
        adapter = _load_adapter(backend, provider)
        prepare(artifact, backend)
        try:
            with bound_to(options.cpus):
                engine = adapter.open_engine(artifact, provider, threads, options)
        except ProviderUnavailable:
            if len(candidates) == 1:
                raise
            continue
        return Session(engine, artifact.card, threads, math, options.cpus)
    tried: dict[str, list[str]] = {}
    for backend, provider in candidates:
        tried.setdefault(backend.name, []).append(provider.device)
    words = "; ".join(f"{name}: {', '.join(devices)}" for name, devices in tried.items())
    raise ProviderUnavailable(f"No GPU works here ({words}). Why: fmedge doctor.")


def _arithmetic(card: ModelCard, backend: Backend, provider: Provider, options: RunOptions) -> str:
    """What a run computes in, for the record.

    Raises:
        ProviderUnavailable: The engine's int8 sums would overflow on this processor.
    """
    overflow = int8_overflows(card, provider)
    if backend.without_vnni == "wide" and overflow is not False:
        return WIDE
    if backend.without_vnni == "overflow" and overflow:
        raise ProviderUnavailable(
            f"{backend.name}'s int8 sums overflow on this processor (x86 without VNNI). Take --backend onnxruntime, "
            "or a model made with fmedge export --seven-bit."
        )
    return options.math


def int8_overflows(card: ModelCard, provider: Provider) -> bool | None:
    """Whether an int8 model's sums do not fit where this processor is fastest; None where nobody knows."""
    if card.precision is not Precision.INT8 or card.options.seven_bit or provider.device != "cpu":
        return False
    return sums_saturate(platform.machine(), processor_features())


def _require_known(artifact: Artifact, backend: Backend) -> None:
    """Try a model in a child process, once per model and version of the engine; ours were made here and are not tried.

    The hash in the card is the one that ``read_artifact`` compared with the very bytes that the engine gets.

    Raises:
        ArtifactError: See :func:`fmedge.runtime.trial.try_model`.
        LimitExceeded: Likewise.
    """
    digest = artifact.card.file_sha256 or files_sha256(artifact.model, artifact.weights)
    version = engine_version(backend)
    engine = f"{backend.name}-{''.join(letter if letter.isalnum() or letter in '.-' else '_' for letter in version)}"
    if not trust.is_known(digest, engine):
        from fmedge.runtime.trial import try_model

        try_model(artifact, backend.name)
        trust.remember_tried(digest, engine)


def _sizes(artifact: Artifact) -> tuple[int, int]:
    """Bytes of a model as float32, and of a run's values beyond those of one photo of VGG16's own size."""
    card = artifact.card
    size = artifact.size * (2 if card.precision is Precision.FP16 else 1)
    if card.submodel.source != VGG16:
        return size, 0
    deepest, count = card.submodel.deepest, card.options.batch or 1
    wanted = vgg16_bytes(deepest, count, *(card.options.size or INPUT_SIZE))
    return size, max(0, wanted - vgg16_bytes(deepest, 1, *INPUT_SIZE))


def _count_threads(options: RunOptions) -> int:
    cores = usable_cpus() if options.cpus is None else len(set(options.cpus))
    count = cores if options.threads is None else options.threads
    most = max(MOST_THREADS, usable_cpus())
    if not 1 <= count <= most:
        raise UsageError(f"--threads {count}: at least 1 is needed, and at most {most} are allowed.")
    return count


def _load_adapter(backend: Backend, provider: Provider) -> Adapter:
    require_floor(backend.name)
    try:
        return cast("Adapter", importlib.import_module(backend.module))
    except (ImportError, OSError) as error:  # libraries that are loaded by hand
        if is_shortage(error):
            raise shortage() from error
        raise _not_installed(backend, provider) from error


def _candidates(options: RunOptions, model_format: Format | None) -> Sequence[tuple[Backend, Provider]]:
    """What could serve a run, the preferred first; never empty.

    Where none of the engines is installed, the first of them stands for the message that follows.
    """
    rows = BACKENDS if options.backend is None else (find_backend(options.backend),)
    if model_format is not None:
        fitting = [row for row in rows if model_format in row.formats]
        if not fitting:
            (row,) = rows
            raise UsageError(f"{row.name} does not run {model_format} models. Allowed: {', '.join(row.formats)}.")
        rows = fitting
    able = [row for row in rows if options.math in row.maths]
    if not able:
        names = [row.name for row in BACKENDS if options.math in row.maths]
        raise UsageError(f"{rows[0].name} has no --math {options.math}. Backends that have it: {', '.join(names)}.")
    pairs = [(row, provider) for row in able for provider in _providers(row, options.device)]
    if not pairs:
        devices = sorted({provider.device for row in able for provider in row.providers} | {"gpu"})
        raise UsageError(
            f"Unknown device '{options.device}'{'' if options.backend is None else f' for {options.backend}'}."
            f"{closest(options.device, devices)} Allowed: {', '.join(devices)}."
        )
    there = [(row, provider) for row, provider in pairs if row.installed]
    if not there:
        return pairs[:1]
    return there if options.device == "gpu" else there[:1]


def _providers(row: Backend, device: str) -> list[Provider]:
    """The providers of an engine that a device's name stands for."""
    if device == "gpu":
        return [provider for provider in row.providers if provider.device not in NOT_GPUS]
    if row.name == "onnxruntime" and device.endswith("ExecutionProvider"):
        known = [provider for provider in row.providers if provider.name == device]
        return known or [Provider(device, device, "an onnxruntime that was built with it")]
    return [provider for provider in row.providers if provider.device == device]
