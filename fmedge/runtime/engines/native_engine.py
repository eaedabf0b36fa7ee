"""fmedge's own kernels: chains of 3 x 3 convolutions by Winograd's method."""

from __future__ import annotations

import contextlib
import weakref
from collections import Counter
from collections.abc import Mapping, Sequence
from ctypes import POINTER, byref, c_size_t, c_uint32, c_void_p, cast, sizeof

import numpy as np

from fmedge.errors import ArtifactError, LimitExceeded, ProviderUnavailable
from fmedge.model.artifact import Artifact
from fmedge.model.native_format import HEADER, LAYER, Kind
from fmedge.model.run_options import RunOptions
from fmedge.runtime.backends import Provider
from fmedge.runtime.engines import packed_weights
from fmedge.runtime.engines.native_library import (
    MAX_CPUS,
    MAX_THREADS,
    ChainError,
    Options,
    Status,
    best_kernels,
    call,
    require,
)
from fmedge.runtime.engines.packed_weights import Bytes
from fmedge.runtime.placement import Placement
from fmedge.runtime.session import FloatArray, Images, failure
from fmedge.system.memory import available_bytes, require_memory

_CPU = "CPU"

_SPIN_US, _SHORT_SPIN_US = 2_000, 100
"""How long threads without work spin before they sleep, in microseconds: between runs that follow each other closely,
and otherwise only within a run."""

_TO_START = 16 << 20
"""Further memory that loading takes, in bytes: the threads' stacks, and buffers to transform kernels in."""

_BEST = 0
"""The fastest kernels that the processor can run."""


class NativeEngine:
    """A model loaded into fmedge's own kernels; see :class:`fmedge.runtime.session.Engine`."""

    name = "native"
    owned = True
    errors: tuple[type[Exception], ...] = (ChainError,)

    def __init__(self, artifact: Artifact, chain: c_void_p, packed: Bytes | None) -> None:
        """Take over an open chain.

        Args:
            artifact: The model.
            packed: The packed weights that the chain reads; None where it has its own.
            chain: It is closed with the engine, or when the engine is freed; but not in a forked process, which
                inherits none of its threads.
        """
        self._chain = chain
        self._packed = packed
        self._close = weakref.finalize(self, call, "close", chain)
        self._close.atexit = False
        self._taps = [spec.name for spec in artifact.card.outputs]
        self._size: tuple[int, int, int] = (0, 0, 0)
        self._shapes: list[tuple[int, int, int, int]] = []
        self.active_provider = _CPU
        self.placement: Placement = {_CPU: _count_layers(artifact.model)}

    def compute(self, images: Images, out: Mapping[str, FloatArray]) -> Mapping[str, FloatArray]:
        """See :meth:`fmedge.runtime.session.Engine.compute`."""
        size = images.shape[0], images.shape[1], images.shape[2]
        if size != self._size:
            self._shapes = self._shapes_for(size)
            self._size = size
        found: dict[str, FloatArray] = {}
        for name, shape in zip(self._taps, self._shapes, strict=True):
            given = out.get(name)
            found[name] = np.empty(shape, np.float32) if given is None else given
        count = len(found)
        pointers = (c_void_p * count)(*(maps.ctypes.data for maps in found.values()))
        floats = (c_size_t * count)(*(maps.size for maps in found.values()))
        require("run", self._chain, images.ctypes.data, *size, pointers, floats, count)
        return found

    def _shapes_for(self, size: tuple[int, int, int]) -> list[tuple[int, int, int, int]]:
        """Return the shapes of the taps, and check that there is memory for a run.

        Raises:
            LimitExceeded: There is less.
        """
        count, height, width = size
        shapes: list[tuple[int, int, int, int]] = []
        extents = (c_uint32 * 3)()
        for tap in range(len(self._taps)):
            require("tap_shape", self._chain, tap, height, width, extents)
            shapes.append((count, extents[0], extents[1], extents[2]))
        needed = c_size_t()
        require("run_bytes", self._chain, *size, byref(needed))
        require_memory(f"A run on {count:,} x {height:,} x {width:,} pixels", needed.value)
        return shapes

    def close(self) -> None:
        """See :meth:`fmedge.runtime.session.Engine.close`."""
        self._close()


