"""The Typer application, and what every error becomes: one line on stderr and an exit code."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import Annotated, NoReturn

import typer

from fmedge import __version__
from fmedge.cli import export, info, layers, run
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
    no_args_is_help=True,
)
app.command("export")(export.export_command)
app.command("run")(run.run_command)
app.command("layers")(layers.layers_command)
app.command("info")(info.info_command)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fmedge {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    del version  # handled by its callback


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Words after ``fmedge``; None takes the process's own.

    Returns:
        The exit code; see :mod:`fmedge.errors`. An error that is none of ours keeps its traceback.
    """
    signal.signal(signal.SIGTERM, _terminate)
    try:
        code = app(args=arguments, prog_name="fmedge", standalone_mode=False)
    except FmedgeError as error:
        say(f"Error: {error}")
        return error.exit_code
    except typer.TyperException as error:
        say(f"Error: {error.format_message()} See fmedge --help.")
        return 2
    if code == INTERRUPTED:
        say("Interrupted. Nothing half-written was left.")
    return code if isinstance(code, int) else 0


def entry() -> NoReturn:
    """The ``fmedge`` command: :func:`main`, then out without taking the interpreter apart.

    Freeing the engine and the arrays piece by piece takes 50 ms, a tenth of a run; everything is written
    and closed by then.
    """
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _terminate(number: int, frame: FrameType | None) -> None:
    """Leave through the ``finally`` clauses, so that temporary files go."""
    raise SystemExit(TERMINATED)
