"""Choose an engine and a device from the table, and open a session there."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import cast

from fmedge.errors import BackendUnavailable, ProviderUnavailable, UsageError, closest
from fmedge.model import known_models
from fmedge.model.artifact import Artifact
from fmedge.model.card import ModelCard
from fmedge.model.footprint import run_bytes
from fmedge.model.run_options import RunOptions
from fmedge.model.stock import INPUT_SIZE
from fmedge.model.submodel import Format, Precision
from fmedge.runtime import forks
from fmedge.runtime.backends import (
    BACKENDS,
    MAX_THREADS,
    WIDE,
    Adapter,
    Backend,
    Provider,
    Wish,
    default_threads,
    find_backend,
    int8_overflows,
    providers_for,
    usable_cpus,
)
from fmedge.runtime.cores import bound_to
from fmedge.runtime.gate.bounds import Needs, Shape
from fmedge.runtime.gate.checks import require_artifact
from fmedge.runtime.session import Engine, Session
from fmedge.system.address_space import is_shortage, require_floor, restrict, shortage
from fmedge.system.choices import require_record


def choose_backend(options: RunOptions, model_format: Format | None = None, wish: Wish | None = None) -> Backend:
    """Choose the backend that a run tries first, and check it before any work.

    Args:
        options: How to run.
        model_format: Format of the model; None leaves it to the engine.
        wish: What the model has to be besides; None stands for a stock network in float32.

    Raises:
        UsageError: The engine or the device does not exist, or the engine does not take the format.
        BackendUnavailable: The engine is not installed.
    """
    candidates = _candidates(options, model_format, wish)
    backend, provider = candidates[0]
    if not backend.installed:
        raise _not_installed(backend, provider)
    if options.device != "cpu":
        there = (row for row, device in candidates if _load_adapter(row, device).is_present(device))
        backend = next(there, backend)
    return backend


def _not_installed(backend: Backend, provider: Provider) -> BackendUnavailable:
    state = "cannot be loaded" if backend.installed else "is not installed"
    return BackendUnavailable(f"{backend.name} {state}.", hint=f"Install it: {provider.install}.")


def default_format(options: RunOptions | None = None, wish: Wish | None = None) -> Format:
    """Return the format that the first suitable engine prefers: one that is installed, if there is any.

    Args:
        options: How the model will be run.
        wish: What it has to be; None stands for a stock network in float32.
    """
    return _candidates(options or RunOptions(), None, wish)[0][0].formats[0]


def export_format(wish: Wish | None = None) -> Format:
    """Return the format of a model that is exported for its own sake: one that other programs run, too.

    That is the format of the first suitable engine that runs any network and is installed. A format of an engine for
    some networks only is taken where no other engine is installed.

    Args:
        wish: What the model has to be; None stands for a stock network in float32.
    """
    suitable = [row for row in BACKENDS if (wish or Wish()).suits(row)]
    installed = [row for row in suitable if row.installed]
    return min(installed or suitable, key=lambda row: row.special).formats[0]


def engine_version(backend: Backend) -> str:
    """Import an installed engine and return its version.

    Raises:
        BackendUnavailable: It does not load.
    """
    _load_adapter(backend, backend.providers[0])  # before the engine: it sets how the engine's threads wait
    return str(getattr(importlib.import_module(backend.package), "__version__", "unknown"))


def load_engine_early(options: RunOptions, model_format: Format | None, wish: Wish | None = None) -> None:
    """Import the engine that a run tries first, in a background thread; errors are reported when it is opened."""
    with contextlib.suppress(Exception):
        _load_adapter(*_candidates(options, model_format, wish)[0])


def open_session(artifact: Artifact, options: RunOptions | None = None) -> Session:
    """Load a model into an engine. A model that this user's fmedge did not make runs in a separate process.

    Args:
        artifact: The model, from ``read_artifact``.
        options: How to run it; None takes the defaults.

    Returns:
        A session; use it in a ``with`` block.

    Raises:
        UsageError: The engine, the device or the number of threads does not exist, or the engine
            does not take the artifact's format.
        BackendUnavailable: The engine is not installed.
        ProviderUnavailable: The device cannot be used here, or cannot run the whole model.
        ArtifactError: The gate or the engine refuses the model.
        LimitExceeded: The model is larger than allowed, it crashed the process that it runs in, or memory ran out.
    """
    require_record("options", options, RunOptions)
    return _open(artifact, options or RunOptions(), _engine_for)


def open_bounded(artifact: Artifact, options: RunOptions, images: Shape) -> Session:
    """Open a session as :func:`open_session` does, in a process that runs nothing but this model and may crash with it.

    If the model is not known, the process gets the limits that a separate one would get for images of that shape.
    """
    return _open(artifact, options, partial(_bounded_engine, images))


def open_engine(artifact: Artifact, options: RunOptions) -> Engine:
    """Load a model that has passed the gate, on the engine and the device that the options name."""
    (backend, provider), *_ = _candidates(options, artifact.card.format)
    with bound_to(options.cpus):
        forks.loaded(backend.name, provider.device)
        return _load_adapter(backend, provider).open_engine(artifact, provider, _count_threads(options), options)


def load_adapter(options: RunOptions) -> None:
    """Import the engine that the options name.

    Raises:
        BackendUnavailable: It does not load.
    """
    _load_adapter(*_candidates(options, None)[0])


_Needs = Callable[[Shape], Needs]
_Opener = Callable[[Artifact, RunOptions, _Needs], Engine]
"""Load a model on the engine and the device, and with the number of threads, that the options name."""


def _engine_for(artifact: Artifact, options: RunOptions, needs: _Needs) -> Engine:
    if known_models.is_known(artifact.card) and not forks.is_stuck(str(options.backend), options.device):
        return open_engine(artifact, options)
    from fmedge.runtime.isolated import IsolatedEngine

    return IsolatedEngine(artifact, options, needs)


def _bounded_engine(images: Shape, artifact: Artifact, options: RunOptions, needs: _Needs) -> Engine:
    if not known_models.is_known(artifact.card):
        from fmedge.runtime.isolated import address_bytes, require_products

        require_products(needs(images), images)
        restrict(address_bytes(options, artifact.size, needs(images)))
    return open_engine(artifact, options)


def _open(artifact: Artifact, options: RunOptions, opened: _Opener) -> Session:
    threads, card = _count_threads(options), artifact.card
    candidates = _candidates(options, card.format)
    needs = lru_cache(4)(require_artifact(artifact).needs)
    card.require_room()
    for backend, provider in candidates:
        require_floor(backend.name, threads, *_sizes(artifact))
        math = _arithmetic(card, backend, provider, options)
        try:
            engine = opened(
                artifact, replace(options, backend=backend.name, device=provider.device, threads=threads), needs
            )
        except ProviderUnavailable:
            if len(candidates) == 1:
                raise
            continue
        return Session(engine, card, threads, math, options.cpus, needs)
    tried: dict[str, list[str]] = {}
    for backend, provider in candidates:
        tried.setdefault(backend.name, []).append(provider.device)
    words = "; ".join(f"{name}: {', '.join(devices)}" for name, devices in tried.items())
    raise ProviderUnavailable(f"No GPU works here ({words}).", hint="To see why: fmedge doctor.")


def _arithmetic(card: ModelCard, backend: Backend, provider: Provider, options: RunOptions) -> str:
    """Return the arithmetic of a run, for the record."""
    wide = backend.without_vnni == "wide" and int8_overflows(card, provider) is not False
    return WIDE if wide else options.math


def _sizes(artifact: Artifact) -> tuple[int, int]:
    """Return the bytes of a model as float32, and of a run's values beyond those of one photo of the usual size."""
    card = artifact.card
    size = artifact.size * (2 if card.precision is Precision.FP16 else 1)
    if card.submodel.stock is None:
        return size, 0
    layers, count = card.submodel.stock_layers, card.options.batch or 1
    wanted = run_bytes(layers, count, *(card.options.size or INPUT_SIZE))
    return size, max(0, wanted - run_bytes(layers, 1, *INPUT_SIZE))