def is_present(provider: Provider) -> bool:
    """See :meth:`fmedge.runtime.backends.Adapter.is_present`."""
    return provider.name == _CPU


def open_engine(artifact: Artifact, provider: Provider, threads: int, options: RunOptions) -> NativeEngine:
    """See :meth:`fmedge.runtime.backends.Adapter.open_engine`."""
    del provider
    try:
        chain, packed = _open(artifact, _settings(threads, options))
    except MemoryError as error:
        raise LimitExceeded(f"Not enough memory to load '{artifact.path}'.") from error
    except ChainError as error:
        if error.status == Status.NO_KERNELS:
            raise ProviderUnavailable(
                "This processor, or this build of fmedge-native, lacks the kernels.", hint="Use another --backend."
            ) from error
        raise failure(error, f"fmedge-native cannot load '{artifact.path}'") from error
    engine = NativeEngine(artifact, chain, packed)
    if call("tap_count", chain) != len(artifact.card.outputs):
        engine.close()
        raise ArtifactError(
            f"'{artifact.path}' has outputs other than its card says.", hint="Export it again: fmedge export."
        )
    return engine


def _settings(threads: int, options: RunOptions) -> Options:
    settings = Options(struct_size=sizeof(Options), threads=min(threads, MAX_THREADS), kernels=_BEST)
    settings.spin_us = _SPIN_US if options.spinning else _SHORT_SPIN_US
    cpus = _cores(options.cpus)
    if cpus:
        settings.cpus = cast((c_uint32 * len(cpus))(*cpus), POINTER(c_uint32))
        settings.cpu_count = len(cpus)
    return settings


def _cores(cpus: Sequence[int] | None) -> Sequence[int]:
    return () if cpus is None else cpus[:MAX_CPUS]


def _open(artifact: Artifact, settings: Options) -> tuple[c_void_p, Bytes | None]:
    """Open a chain; the model's bytes are not needed after that, but the packed weights are, where they are returned.

    Large packed weights are kept on disk from one run to the next. The library checks that they are those of the model.
    """
    model = np.frombuffer(artifact.model, np.uint8)
    size = c_size_t()
    require("packed_bytes", model.ctypes.data, model.size, settings.kernels, byref(size))
    if size.value < packed_weights.LEAST_BYTES:
        _require_room(artifact, size.value)
        return _open_chain(model, settings, None), None
    name = f"{artifact.card.file_sha256}.{best_kernels()}"
    packed = packed_weights.find(name, size.value)
    if packed is not None:
        with contextlib.suppress(ChainError):  # damaged, or of another version: packed anew below
            return _open_chain(model, settings, packed), packed
    _require_room(artifact, size.value)
    packed = packed_weights.new(size.value)
    require("pack", model.ctypes.data, model.size, settings.kernels, settings.threads, packed.ctypes.data, packed.size)
    chain = _open_chain(model, settings, packed)
    packed_weights.keep(name, packed)
    return chain, packed


def _open_chain(model: Bytes, settings: Options, packed: Bytes | None) -> c_void_p:
    if packed is not None:
        settings.packed, settings.packed_bytes = packed.ctypes.data, packed.size
    chain = c_void_p()
    require("open", model.ctypes.data, model.size, byref(settings), byref(chain))
    return chain


def _require_room(artifact: Artifact, packed_bytes: int) -> None:
    """Check that there is memory for the weights as the kernels take them.

    Raises:
        LimitExceeded: There is less.
    """
    wanted, free = packed_bytes + _TO_START, available_bytes()
    if free is not None and wanted > free:
        raise LimitExceeded(
            f"native needs about {wanted / 1e6:,.0f} MB to load '{artifact.path}'; {free / 1e6:,.0f} MB is free.",
            hint="Use a shallower layer, or --format onnx.",
        )


def _count_layers(model: bytes) -> dict[str, int]:
    """Count a model's layers by their kind; the gate has checked the table."""
    count = HEADER.unpack_from(model)[1]
    kinds = (LAYER.unpack_from(model, HEADER.size + LAYER.size * place)[0] for place in range(count))
    return dict(Counter(Kind(kind).name.capitalize() for kind in kinds))
