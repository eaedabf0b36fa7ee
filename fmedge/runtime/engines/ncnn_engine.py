"""ncnn: a small engine, fast on long chains of 3x3 convolutions, which it computes by Winograd's method."""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false, reportMissingImports=false
# pyright: reportUntypedBaseClass=false

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from types import ModuleType
from typing import Any

import numpy as np

from fmedge.errors import ArtifactError, LimitExceeded, ProviderUnavailable
from fmedge.model.artifact import Artifact
from fmedge.model.ncnn_format import blob_of, name_of
from fmedge.model.run_options import RunOptions
from fmedge.model.submodel import Precision
from fmedge.runtime import forks
from fmedge.runtime.backends import Provider
from fmedge.runtime.placement import Placement
from fmedge.runtime.session import FloatArray, Images, require_names
from fmedge.system.memory import available_bytes
from fmedge.system.stderr import owns_process, quietly

_WAITING = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "3000"}
"""How ncnn's threads wait for work, as settings of its OpenMP library: they spin for a moment, which outlasts the gaps
within a run, and then sleep. If they slept at once, a deep run took 5 to 15 % longer. GNU's library, which ncnn's Linux
wheels contain, lets the second variable override the first; others know only the first."""


def _import_ncnn() -> ModuleType:
    """Import ncnn with threads that go to sleep when they have no work for a while.

    ncnn has an OpenMP library of its own, which reads the environment once, when it is loaded. So the setting holds for
    all sessions of a process. By default its threads spin for milliseconds, which makes runs two to ten times as long
    when other work is going on. What the user has set is kept, and so is the environment of a program that calls us.
    """
    before = {name: os.environ.get(name) for name in _WAITING}
    if owns_process() and not any(before.values()):
        os.environ.update(_WAITING)
    try:
        import ncnn  # pyright: ignore[reportMissingImports]
    finally:
        for name in [name for name, value in before.items() if value is None]:
            os.environ.pop(name, None)
    return ncnn


ncnn: Any = _import_ncnn()

_CPU = "CPU"

_HALVES = ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_packed", "use_bf16_storage")
"""Options that let a layer compute in less than float32 where the device can; most of them are on by default."""

_NO_MEMORY = -100
"""The code that ncnn returns when it runs out of memory."""

_TO_LOAD = 6
"""Memory to load a model, as a multiple of its weights in float32: a kernel of 9 numbers becomes one of 36, and for a
moment both exist. Measured: 5.5 at full depth."""

_TO_START = 64 << 20
"""Further memory that loading takes, in bytes: the threads' stacks, and buffers to rearrange kernels in."""

_SOFTWARE = 3
"""ncnn's type number of a graphics card that the CPU emulates, such as Mesa's llvmpipe; it does not count as a GPU."""

_NOT_WORK = ("Input", "Split", "MemoryData", "Dropout")
"""Layers that compute nothing."""

_pointer_of: Any = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_of.restype, _pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]


class _Reader(ncnn.DataReader):
    """A reader that gives ncnn the weights piece by piece, and never more than there are."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self._content = content
        self._position = 0

    def read(self, buffer: object, size: int) -> int:
        """Fill ``size`` bytes of ncnn's buffer; return that number, or 0 if fewer are left."""
        if size > len(self._content) - self._position:
            return 0
        ctypes.memmove(_pointer_of(buffer, None), self._content[self._position : self._position + size], size)
        self._position += size
        return size


