"""How much address space work needs at the least, known before it is begun: where less is allowed, it is not begun.

What runs out of a limit on address space (``ulimit -v``) half-way ends in odd places: libraries that do not load,
threads that do not start, engines that end the process. So the limit is read first, and what is below
a floor that was measured is refused in one line. Where a limit is low, a process also asks for less.
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
    """A row of the table: bytes of address space. No dataclass, which takes ten times as long to make at every start.

    Attributes:
        base: For a run at all: Python, NumPy, Pillow, the engine on one thread, a photo, a small model, a page.
        per_thread: For every further thread that computes; 8 MB of them are its stack.
        per_byte: For every byte of the model.
    """

    base: int
    per_thread: int
    per_byte: float

    def total(self, threads: int = 1, model_bytes: int = 0) -> int:
        """For a run on so many threads with a model of that size."""
        return int(self.base + self.per_thread * (threads - 1) + self.per_byte * model_bytes)


TOO_FEW_PROCESSES = "too few processes are allowed: ulimit -u, or the container's limit on them"
"""Why a process or a thread cannot be started: systems count both."""

EXPORT = "fmedge export"
TENSORFLOW = "TensorFlow"

FLOORS: Mapping[str, Floor] = {
    "onnxruntime": Floor(288 * _MB, 10 * _MB, 1.5),
    "openvino": Floor(416 * _MB, 16 * _MB, 3.5),
    "ncnn": Floor(272 * _MB, 22 * _MB, 7),
    "litert": Floor(240 * _MB, 10 * _MB, 3),
    EXPORT: Floor(448 * _MB, 0, 4),
    TENSORFLOW: Floor(1536 * _MB, 0, 24),
}
"""Per engine, and for the two ways to export.

Measured by halving: the least limit under which ``fmedge run`` wrote a page, with untrained weights, thrifty as below
(Python 3.11, NumPy 2.4, the engines that ``engine_errors.py`` names, x86-64, 2 cores). In MB, one thread, at
block1_conv1, block3_conv3 and block5_conv3: ONNX Runtime 241, 241, 255; OpenVINO 352, 384, 512; ncnn 226, 306, 618;
LiteRT 197, 204, 306. A further thread took 8 MB of ONNX Runtime and LiteRT and 8 to 19 of ncnn; OpenVINO starts no
more than there are cores. An export to ONNX took 432 at block1_conv1 and 624 at block5_conv3, through TensorFlow 1,280
and 2,304. To that a tenth and more is added, since shortly below what they need libraries end the process: OpenVINO
by signal 11 at 448 and 480, TensorFlow at 2,048.
"""

_ENGINES = [name for name in FLOORS if name not in (EXPORT, TENSORFLOW)]

_LEAST = min(floor.base for floor in FLOORS.values())

COMMANDS: Mapping[str, int] = {
    **dict.fromkeys(("run", "diff", "bench", "tune", "verify"), _LEAST),
    **dict.fromkeys(("export", "doctor"), FLOORS[EXPORT].base),
    **dict.fromkeys(("info", "compare", "report", "trust"), 160 * _MB),
}
"""What a command needs whatever its options are. The last ones run no model: they took 120 MB, most of it NumPy's;
commands that are not here are done with 48."""

_THRIFTY_BELOW = 4 << 30
_THRIFTY_PER_CORE = 128 * _MB
"""A limit below so much, and so much per core, is low: a process then does without what only makes it faster. Left to
itself OpenBLAS, which NumPy loads, takes 40 MB per core, and glibc reserves 64 MB for every thread that allocates."""

_THRIFT = {"OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
"""Read by libraries when they are loaded: here by OpenBLAS, and by the C library of processes that this one starts."""

_M_ARENA_MAX = -8
"""glibc's number of that choice for ``mallopt``: malloc.h."""

_IMPORTED = 192 * _MB
"""What a process has mapped at most when nothing but a run is prepared: Python, NumPy, Pillow, and an engine (136 to
168 MB). A program of somebody else's may hold more."""

_own = False
_thrifty = False
"""Whether all that this process holds is ours, and whether it does without what only makes it faster."""


