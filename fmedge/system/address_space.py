"""Check that the limit on address space leaves enough for a piece of work before it starts.

A process that hits the limit (``ulimit -v``) half-way fails in confusing ways: libraries do not load, threads do not
start, engines end the process. So the limit is read first, and work that needs more than the limit, by a measured
minimum, is refused with a one-line message. Where the limit is low, a process also uses less memory.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

try:
    import resource
except ImportError:  # Windows
    resource = None

from fmedge.errors import LimitExceeded

_MB = 1 << 20


class Floor(NamedTuple):
    """Least address space for an engine or an export, in bytes.

    Not a dataclass: creating one would take ten times as long at every start.

    Attributes:
        base: For any run: Python, NumPy, Pillow, the engine on one thread, a photo, a small model, a page.
        per_thread: For every further compute thread; 8 MB of it are the thread's stack.
        per_byte: For every byte of the model.
    """

    base: int
    per_thread: int
    per_byte: float

    def total(self, threads: int = 1, model_bytes: int = 0) -> int:
        """Return the bytes needed with this many threads and a model of this size."""
        return int(self.base + self.per_thread * (threads - 1) + self.per_byte * model_bytes)


TOO_FEW_PROCESSES = "the limit on processes is reached (ulimit -u, or the container's)"
"""Why a process or a thread cannot be started: systems count both."""

EXPORT = "fmedge export"
TENSORFLOW = "TensorFlow"

FLOORS: Mapping[str, Floor] = {
    "onnxruntime": Floor(288 * _MB, 10 * _MB, 1.5),
    "openvino": Floor(416 * _MB, 16 * _MB, 3.5),
    "ncnn": Floor(272 * _MB, 22 * _MB, 7),
    "litert": Floor(240 * _MB, 10 * _MB, 3),
    "native": Floor(216 * _MB, 10 * _MB, 5.5),
    EXPORT: Floor(448 * _MB, 0, 4),
    TENSORFLOW: Floor(1536 * _MB, 0, 24),
}
"""Least address space per engine, and for the two ways to export.

Measured by bisection: the lowest limit under which ``fmedge run`` wrote a page, with untrained weights and the memory
savings below (Python 3.11, NumPy 2.4, the engines that ``engine_errors.py`` names, x86-64, 2 cores). In MB, one thread,
at block1_conv1, block3_conv3 and block5_conv3: ONNX Runtime 241, 241, 255; OpenVINO 352, 384, 512; ncnn 226, 306, 618;
LiteRT 197, 204, 306; native 176, 204, 392, and 316 at block4_conv3, where its weights take most per byte of the file.
Each further thread took 8 MB with ONNX Runtime, LiteRT and native and 8 to 19 with ncnn; OpenVINO starts no more
threads than there are cores. An export to ONNX took 432 at block1_conv1 and 624 at block5_conv3; through
TensorFlow it took 1,280 and 2,304. The table adds at least a tenth, because slightly below their minimum libraries end
the process: OpenVINO with signal 11 at 448 and 480, TensorFlow at 2,048."""

_ENGINES = [name for name in FLOORS if name not in (EXPORT, TENSORFLOW)]

_ADVISED = [name for name in _ENGINES if name != "native"]
"""Engines that are advised where another needs too much: those that run any network."""

_LEAST = min(floor.base for floor in FLOORS.values())

COMMANDS: Mapping[str, int] = {
    **dict.fromkeys(("run", "diff", "bench", "tune", "verify"), _LEAST),
    **dict.fromkeys(("export", "doctor"), FLOORS[EXPORT].base),
    **dict.fromkeys(("info", "compare", "report", "trust"), 160 * _MB),
}
"""Address space that a command needs whatever its options are. The commands of the last row run no model: they took 120
MB, most of it for NumPy. Commands that are not listed need only 48 MB."""

_THRIFTY_BELOW = 4 << 30
_THRIFTY_PER_CORE = 128 * _MB
"""A limit below the sum of these two, the second taken once per core, is low: the process then gives up what only makes
it faster. Without these savings OpenBLAS, which NumPy loads, takes 40 MB per core, and glibc reserves 64 MB for every
thread that allocates."""

_THRIFT = {"OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
"""Libraries read these variables when they are loaded: OpenBLAS in this process, and the C library of child
processes."""

_M_ARENA_MAX = -8
"""glibc's number for the same setting in ``mallopt`` (malloc.h)."""

