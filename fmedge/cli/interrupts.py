"""Obey SIGINT and SIGTERM by an exception that runs every ``finally``, or by force if it does not get through.

Python's handler runs in the main thread, between two of its instructions: not while a library decodes, computes or
waits in C. So a thread watches, which the signal reaches through a pipe (``signal.set_wakeup_fd``). It ends the process
if the command has not ended :data:`GRACE_S` after a signal, and removes children, temporary files and folders; only
complete files keep their names. It imports nothing: another thread may hold Python's import lock for good.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Generator, Iterator
from importlib.machinery import ExtensionFileLoader
from threading import Thread
from types import FrameType

from fmedge.system.address_space import file_limit
from fmedge.system.stderr import talk

INTERRUPTED = 130
TERMINATED = 143
"""Exit codes after SIGINT and SIGTERM: 128 + the signal's number, as shells report it."""

GRACE_S = 1.0
"""How long a command may take to end by itself: two images in progress take less, and nobody waits longer at a
terminal."""

NOTICE = "Interrupted. No incomplete file was left behind."

_FEW_FILES = 32
"""Limit of open files below which none are used for this: a run has about twenty open."""

_POLL_S = 0.02
_AGAIN_S = 0.05
"""Pause before an exception is raised again, or for the first time, if the signal came during an import: if it was not
swallowed, the command has left by then."""

_IMPORTLIB = "<frozen importlib"
"""Start of the names that Python's own code for imports has instead of files."""

_ALARM = getattr(signal, "SIGALRM", 0)
"""SIGALRM where the system has it (POSIX), otherwise 0."""

_OBEYED = b"\0"
"""Byte that is written to the pipe, among the numbers of signals, once a command only has to write its report."""

_pipe: int | None = None
"""The writing end of that pipe; None while no thread watches."""


def watch() -> None:
    """Watch for signals from a thread until the process ends; for a process of the command's own, in its main thread.

    If no thread can be started, or fewer than :data:`_FEW_FILES` open files are allowed, only Python's own handling
    of signals remains.
    """
    global _pipe
    if os.name != "posix" or (file_limit() or _FEW_FILES) < _FEW_FILES:
        return
    try:
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        Thread(target=_look_on, args=(reader,), daemon=True).start()
    except (OSError, RuntimeError):
        return
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    _pipe = writer


def obeyed() -> None:
    """Mark the signals so far as obeyed: the command may still write what it measured, however long that takes."""
    if _pipe is not None:
        os.write(_pipe, _OBEYED)


def _look_on(reader: int) -> None:
    """Wait for a signal, and end the process if the command does not end or obey in time."""
    first, ends = 0, None
    while ends is None or time.monotonic() < ends:
        for number in os.read(reader, 1) if not first else _read_some(reader):
            if number == _OBEYED[0]:
                ends = None
            elif number in (signal.SIGINT, signal.SIGTERM) and ends is None:
                ends = time.monotonic() + GRACE_S
                first = first or number
                os.set_blocking(reader, False)
        if first:
            time.sleep(_POLL_S)
    _end(first)


def _read_some(reader: int) -> bytes:
    try:
        return os.read(reader, 64)
    except BlockingIOError:
        return b""


def _end(number: int) -> None:
    """End the process, whatever its other threads are doing."""
    try:
        clear_up()
        if number == signal.SIGINT:
            last = Thread(target=talk, args=(NOTICE,), daemon=True)  # stderr may have no reader and block
            last.start()
            last.join(_POLL_S * 10)
    finally:
        os._exit(128 + number)


def clear_up() -> None:
    """End every process that was started, remove all temporary files and restore governors; no more come after that."""
    for name in ("children", "temp_files", "topology"):
        module = sys.modules.get(f"fmedge.system.{name}")  # a module that is not loaded has none
        if module is not None:
            with contextlib.suppress(Exception):
                module.end_all()


@contextlib.contextmanager
def signals() -> Generator[list[int]]:
    """Leave through the ``finally`` clauses on SIGINT and SIGTERM, so that temporary files go.

    C code that is being imported may swallow the exception, or turn it into another one; then it is raised again. While
    an extension module is being set up, or Python's own code for imports runs, nothing is raised yet: it would leave
    with the import lock, which every other thread then waits for.
    While a thread watches, a second signal raises nothing: it would only cut the clauses short.

    Yields:
        A list that receives the numbers of the signals.
    """
    came: list[int] = []

    def leave(number: int, frame: FrameType | None) -> None:
        if number != _ALARM:
            came.append(number)
            if len(came) > 1 and _pipe is not None:
                return
        if not came:  # somebody else's alarm
            return
        if _ALARM and _is_importing(frame):
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)
            if _is_setting_up(frame) or (frame is not None and frame.f_code.co_filename.startswith(_IMPORTLIB)):
                return
        raise SystemExit(TERMINATED) if came[0] == signal.SIGTERM else KeyboardInterrupt

    handled = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # ignored, as in a shell's background jobs: keep that
        handled.append(signal.SIGINT)
    if _ALARM:
        handled.append(signal.SIGALRM)
    former = {number: signal.signal(number, leave) for number in handled}
    try:
        yield came
    finally:
        if _ALARM:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in former.items():
            signal.signal(number, handler)


def _is_importing(frame: FrameType | None) -> bool:
    return any(each.f_code.co_filename.startswith(_IMPORTLIB) for each in _callers(frame))


def _is_setting_up(frame: FrameType | None) -> bool:
    """Return whether an extension module is being set up: an exception then may crash it (onnx ends by SIGSEGV)."""
    return any(
        each.f_code.co_filename == "<frozen importlib._bootstrap_external>"
        and isinstance(each.f_locals.get("self"), ExtensionFileLoader)
        for each in _callers(frame)
    )


def _callers(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back
