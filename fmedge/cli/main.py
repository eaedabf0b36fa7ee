"""The command line: reading its words, and what every error becomes: one line on stderr and an exit code."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Generator
from types import FrameType
from typing import NoReturn

from fmedge import ahead
from fmedge.cli.console import ReaderGone, say, show_trace
from fmedge.cli.quick import read_quickly
from fmedge.errors import MESSAGE_LENGTH, FmedgeError, LimitExceeded, one_line
from fmedge.floors import begin, heavy_command, is_out_of_files, is_shortage, no_threads, shortage, threads_start
from fmedge.processor import require_coretype, require_processor
from fmedge.quiet import own_process

INTERRUPTED = 130
TERMINATED = 143
"""128 + the signal's number, as shells report it."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Words after ``fmedge``; None takes the process's own.

    Returns:
        The exit code; see :mod:`fmedge.errors`. An error that is none of ours keeps its traceback.
    """
    with own_process():
        try:
            with _signals() as came:
                code = _run(arguments)
        finally:
            ahead.forget()  # a command that failed did not take what was begun for it
        if not came:
            return code
        if came[0] == signal.SIGTERM:
            return TERMINATED
        if not threads_start():  # OpenBLAS, which NumPy loads, answers that with SIGINT
            say(f"Error: {no_threads()}")
            return LimitExceeded.exit_code
        say("Interrupted. Nothing half-written was left.")
        return INTERRUPTED


def _run(arguments: list[str] | None) -> int:
    settings = {"debug": False}
    words = sys.argv[1:] if arguments is None else arguments
    try:
        begin(words)
        if heavy_command(words):
            require_coretype()
        chosen = read_quickly(words)
        if chosen is None:
            return _run_typer(arguments, settings)
        from fmedge.cli.running import run

        run(**chosen)
    except FmedgeError as error:
        if settings["debug"]:
            show_trace(error)
        if is_out_of_files(error):  # whatever it was that could not be opened
            error = shortage(error)
        say(f"Error: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except ReaderGone:
        pass
    except Exception as error:
        ours = shortage(error) if is_shortage(error) else _unfit_processor(error)
        if ours is None:
            raise
        if settings["debug"]:
            show_trace(error)
        say(f"Error: {ours}")
        return ours.exit_code
    return 0


def _unfit_processor(error: Exception) -> FmedgeError | None:
    """What is wrong where NumPy, which everything needs, cannot be imported on this processor."""
    if isinstance(error, ImportError | RuntimeError):
        try:
            require_processor("NumPy")
        except FmedgeError as found:
            return found
    return None


def _run_typer(arguments: list[str] | None, settings: dict[str, bool]) -> int:
    import typer

    from fmedge.cli.app import app

    try:
        code = app(args=arguments, prog_name="fmedge", standalone_mode=False, obj=settings)
    except typer.TyperException as error:
        mend = " See fmedge --help."
        say(f"Error: {one_line(error.format_message(), MESSAGE_LENGTH - len(mend))}{mend}")
        return 2
    return code if isinstance(code, int) else 0


_AGAIN_S = 0.05
"""Pause before an exception that came into an import is raised again: enough to leave where it was not swallowed."""


@contextlib.contextmanager
def _signals() -> Generator[list[int]]:
    """Leave through the ``finally`` clauses on SIGINT and SIGTERM, so that temporary files go.

    C code that is being imported may swallow the exception, or turn it into another one; it is then raised again.

    Yields:
        A list that holds the signals that came.
    """
    came: list[int] = []

    def leave(number: int, frame: FrameType | None) -> None:
        if number != _ALARM:
            came.append(number)
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


_ALARM = getattr(signal, "SIGALRM", 0)
"""Where the system has it (POSIX)."""


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def entry() -> NoReturn:
    """The ``fmedge`` command: :func:`main`, then out without taking the interpreter apart.

    Freeing the engine and the arrays piece by piece takes 50 ms, a tenth of a run; everything is written
    and closed by then. Nor where an error of ours is shown: a thread that still loads an engine would end the process
    by a signal.
    """
    try:
        code = main()
    except Exception:  # a bug of ours
        sys.excepthook(*sys.exc_info())  # pyright: ignore[reportArgumentType]
        code = 1
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.flush()
    os._exit(code)
