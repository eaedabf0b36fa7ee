"""The Typer application, and what every error becomes: one line on stderr and an exit code."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Generator
from types import FrameType
from typing import Annotated, NoReturn

import typer

from fmedge import __version__
from fmedge.cli import bench, compare, diff, doctor, export, info, layers, report, run
from fmedge.cli.console import say
from fmedge.errors import FmedgeError

INTERRUPTED = 130
TERMINATED = 143
"""128 + the signal's number, as shells report it."""

app = typer.Typer(
    name="fmedge",
    help="VGG16 feature maps on the edge: cut at a layer, export, run, look.",
    rich_markup_mode=None,  # Rich takes longer to load than the help takes to read
    pretty_exceptions_enable=False,
    invoke_without_command=True,
)
app.command("export")(export.export_command)
app.command("verify")(export.verify_command)
app.command("run")(run.run_command)
app.command("diff")(diff.diff_command)
app.command("bench")(bench.bench_command)
app.command("compare")(compare.compare_command)
app.command("report")(report.report_command)
app.command("doctor")(doctor.doctor_command)
app.command("layers")(layers.layers_command)
app.command("info")(info.info_command)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fmedge {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    del version  # handled by its callback
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Words after ``fmedge``; None takes the process's own.

    Returns:
        The exit code; see :mod:`fmedge.errors`. An error that is none of ours keeps its traceback.
    """
    with _signals() as interrupted:
        code = _run(arguments)
    if interrupted:
        say("Interrupted. Nothing half-written was left.")
        return INTERRUPTED
    return code


def _run(arguments: list[str] | None) -> int:
    try:
        code = app(args=arguments, prog_name="fmedge", standalone_mode=False)
    except FmedgeError as error:
        say(f"Error: {error}")
        return error.exit_code
    except typer.TyperException as error:
        say(f"Error: {error.format_message()} See fmedge --help.")
        return 2
    return code if isinstance(code, int) else 0


@contextlib.contextmanager
def _signals() -> Generator[list[int]]:
    """Leave through the ``finally`` clauses on SIGINT and SIGTERM, so that temporary files go.

    Yields:
        A list that holds SIGINT once it came: C code that is being imported may turn the exception into
        another one, or swallow it.
    """
    came: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        came.append(number)
        raise KeyboardInterrupt

    def terminate(number: int, frame: FrameType | None) -> None:
        raise SystemExit(TERMINATED)

    former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    if former[signal.SIGINT] is not signal.SIG_IGN:  # as in a shell's background: leave it so
        signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, terminate)
    try:
        yield came
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def entry() -> NoReturn:
    """The ``fmedge`` command: :func:`main`, then out without taking the interpreter apart.

    Freeing the engine and the arrays piece by piece takes 50 ms, a tenth of a run; everything is written
    and closed by then.
    """
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
