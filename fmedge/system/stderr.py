"""Silence for libraries that talk on stderr, where a user wants one line of ours."""

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
"""Whether the process is ours; it has one stderr: how many blocks are silent, what ends that, what was said meanwhile,
the real one."""


@contextlib.contextmanager
def own_process() -> Generator[None]:
    """Take the process to be ours until the block ends: a command, or a child of one, never a program that calls us.

    Libraries may then be silenced in it, their warnings and log records are off, and standard streams that are closed
    (``2>&-``, a program without a console) are opened on the null device, so that no file of ours gets their numbers.
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
    """Whether what belongs to the process as a whole may be changed; see :func:`own_process`."""
    return _owned


@contextlib.contextmanager
def quietly() -> Generator[None]:
    """Keep the block from writing to stderr, C++ code included, where the process is ours; elsewhere nothing is done.

    Stderr belongs to the process: while one thread is in such a block all are silent, but for :func:`talk`, and the
    last to leave ends it. What was kept back is written out after all when the block raises an error that is a bug of
    ours.
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
    """Print on the real stderr, whether or not a block is silent; where nobody can be told, the work goes on."""
    with _turn:
        stream = _aloud or sys.stderr
        try:
            print(text, end=end, file=stream, flush=True)
        except (OSError, ValueError):  # full, its reader has gone, or closed by somebody
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
    """A file for what is kept back: in memory where the system has such files (Linux), where no disk is needed."""
    with contextlib.suppress(OSError):
        if hasattr(os, "memfd_create"):
            return os.fdopen(os.memfd_create("fmedge"), "w+b")
        import tempfile

        return tempfile.TemporaryFile()
    return open(os.devnull, "w+b")  # noqa: PTH123 - what is said is lost where no file can be had


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
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free: that one
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
    """Point file descriptor 2 elsewhere; Python's ``sys.stderr`` goes along unless it was replaced.

    Yields:
        A stream to where it pointed before.
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