def begin(words: Sequence[str] = ()) -> None:
    """Read the limit before anything heavy is imported: a process of ours calls it first.

    Where the limit is low, the environment is told to be thrifty, for this process and those it starts.

    Args:
        words: A command line; what it will do at least has to fit.

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
    """The command of a command line where it is one of :data:`COMMANDS`, which all load NumPy; None for ``--help``."""
    command = next((word for word in words if not word.startswith("-")), "")
    return command if command in COMMANDS and "--help" not in words else None


def _named(words: Sequence[str]) -> set[str]:
    """Engines that a command line names."""
    values = [word.partition("=")[2] for word in words if word.startswith("--backend=")]
    values += [value for word, value in pairwise(words) if word == "--backend"]
    return {name for value in values for name in value.split(",")}


def _be_thrifty() -> None:
    arenas = "MALLOC_ARENA_MAX" not in os.environ
    for name, value in _THRIFT.items():
        os.environ.setdefault(name, value)
    if arenas:
        import ctypes

        choose = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none, and no such arenas
        if choose is not None:
            choose(_M_ARENA_MAX, 1)


def is_thrifty() -> bool:
    """Whether the limit is low: nothing is then begun before it is needed, or done several times at once."""
    return _thrifty


def address_limit() -> int | None:
    """Bytes of address space that this process may map; None where there is no limit, or no such thing (Windows)."""
    if resource is None:
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if limit == resource.RLIM_INFINITY else limit


def require_floor(what: str, threads: int = 1, model_bytes: int = 0, values: int = 0) -> None:
    """Check that an engine can run a model, or that one can be exported, within the limit on address space.

    Args:
        what: A name of the table of floors.
        threads: How many compute.
        model_bytes: Size of the model; twice that of its file where it is float16, which engines make float32.
        values: Bytes of feature maps beyond those of one photo of VGG16's size.

    Raises:
        LimitExceeded: It cannot.
    """
    limit = address_limit()
    if limit is None:
        return
    floor = FLOORS[what]
    wanted = floor.total(threads, model_bytes) + values
    if not _own:
        wanted += max(0, _mapped() - _IMPORTED)
    parts = [f"on {threads} threads"] if threads > 1 else []
    parts += [f"with a model of {model_bytes / 1e6:,.0f} MB"] if floor.per_byte * model_bytes > _MB else []
    fitting = [name for name in _ENGINES if FLOORS[name].base <= limit]
    if model_bytes:
        mend = "take --threads 1 or a shallower layer" if threads > 1 else "take a shallower layer"
    else:
        mend = f"take --backend {fitting[0]}" if fitting and what in _ENGINES else ""
    _require(wanted, limit, " ".join([what, *parts]), mend)


def _mapped() -> int:
    """Bytes of address space that this process has mapped; 0 where the system does not say."""
    try:
        with open("/proc/self/statm", encoding="ascii") as stream:  # noqa: PTH123 - read before pathlib is loaded
            return int(stream.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _require(wanted: int, limit: int, what: str, mend: str = "") -> None:
    if wanted > limit:
        raise LimitExceeded(
            f"{what} needs {_megabytes(wanted)} MB of address space, the limit is {_megabytes(limit)} MB.",
            hint=f"Raise it (ulimit -v {-(-wanted // 1024)}){mend and f', or {mend}'}.",
        )


def _megabytes(size: int) -> str:
    return f"{-(-size // _MB):,}"


def threads_start() -> bool:
    """Whether one more thread can be started."""
    from threading import Thread

    try:
        thread = Thread(target=int)
        thread.start()
    except RuntimeError:
        return False
    thread.join()
    return True


def no_threads() -> LimitExceeded:
    """What it becomes that none can be."""
    return LimitExceeded(f"No further thread can be started, {TOO_FEW_PROCESSES}.")


_SHORTAGE = (
    "bad_alloc",
    "failed to map segment",
    "cannot allocate memory",
    "can't start new thread",
    "unable to allocate",
    "out of memory",
)
"""How Python, its libraries and the system's loader say that memory ran out, in small letters."""


_FILES = "too many open files"
"""How the system says that no further file, pipe or process can be had, in small letters."""


def is_shortage(error: BaseException | None) -> bool:
    """Whether an error, or one that it came from, says that memory or file descriptors ran out."""
    return _says(error, _SHORTAGE) or is_out_of_files(error)


def is_out_of_files(error: BaseException | None) -> bool:
    """Whether an error, or one that it came from, says that file descriptors ran out."""
    return _says(error, (_FILES,))


def _says(error: BaseException | None, words: Sequence[str]) -> bool:
    while error is not None:
        text = str(error).lower()
        if any(word in text for word in words) or (words is _SHORTAGE and isinstance(error, MemoryError)):
            return True
        error = error.__cause__ or error.__context__
    return False


def shortage(error: BaseException | None = None) -> LimitExceeded:
    """What memory, threads or file descriptors that ran out in the midst of work become.

    Args:
        error: What said so.
    """
    if is_out_of_files(error):
        return LimitExceeded(f"Too many files are open.{_file_limit()} Raise it: ulimit -n 256.")
    limit = address_limit()
    if limit is None and _says(error, ("can't start new thread",)):
        return no_threads()
    said = "" if limit is None else f" The limit on address space is {limit // _MB:,} MB: raise it (ulimit -v)."
    return LimitExceeded(f"Not enough memory.{said} Free some, or give fewer or smaller images, or a shallower layer.")


def file_limit() -> int | None:
    """Files that this process may have open; None where there is no such limit (Windows)."""
    limit = None if resource is None else resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if resource is None or limit == resource.RLIM_INFINITY else limit


def _file_limit() -> str:
    limit = file_limit()
    return "" if limit is None else f" The limit is {limit:,} at a time."


def restrict(size: int | None) -> None:
    """Bound this process' address space to so many bytes, until the next call, and let it leave no core file.

    None, a system without such bounds, or a stricter bound leaves the address space as it is.
    """
    if resource is None:
        return
    for kind, wanted in ((resource.RLIMIT_AS, size), (resource.RLIMIT_CORE, 0)):
        if wanted is None:
            continue
        most = resource.getrlimit(kind)[1]
        with contextlib.suppress(ValueError, OSError):  # macOS takes no bound on address space
            resource.setrlimit(kind, (wanted if most == resource.RLIM_INFINITY else min(wanted, most), most))