class NcnnEngine:
    """A model loaded into ncnn; see :class:`fmedge.runtime.session.Engine`."""

    name = "ncnn"
    owned = True
    errors: tuple[type[Exception], ...] = (RuntimeError,)

    def __init__(self, artifact: Artifact, net: Any, pool: Any, provider: str) -> None:  # noqa: ANN401
        self._thread: Executor | None = None
        self._net = net
        self._pool = pool
        self._input = blob_of(artifact.card.inputs[0].name)
        self._taps = {spec.name: blob_of(spec.name) for spec in artifact.card.outputs}
        self.active_provider = provider
        self.placement: Placement = _placement(net.layers(), provider)

    def compute(self, images: Images, out: Mapping[str, FloatArray]) -> Mapping[str, FloatArray]:
        """See :meth:`fmedge.runtime.session.Engine.compute`."""
        if self._thread is not None:
            return self._thread.submit(self._compute, images, out).result()
        return self._compute(images, out)

    def _compute(self, images: Images, out: Mapping[str, FloatArray]) -> Mapping[str, FloatArray]:
        filled = dict(out)
        for index, image in enumerate(images):  # ncnn has no batches
            with self._net.create_extractor() as extractor:
                _require_done(extractor.input(self._input, _matrix(image)))
                for name, blob in self._taps.items():
                    code, maps = extractor.extract(blob)
                    try:
                        _require_done(code)
                        if name not in filled:
                            filled[name] = np.empty((len(images), maps.c, maps.h, maps.w), np.float32)
                        np.copyto(filled[name][index], np.asarray(maps))  # ncnn may leave gaps between channels
                    finally:
                        maps.release()  # back into the pool, even if something still refers to it
        return filled

    def close(self) -> None:
        """See :meth:`fmedge.runtime.session.Engine.close`."""
        self._net.clear()
        self._pool.clear()
        if self._thread is not None:
            self._thread.shutdown()

    def stay_on(self, thread: Executor) -> None:
        """Compute on that thread from now on, until the engine is closed, which ends the thread."""
        self._thread = thread


_forked = threading.Event()
"""Set in a process that was forked from one that had loaded ncnn. OpenMP takes the forked thread for the head of a team
of threads that no longer exists, and would wait for it; a thread that starts later gets a team of its own."""

forks.in_child(_forked.set)


def open_engine(artifact: Artifact, provider: Provider, threads: int, options: RunOptions) -> NcnnEngine:
    """See :meth:`fmedge.runtime.backends.Adapter.open_engine`."""
    if not _forked.is_set():
        return _open_engine(artifact, provider, threads, options)
    thread = ThreadPoolExecutor(1, "fmedge-ncnn")
    try:
        engine = thread.submit(_open_engine, artifact, provider, threads, options).result()
    except BaseException:
        thread.shutdown()
        raise
    engine.stay_on(thread)
    return engine


def _open_engine(artifact: Artifact, provider: Provider, threads: int, options: RunOptions) -> NcnnEngine:
    _require_memory(artifact, available_bytes(), "is free")
    with quietly():  # ncnn prints while it looks for graphics cards, and repeats its return values there
        active, card = _choose(provider, options)
        if card is not None:
            _require_memory(artifact, ncnn.get_gpu_device(card).get_heap_budget() << 20, "is free on the GPU")
        net = ncnn.Net()
        pool = _pool_for(net)
        _set_options(net.opt, card is not None, threads, options)
        if card is not None:
            net.set_vulkan_device(card)
        # A pool keeps its memory: pages freed after one layer are zeroed for the next, 0.7 of 3.1 ms at block1_conv1.
        net.opt.blob_allocator = net.opt.workspace_allocator = pool
        _load(net, artifact)
    require_names(artifact, [*map(name_of, net.input_names())], [*map(name_of, net.output_names())])
    engine = NcnnEngine(artifact, net, pool, active)
    others = set(engine.placement) - {active}
    if others and not options.allow_fallback:
        left = ", ".join(sorted(engine.placement[_CPU]))
        raise ProviderUnavailable(
            f"{active} cannot run {left} of this model.", hint="To allow the CPU: --allow-fallback."
        )
    return engine


_spare: list[Any] = []
"""Pools that no net uses."""


def _pool_for(net: Any) -> Any:  # noqa: ANN401
    """Return a memory pool for a net.

    A net knows only its pool's address, and returns memory to it until the net itself is freed, which the frames of an
    exception can delay. So a pool is never destroyed: it serves the next net.
    """
    if not _spare:
        _spare.append(ncnn.PoolAllocator())
        _spare[-1].set_size_compare_ratio(0.0)  # any piece that is large enough will do
        forks.keep_for_good(_spare[-1])
    pool = _spare.pop()

    def give_back() -> None:
        pool.clear()
        _spare.append(pool)

    weakref.finalize(net, give_back).atexit = False  # called once the net is freed
    return pool


