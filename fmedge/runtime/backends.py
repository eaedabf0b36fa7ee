"""The table of engines, and opening a session on one of them."""

from __future__ import annotations

import hashlib
import importlib
import os
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from fmedge import trust
from fmedge.artifact import Artifact
from fmedge.errors import BackendUnavailable, UsageError, closest
from fmedge.runtime.gate import require_artifact
from fmedge.runtime.session import Session
from fmedge.submodel import Format


@dataclass(frozen=True, slots=True)
class Backend:
    """A row of the table.

    Attributes:
        name: What ``--backend`` takes.
        formats: Model files it runs.
        module: Our adapter, imported when used. It has
            ``open_backend(artifact, device, threads, spinning) -> Session``.
        package: The engine's import package.
        extra: The pip extra that installs it.
        devices: What ``--device`` takes with it.
    """

    name: str
    formats: tuple[Format, ...]
    module: str
    package: str
    extra: str
    devices: tuple[str, ...]


BACKENDS: tuple[Backend, ...] = (
    Backend("onnxruntime", (Format.ONNX,), "fmedge.runtime.onnxruntime_backend", "onnxruntime", "cpu", ("cpu",)),
    Backend("litert", (Format.TFLITE,), "fmedge.runtime.litert_backend", "ai_edge_litert", "litert", ("cpu",)),
)
"""The engines, the preferred one first."""


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


def _backend_for(model_format: Format) -> Backend:
    """The first engine of the table that runs a format and is installed; where none is, the first of them."""
    rows = [row for row in BACKENDS if model_format in row.formats]
    return next((row for row in rows if find_spec(row.package) is not None), rows[0])


def usable_cpus() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def open_session(
    artifact: Artifact,
    *,
    backend: str | None = None,
    device: str = "cpu",
    threads: int | None = None,
    spinning: bool = True,
) -> Session:
    """Load a model into an engine. One that fmedge did not make on this machine is first tried in a process of its own.

    Args:
        artifact: From ``read_artifact``.
        backend: Name of the engine; None takes the first of the table that runs the artifact's format.
        device: Where it shall compute; it does so there or not at all.
        threads: CPU threads; None takes one per core that this process may use.
        spinning: Whether idle threads wait awake, where the engine leaves the choice: faster between runs
            that follow each other, slower where other work goes on beside.

    Returns:
        A session; use it in a ``with`` block.

    Raises:
        UsageError: The engine, the device or the number of threads does not exist, or the engine
            does not take the artifact's format.
        BackendUnavailable: The engine is not installed.
        ProviderUnavailable: The device cannot be used here.
        ArtifactError: The gate or the engine refuses the model.
        LimitExceeded: It is larger than allowed, or crashed the process in which it was tried.
    """
    row = _backend_for(artifact.card.format) if backend is None else find_backend(backend)
    if artifact.card.format not in row.formats:
        raise UsageError(f"{row.name} does not run .{artifact.card.format} files. Allowed: {', '.join(row.formats)}.")
    if device not in row.devices:
        raise UsageError(f"Unknown device '{device}' for {row.name}. Allowed: {', '.join(row.devices)}.")
    count = usable_cpus() if threads is None else threads
    most = max(MOST_THREADS, usable_cpus())
    if not 1 <= count <= most:
        raise UsageError(f"--threads {count}: at least 1 is needed, and at most {most} are allowed.")
    require_artifact(artifact)
    _require_known(artifact, row)
    return load_session(artifact, row, device, count, spinning)


def load_session(artifact: Artifact, row: Backend, device: str, threads: int, spinning: bool) -> Session:
    """Load a model that is known, or that is being tried; the arguments are those of :func:`open_session`, checked."""
    session: Session = _adapter(row).open_backend(artifact, device, threads, spinning)
    return session


def _adapter(row: Backend) -> Any:  # noqa: ANN401 - a module of ours, known by the table
    try:
        return importlib.import_module(row.module)
    except ImportError as error:
        state = "does not load" if find_spec(row.package) else "is not installed"
        mend = f"pip install 'fmedge[{row.extra}]'"
        raise BackendUnavailable(f"{row.name} {state}. Install it: {mend}.") from error


def _require_known(artifact: Artifact, row: Backend) -> None:
    """Try a model in a child process, once per model and version of the engine; ours were made here and are not tried.

    Raises:
        ArtifactError: See :func:`fmedge.runtime.trial.try_model`.
        LimitExceeded: Likewise.
    """
    _adapter(row)  # an engine that is missing is the plainer error
    digest = artifact.card.file_sha256 or hashlib.sha256(artifact.model).hexdigest()
    version = getattr(importlib.import_module(row.package), "__version__", "unknown")
    engine = f"{row.name}-{''.join(letter if letter.isalnum() or letter in '.-' else '_' for letter in version)}"
    if not trust.is_known(digest, engine):
        from fmedge.runtime.trial import try_model

        try_model(artifact, row.name)
        trust.remember_tried(digest, engine)
