"""SIGINT and SIGTERM: obeyed by an exception that runs every ``finally``, and where that does not come through, anyway.

Python's handler runs in the main thread, between two of its instructions: not while a library decodes, computes or
waits in C. So a thread looks on, which the signal reaches through a pipe (``signal.set_wakeup_fd``). What has not ended
:data:`GRACE_S` after a signal is ended by it: children, temporary files and folders go, names keep what is whole.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Generator
from threading import Thread
from types import FrameType

from fmedge.system.address_space import file_limit

INTERRUPTED = 130
TERMINATED = 143
"""128 + the signal's number, as shells report it."""

GRACE_S = 1.0
"""How long a command may take to end by itself: two images in work take less, and nobody waits longer at a terminal."""

NOTICE = "Interrupted. Nothing half-written was left."

_FEW_FILES = 32
"""Open files below which none is spent on this: a run has about twenty."""

_POLL_S = 0.02
_AGAIN_S = 0.05
"""Pause before an exception that came into an import is raised again: enough to leave where it was not swallowed."""

_ALARM = getattr(signal, "SIGALRM", 0)
"""Where the system has it (POSIX)."""

_OBEYED = b"\0"
"""What stands among the signals' numbers in the pipe once a command has only a report left to write."""

_pipe: int | None = None
"""Where it is written to; None while nobody looks on."""


def watch() -> None:
    """Look on, from a thread, until the process ends: for a process that is the command's alone, and its main thread.

    Where no thread can be started, or :data:`_FEW_FILES` are allowed, signals are obeyed as far as Python does.
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
    """Say that the signals so far were obeyed: what was measured is written yet, however long that takes."""
    if _pipe is not None:
        os.write(_pipe, _OBEYED)


def _look_on(reader: int) -> None:
    """Wait for a signal, and for what becomes of it."""
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
    """End the process, whatever its other threads do."""
    try:
        clear_up()
        if number == signal.SIGINT:
            from fmedge.system.stderr import talk

            last = Thread(target=talk, args=(NOTICE,), daemon=True)  # which nobody may be reading
            last.start()
            last.join(_POLL_S * 10)
    finally:
        os._exit(128 + number)


def clear_up() -> None:
    """End every process that was started, and remove every temporary file; none is created from then on."""
    for module in ("fmedge.system.children", "fmedge.system.temp_files"):  # what was not loaded has none
        if module in sys.modules:
            with contextlib.suppress(Exception):
                sys.modules[module].end_all()


@contextlib.contextmanager
def signals() -> Generator[list[int]]:
    """Leave through the ``finally`` clauses on SIGINT and SIGTERM, so that temporary files go.

    C code that is being imported may swallow the exception, or turn it into another one; it is then raised again.
    While somebody looks on, a second signal raises nothing: it would only cut the clauses short.

    Yields:
        A list that holds the signals that came.
    """
    came: list[int] = []

    def leave(number: int, frame: FrameType | None) -> None:
        if number != _ALARM:
            came.append(number)
            if len(came) > 1 and _pipe is not None:
                return
        if not came:  # an alarm of somebody else's
            return
        if _ALARM and _is_importing(frame):
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)
        raise SystemExit(TERMINATED) if came[0] == signal.SIGTERM else KeyboardInterrupt

    handled = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as in a shell's background: leave it so
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
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False
