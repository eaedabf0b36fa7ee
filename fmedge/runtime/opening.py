"""Choosing an engine and a device out of the table, and opening a session there."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Sequence
from typing import cast

from fmedge import trust
from fmedge.artifact import Artifact, files_sha256
from fmedge.card import ModelCard
from fmedge.choices import require_record
from fmedge.errors import BackendUnavailable, ProviderUnavailable, UsageError, closest
from fmedge.floors import is_shortage, require_floor, shortage
from fmedge.memory import vgg16_bytes
from fmedge.run_options import RunOptions
from fmedge.runtime.backends import (
    BACKENDS,
    MOST_THREADS,
    WIDE,
    Adapter,
    Backend,
    Provider,
    default_threads,
    find_backend,
    int8_overflows,
    providers_for,
    usable_cpus,
)
from fmedge.runtime.gate import require_artifact
from fmedge.runtime.session import Session, bound_to
from fmedge.submodel import VGG16, Format, Precision
from fmedge.vgg16 import INPUT_SIZE


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
    require_record("options", options, RunOptions)
    artifact.card.require_room()
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
    """What a run computes in, for the record."""
    wide = backend.without_vnni == "wide" and int8_overflows(card, provider) is not False
    return WIDE if wide else options.math


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
    count = default_threads(options.cpus) if options.threads is None else options.threads
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
            raise shortage(error) from error
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
    pairs = [(row, provider) for row in able for provider in providers_for(row, options.device)]
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