def _require_memory(artifact: Artifact, free: int | None, is_free: str) -> None:
    """Check that there is enough memory to load the model: if memory runs out meanwhile, ncnn ends the process."""
    floats = len(artifact.weights) * (2 if artifact.card.precision is Precision.FP16 else 1)
    wanted = floats * _TO_LOAD + _TO_START
    if free is not None and wanted > free:
        raise LimitExceeded(
            f"ncnn needs about {wanted / 1e6:,.0f} MB to load '{artifact.path}'; {free / 1e6:,.0f} MB {is_free}.",
            hint="Use a shallower layer, or --format onnx.",
        )


def is_present(provider: Provider) -> bool:
    """See :meth:`fmedge.runtime.backends.Adapter.is_present`."""
    with quietly():  # ncnn prints while it looks for graphics cards
        return provider.name == _CPU or _graphics_card() is not None


def _graphics_card() -> int | None:
    """Return the number of the graphics card that ncnn would take, leaving out those that the CPU emulates."""
    count = ncnn.get_gpu_count() if hasattr(ncnn, "get_gpu_count") else 0  # some builds have no Vulkan
    preferred = ncnn.get_default_gpu_index() if count else 0
    numbers = sorted(range(count), key=lambda number: number != preferred)
    return next((number for number in numbers if ncnn.get_gpu_info(number).type() != _SOFTWARE), None)


def _choose(provider: Provider, options: RunOptions) -> tuple[str, int | None]:
    """Return the name of what computes, and the number of the graphics card; None for the CPU."""
    if provider.name == _CPU:
        return _CPU, None
    card = _graphics_card()
    if card is not None:
        return f"{provider.name} ({ncnn.get_gpu_info(card).device_name()})", card
    if options.allow_fallback:
        return _CPU, None
    raise ProviderUnavailable("ncnn finds no GPU with Vulkan here. Its driver may be missing; check with vulkaninfo.")


def _set_options(settings: Any, vulkan: bool, threads: int, options: RunOptions) -> None:  # noqa: ANN401
    for name in filter(lambda name: hasattr(settings, name), _HALVES):  # older versions have fewer
        setattr(settings, name, False)
    settings.use_bf16_storage = options.math == "bf16"
    settings.num_threads = threads
    settings.use_vulkan_compute = vulkan
    # Winograd's method on 8 x 8 tiles multiplies rounding errors by large constants: on Arm 111 dB and 7.8e-6 of the
    # range at block1_conv2, next to the gate's 1e-5; on 6 x 6 tiles 124 dB and 1.3e-6. On x86 ncnn takes 6 x 6 anyway.
    settings.use_winograd63_convolution = False


def _load(net: Any, artifact: Artifact) -> None:  # noqa: ANN401
    failed = net.load_param_mem(artifact.model.decode("ascii")) or net.load_model(_Reader(artifact.weights))
    if failed == _NO_MEMORY:
        raise LimitExceeded(f"Not enough memory to load '{artifact.path}'.")
    if failed:
        raise ArtifactError(f"ncnn cannot load '{artifact.path}'.", hint="Export it again: fmedge export.")


def _matrix(image: Images) -> Any:  # noqa: ANN401
    """Convert an image (H, W, 3) to ncnn's float32 planes."""
    height, width, channels = image.shape
    if image.dtype == np.uint8:
        planes = ncnn.Mat.from_pixels(image, ncnn.Mat.PixelType.PIXEL_RGB, width, height)
    else:
        planes = ncnn.Mat(width, height, channels)
    if planes.empty():  # ncnn's only sign that memory ran out; it would go on
        raise MemoryError
    if image.dtype != np.uint8:
        np.asarray(planes)[...] = image.transpose(2, 0, 1)
    return planes


def _require_done(code: int) -> None:
    if code == _NO_MEMORY:
        raise MemoryError
    if code:
        raise RuntimeError(f"ncnn returned {code}")


def _placement(layers: Iterable[Any], provider: str) -> dict[str, dict[str, int]]:
    """Count layers per device and kind. Those that Vulkan does not support run on the CPU, silently."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for layer in layers:
        if layer.type not in _NOT_WORK:
            counts[provider if provider == _CPU or layer.support_vulkan else _CPU][layer.type] += 1
    return {name: dict(kinds) for name, kinds in counts.items()}