_IMPORTED = 192 * _MB
"""The most that a process has mapped when it is only ready for a run: Python, NumPy, Pillow, and an engine (136 to 168
MB). A program that uses fmedge as a library may have mapped more."""

_own = False
_thrifty = False
"""``_own``: everything this process has mapped belongs to fmedge. ``_thrifty``: the process saves memory at the cost of
speed."""


def begin(words: Sequence[str] = ()) -> None:
    """Check the limit before anything heavy is imported; fmedge's own processes call this first.

    Where the limit is low, environment variables are set so that this process and its children save memory.

    Args:
        words: A command line; at least its minimum must fit within the limit.

    Raises:
        LimitExceeded: The command needs more than the limit allows.
    """
    global _own, _thrifty
    _own = True
    limit = address_limit()
    if limit is None:
        return
    if limit < _THRIFTY_BELOW + _THRIFTY_PER_CORE * (os.cpu_count() or 1):
        _thrifty = True
        _be_thrifty()
    command = heavy_command(words)
    if command is None:
        return
    _require(COMMANDS[command], limit, f"fmedge {command}")
    for name in _named(words) & FLOORS.keys():
        require_floor(name)


def heavy_command(words: Sequence[str]) -> str | None:
    """Return the command of a command line if it is in :data:`COMMANDS`, which all load NumPy; None for ``--help``."""
    command = next((word for word in words if not word.startswith("-")), "")
    return command if command in COMMANDS and "--help" not in words else None


def _named(words: Sequence[str]) -> set[str]:
    """Return the engines that a command line names."""
    values = [word.partition("=")[2] for word in words if word.startswith("--backend=")]
    values += [value for word, value in pairwise(words) if word == "--backend"]
    return {name for value in values for name in value.split(",")}


def _be_thrifty() -> None:
    arenas = "MALLOC_ARENA_MAX" not in os.environ
    for name, value in _THRIFT.items():
        os.environ.setdefault(name, value)
    if arenas:
        import ctypes

        choose = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have neither this nor arenas
        if choose is not None:
            choose(_M_ARENA_MAX, 1)


def is_thrifty() -> bool:
    """Return whether the limit is low: then nothing is started before it is needed, or done several times at once."""
    return _thrifty


def address_limit() -> int | None:
    """Return how many bytes of address space this process may map; None where there is no limit (as on Windows)."""
    if resource is None:
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if limit == resource.RLIM_INFINITY else limit


def require_floor(what: str, threads: int = 1, model_bytes: int = 0, values: int = 0) -> None:
    """Check that an engine can run a model, or that a model can be exported, within the limit on address space.

    Args:
        what: A key of :data:`FLOORS`.
        threads: Number of compute threads.
        model_bytes: Size of the model: its file size, doubled for float16, which engines convert to float32.
        values: Bytes of feature maps beyond those of one photo of VGG16's size.

    Raises:
        LimitExceeded: The limit is too low.
    """
    limit = address_limit()
    if limit is None:
        return
    floor = FLOORS[what]
    wanted = floor.total(threads, model_bytes) + values
    if not _own:
        wanted += max(0, _mapped() - _IMPORTED)
    parts = [f"{threads} threads"] if threads > 1 else []
    parts += [f"a model of {model_bytes / 1e6:,.0f} MB"] if floor.per_byte * model_bytes > _MB else []
    fitting = [name for name in _ADVISED if FLOORS[name].base <= limit]
    if model_bytes:
        mend = "use --threads 1 or a shallower layer" if threads > 1 else "use a shallower layer"
    else:
        mend = f"use --backend {fitting[0]}" if fitting and what in _ENGINES else ""
    _require(wanted, limit, f"{what} with {' and '.join(parts)}" if parts else what, mend)


