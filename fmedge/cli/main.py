"""The command line: parse it, run the command, and turn every error into one line on stderr and an exit code."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

from fmedge.cli import interrupts
from fmedge.cli.console import patient_output, say, show_trace
from fmedge.cli.fast_parser import read_quickly
from fmedge.errors import MESSAGE_LENGTH, FmedgeError, LimitExceeded, UsageError, one_line
from fmedge.system.address_space import (
    begin,
    heavy_command,
    is_out_of_files,
    is_shortage,
    no_threads,
    shortage,
    threads_start,
)
from fmedge.system.processor import require_coretype, require_processor
from fmedge.system.stderr import own_process


def main(arguments: list[str] | None = None, *, alone: bool = False) -> int:
    """Run the command line.

    Args:
        arguments: Words after ``fmedge``; None takes the process's own.
        alone: Whether the process ends with the command: then signals end it whatever its libraries are doing.

    Returns:
        The exit code; see :mod:`fmedge.errors`. An error that fmedge does not know is raised, with its traceback.
    """
    with own_process():
        with interrupts.signals() as came, patient_output() as output:
            try:
                code = _run(arguments, alone=alone)
            except (SystemExit, Exception):  # libraries that are being imported turn an interrupt into an error
                if not came:
                    raise
                code = interrupts.TERMINATED
            if output.lost is not None and not code:
                say(f"Error: {output.lost.in_full()}")
                code = output.lost.exit_code
        if not came:
            return code
        if alone:
            interrupts.clear_up()  # the exception may have cut short a clause that does it
        if came[0] == signal.SIGTERM:
            return interrupts.TERMINATED
        if not threads_start():  # OpenBLAS, which NumPy loads, then raises SIGINT
            say(f"Error: {no_threads().in_full()}")
            return LimitExceeded.exit_code
        say(interrupts.NOTICE)
        return interrupts.INTERRUPTED


def _run(arguments: list[str] | None, *, alone: bool) -> int:
    settings = {"debug": False}
    words = sys.argv[1:] if arguments is None else arguments
    try:
        begin(words)
        if alone:
            interrupts.watch()
        if heavy_command(words):
            require_coretype()
        return _do(words, arguments, settings)
    except FmedgeError as error:
        if settings["debug"]:
            show_trace(error)
        if is_out_of_files(error):  # whichever file could not be opened
            error = shortage(error)
        say(f"Error: {error.in_full()}")
        return error.exit_code
    except KeyboardInterrupt:
        return interrupts.INTERRUPTED
    except Exception as error:
        ours = shortage(error) if is_shortage(error) else _unfit_processor(error) or _no_folder(error)
        if ours is None:
            raise
        if settings["debug"]:
            show_trace(error)
        say(f"Error: {ours.in_full()}")
        return ours.exit_code


def _do(words: list[str], arguments: list[str] | None, settings: dict[str, bool]) -> int:
    """Run the command that the words name, with the fast parser if possible; return the exit code."""
    chosen = read_quickly(words)
    if chosen is None:
        return _run_typer(arguments, settings)
    from fmedge.cli.run_job import run

    run(chosen)
    return 0


def _unfit_processor(error: Exception) -> FmedgeError | None:
    """Return the error to show if NumPy, which everything needs, cannot be imported on this processor."""
    if isinstance(error, ImportError | RuntimeError):
        try:
            require_processor("NumPy")
        except FmedgeError as found:
            return found
    return None


def _no_folder(error: Exception) -> FmedgeError | None:
    """Return the error to show if a path starts in the current folder, and that was deleted."""
    if isinstance(error, FileNotFoundError):
        try:
            Path.cwd()
        except OSError:
            return UsageError("The current folder no longer exists. Change to another: cd FOLDER.")
    return None


def _run_typer(arguments: list[str] | None, settings: dict[str, bool]) -> int:
    import typer

    from fmedge.cli.app import app

    try:
        code = app(args=arguments, prog_name="fmedge", standalone_mode=False, obj=settings)
    except typer.TyperException as error:
        mend = ". See fmedge --help."
        say(f"Error: {one_line(error.format_message().rstrip('.'), MESSAGE_LENGTH - len(mend))}{mend}")
        return 2
    return code if isinstance(code, int) else 0


def entry() -> NoReturn:
    """Run the ``fmedge`` command: call :func:`main`, then exit without shutting down the interpreter.

    Freeing the engine and the arrays one by one takes 50 ms, a tenth of a run, and everything is written and closed by
    then. After an error it would even be harmful: a thread that is still loading an engine would crash the process.
    """
    sys.unraisablehook = lambda _: None  # such as an interrupt in a destructor: the watching thread ends the process
    try:
        code = main(alone=True)
    except Exception as error:  # a bug in fmedge
        show_trace(error)
        code = 1
    for stream in filter(None, (sys.stdout, sys.stderr)):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
