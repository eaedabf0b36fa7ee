"""Silence libraries that write to stderr, so that a user sees only fmedge's one-line messages."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Generator
from threading import Lock
from typing import IO

from fmedge.errors import FmedgeError, printable

_turn = Lock()
_owned = False
_inside = 0
_silence = contextlib.ExitStack()
_kept: IO[bytes] | None = None
_aloud: IO[str] | None = None
"""State of this process' one stderr. ``_owned``: the process is fmedge's own. ``_inside``: number of silent blocks.
``_silence``: ends the silence. ``_kept``: what was written meanwhile. ``_aloud``: the real stderr."""


@contextlib.contextmanager
def own_process() -> Generator[None]:
    """Treat the process as fmedge's own until the block ends.

    This is for a command or a child of one, never for a program that calls fmedge. Libraries may then be silenced in
    it, their warnings and log records are off, and standard streams that are closed (``2>&-``, a program without a
    console) are opened on the null device, so that no file that fmedge opens gets their numbers.
    """
    global _owned
    former, _owned = _owned, True
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with _all_streams(), _without_warnings():
            yield
    finally:
        _owned = former


def owns_process() -> bool:
    """Return whether process-wide settings may be changed; see :func:`own_process`."""
    return _owned


@contextlib.contextmanager
def quietly() -> Generator[None]:
    """Keep the block, C++ code included, from writing to stderr if the process is fmedge's own; otherwise do nothing.

    Stderr belongs to the whole process: while one thread is in such a block, all threads are silent except for
    :func:`talk`; the last one to leave ends the silence. What was kept back is written out when the block raises an
    error that is a bug in fmedge.
    """
    if not _owned:
        yield
        return
    _enter()
    said = b""
    try:
        yield
    except Exception as error:
        if not isinstance(error, (FmedgeError, ImportError)):
            said = _said()
        raise
    finally:
        _leave()
        if said:
            for line in said.decode(errors="replace").splitlines():
                talk(printable(line))


def talk(text: str, end: str = "\n") -> None:
    """Print on the real stderr even while a block is silent; where that fails, the work goes on."""
    with _turn:
        stream = _aloud or sys.stderr
        try:
            print(text, end=end, file=stream, flush=True)
        except (OSError, ValueError):  # full, its reader is gone, or closed by somebody
            mute(stream)


def mute(stream: IO[str]) -> None:
    """Point a stream at the null device: what it could not write, and all that follows, is lost without an error."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        stream.flush()


def _enter() -> None:
    global _inside, _kept, _aloud
    with _turn:
        if _inside == 0:
            kept = _silence.enter_context(_nameless_file())
            _kept, _aloud = kept, _silence.enter_context(_stderr_to(kept.fileno()))
        _inside += 1


def _nameless_file() -> IO[bytes]:
    """Return a nameless file for the output that is kept back: in memory where possible (Linux), without a disk."""
    with contextlib.suppress(OSError):
        if hasattr(os, "memfd_create"):
            return os.fdopen(os.memfd_create("fmedge"), "w+b")
        import tempfile

        return tempfile.TemporaryFile()
    return open(os.devnull, "w+b")  # noqa: PTH123 - the output is lost where no file can be opened


def _said() -> bytes:
    with _turn:
        if _kept is None:
            return b""
        _kept.seek(0)
        return _kept.read()


def _leave() -> None:
    global _inside, _kept, _aloud
    with _turn:
        _inside -= 1
        if _inside == 0:
            _kept = _aloud = None
            _silence.close()


@contextlib.contextmanager
def _all_streams() -> Generator[None]:
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number: that one
    former = sys.stdout, sys.stderr
    with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123
        sys.stdout, sys.stderr = (stream or nowhere for stream in former)
        try:
            yield
        finally:
            sys.stdout, sys.stderr = former


@contextlib.contextmanager
def _without_warnings() -> Generator[None]:
    import logging
    import warnings

    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


@contextlib.contextmanager
def _stderr_to(descriptor: int) -> Generator[IO[str]]:
    """Point file descriptor 2 elsewhere; Python's ``sys.stderr`` follows unless it was replaced.

    Yields:
        A stream to the previous target.
    """
    sys.stderr.flush()
    with os.fdopen(os.dup(2), "w", errors="backslashreplace") as before:
        os.dup2(descriptor, 2)
        try:
            yield before
        finally:
            sys.stderr.flush()
            before.flush()
            os.dup2(before.fileno(), 2)