def _mapped() -> int:
    """Return the bytes of address space that this process has mapped; 0 where the system does not report it."""
    try:
        with open("/proc/self/statm", encoding="ascii") as stream:  # noqa: PTH123 - read before pathlib is loaded
            return int(stream.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _require(wanted: int, limit: int, what: str, mend: str = "") -> None:
    if wanted > limit:
        raise LimitExceeded(
            f"{what} needs {_megabytes(wanted)} MB of address space; the limit is {_megabytes(limit)} MB.",
            hint=f"Raise it (ulimit -v {-(-wanted // 1024)}){mend and f', or {mend}'}.",
        )


def _megabytes(size: int) -> str:
    return f"{-(-size // _MB):,}"


def threads_start() -> bool:
    """Check whether one more thread can be started."""
    from threading import Thread

    try:
        thread = Thread(target=int)
        thread.start()
    except RuntimeError:
        return False
    thread.join()
    return True


def no_threads() -> LimitExceeded:
    """Return the error to raise when no thread can be started."""
    return LimitExceeded(f"Cannot start another thread: {TOO_FEW_PROCESSES}.")


_SHORTAGE = (
    "bad_alloc",
    "failed to map segment",
    "cannot allocate memory",
    "can't start new thread",
    "unable to allocate",
    "out of memory",
)
"""How Python, its libraries and the system's loader report that memory ran out, in lower case."""


_FILES = "too many open files"
"""How the system reports that no further file, pipe or process can be opened, in lower case."""


def is_shortage(error: BaseException | None) -> bool:
    """Return whether an error, or one of its causes, reports that memory or file descriptors ran out."""
    return _says(error, _SHORTAGE) or is_out_of_files(error)


def is_out_of_files(error: BaseException | None) -> bool:
    """Return whether an error, or one of its causes, reports that file descriptors ran out."""
    return _says(error, (_FILES,))


def _says(error: BaseException | None, words: Sequence[str]) -> bool:
    while error is not None:
        text = str(error).lower()
        if any(word in text for word in words) or (words is _SHORTAGE and isinstance(error, MemoryError)):
            return True
        error = error.__cause__ or error.__context__
    return False


def shortage(error: BaseException | None = None) -> LimitExceeded:
    """Return the error to raise when memory, threads or file descriptors ran out during work.

    Args:
        error: The error that reported it.
    """
    if is_out_of_files(error):
        more = max(256, 2 * (file_limit() or 0))
        return LimitExceeded(f"Too many files are open{_file_limit()}. Raise the limit: ulimit -n {more}.")
    limit = address_limit()
    if limit is None and _says(error, ("can't start new thread",)):
        return no_threads()
    said = "" if limit is None else f" Address space is limited to {limit // _MB:,} MB: raise the limit (ulimit -v)."
    return LimitExceeded(f"Not enough memory.{said} Free some, or use fewer or smaller images or a shallower layer.")


def file_limit() -> int | None:
    """Return how many files this process may have open; None where there is no such limit (Windows)."""
    limit = None if resource is None else resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if resource is None or limit == resource.RLIM_INFINITY else limit


def _file_limit() -> str:
    limit = file_limit()
    return "" if limit is None else f" (limit: {limit:,})"


def restrict(size: int | None) -> None:
    """Limit this process' address space to ``size`` bytes until the next call, and disable core files.

    With None, on a system without such limits, or under a stricter limit the address space stays as it is.
    """
    if resource is None:
        return
    for kind, wanted in ((resource.RLIMIT_AS, size), (resource.RLIMIT_CORE, 0)):
        if wanted is None:
            continue
        most = resource.getrlimit(kind)[1]
        with contextlib.suppress(ValueError, OSError):  # macOS accepts no limit on address space
            resource.setrlimit(kind, (wanted if most == resource.RLIM_INFINITY else min(wanted, most), most))