def _count_threads(options: RunOptions) -> int:
    count = default_threads(options.cpus) if options.threads is None else options.threads
    most = max(MAX_THREADS, usable_cpus())
    if not 1 <= count <= most:
        raise UsageError(f"threads {count} is out of range. Allowed: 1 to {most}.", flags=("--threads",))
    return count


def _load_adapter(backend: Backend, provider: Provider) -> Adapter:
    require_floor(backend.name)
    forks.loaded(backend.name)
    try:
        return cast("Adapter", importlib.import_module(backend.module))
    except (ImportError, OSError) as error:  # OSError: from libraries that are loaded by hand
        if is_shortage(error):
            raise shortage(error) from error
        raise _not_installed(backend, provider) from error


def _candidates(
    options: RunOptions, model_format: Format | None, wish: Wish | None = None
) -> Sequence[tuple[Backend, Provider]]:
    """Return the backends and providers that could serve a run, in order of preference; never empty.

    If no suitable engine is installed, the first one that runs any network is returned, for the error message that
    follows.

    Raises:
        UsageError: No engine fits: the format, the arithmetic or the device is another.
    """
    rows = BACKENDS if options.backend is None else (find_backend(options.backend),)
    if model_format is not None:
        fitting = [row for row in rows if model_format in row.formats]
        if not fitting:
            (row,) = rows
            raise UsageError(f"{row.name} does not run {model_format} models. Allowed: {', '.join(row.formats)}.")
        rows = fitting
    elif options.backend is None:
        rows = [row for row in rows if (wish or Wish()).suits(row)]
    able = [row for row in rows if options.math in row.maths]
    if not able:
        names = [row.name for row in BACKENDS if options.math in row.maths]
        raise UsageError(
            f"{rows[0].name} does not offer math {options.math}. Backends that do: {', '.join(names)}.",
            flags=("--math",),
        )
    pairs = [(row, provider) for row in able for provider in providers_for(row, options.device)]
    if not pairs:
        found = {provider.device for row in able for provider in row.providers}
        devices = sorted(found | ({"gpu"} if any(providers_for(row, "gpu") for row in able) else set()))
        raise UsageError(
            f"Unknown device '{options.device}'{'' if options.backend is None else f' for {options.backend}'}."
            f"{closest(options.device, devices)} Allowed: {', '.join(devices)}."
        )
    there = [(row, provider) for row, provider in pairs if row.installed]
    if not there:
        return sorted(pairs, key=lambda pair: pair[0].special)[:1]
    return there if options.device == "gpu" else there[:1]
