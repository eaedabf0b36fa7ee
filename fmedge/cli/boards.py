"""``fmedge boards``: name boards, set fmedge up on them, see what they do, and remove it again."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fmedge.cli.console import emit, print_json, print_table, say
from fmedge.cli.interrupts import obeyed
from fmedge.cli.options import AsJson
from fmedge.errors import FmedgeError, UsageError

if TYPE_CHECKING:
    from fmedge.boards.registry import Board
    from fmedge.boards.setup import Status
    from fmedge.boards.target import Target

boards_app = typer.Typer(
    name="boards",
    help="Machines that are reached over ssh: measure, run and deploy on them.",
    rich_markup_mode=None,
    invoke_without_command=True,
)


@boards_app.callback()
def _common(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


_Name = Annotated[str, typer.Argument(metavar="NAME", help="The board's name.")]
_CopyWheels = Annotated[
    bool, typer.Option("--copy-wheels", help="Fetch the packages here and copy them: for boards without a network.")
]


@contextlib.contextmanager
def _reached(board: Board) -> Generator[Target]:
    """Open the way to a board; it is closed when the block ends."""
    from fmedge.boards.ssh import SshTarget

    with contextlib.closing(SshTarget(board)) as target:
        yield target


_NO_BOARDS = "There are no boards. Add one: fmedge boards add NAME user@host"


@boards_app.command("add")
def add_command(
    name: _Name,
    target: Annotated[
        str,
        typer.Argument(metavar="TARGET", help="Where ssh connects to: user@host, or an alias of its configuration."),
    ],
    python: Annotated[
        str, typer.Option(metavar="PYTHON", help="Python there, 3.11 to 3.13. [default: the newest that is found]")
    ] = "",
    ssh_config: Annotated[
        Path | None, typer.Option(readable=False, metavar="FILE", help="Configuration for ssh, as for ssh -F.")
    ] = None,
    no_setup: Annotated[
        bool, typer.Option("--no-setup", help="Only name it; fmedge boards setup does the rest.")
    ] = False,
    copy_wheels: _CopyWheels = False,
) -> None:
    """Name a board and set fmedge up on it: in an environment of its own, in one folder there."""
    from fmedge.boards.registry import Board, add_board, registry_path, remove_board
    from fmedge.system.files import is_file

    if ssh_config is not None and not is_file(ssh_config):
        raise UsageError(f"No file '{ssh_config}'.", hint="Name ssh's configuration, such as ~/.ssh/config.")
    board = Board(name, target, python, str(ssh_config.absolute()) if ssh_config else "")
    add_board(board)
    if no_setup:
        emit(f"{name}: {target} ({registry_path()})")
        return
    try:
        _set_up(board, copy_wheels=copy_wheels)
    except BaseException:
        remove_board(name)  # a name that cannot be used would be in the way of the next try
        raise


@boards_app.command("setup")
def setup_command(name: _Name, copy_wheels: _CopyWheels = False) -> None:
    """Set fmedge up on a board anew: after an update, or where that did not succeed."""
    from fmedge.boards.registry import find_board

    _set_up(find_board(name), copy_wheels=copy_wheels)


def _set_up(board: Board, *, copy_wheels: bool) -> None:
    from fmedge.boards.setup import set_up

    with _reached(board) as target:
        set_up(board, target, copy_wheels=copy_wheels, notice=say, stopping=obeyed)
    emit(f"{board.name}: {board.target}, set up")
    say(f"Next: fmedge doctor --on {board.name}")


@boards_app.command("list")
def list_command(as_json: AsJson = False) -> None:
    """List the boards."""
    from fmedge.boards.registry import read_boards

    boards = read_boards()
    if as_json:
        print_json([asdict(board) for board in boards.values()])
    elif boards:
        rows = [[each.name, each.target, each.python or "-", each.ssh_config or "-"] for each in boards.values()]
        print_table(["board", "target", "python", "ssh's file"], rows, left=4)
    else:
        say(_NO_BOARDS)


@boards_app.command("status")
def status_command(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="The board. [default: all]")] = None,
    stop: Annotated[bool, typer.Option("--stop", help="Also stop the jobs there, and remove them.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what boards are, what fmedge has there, and which jobs run."""
    from fmedge.boards.registry import find_board, read_boards
    from fmedge.boards.setup import status, stop_jobs

    boards = [find_board(name)] if name else [*read_boards().values()]
    found: dict[str, object] = {}
    failed: list[FmedgeError] = []
    for board in boards:
        try:
            with _reached(board) as target:
                now = status(board, target)
                if stop:
                    stopped = stop_jobs(board, target)
                    say(f"{board.name}: jobs stopped: {stopped}")
        except FmedgeError as error:
            failed.append(error)
            found[board.name] = {"error": error.in_full()}
            if not as_json:
                say(f"{board.name}: {error.in_full()}")
            continue
        found[board.name] = asdict(now)
        if not as_json:
            _show(board, now)
    if as_json:
        print_json(found)
    elif not boards:
        say(_NO_BOARDS)
    if failed:
        raise typer.Exit(failed[0].exit_code)


def _show(board: Board, now: Status) -> None:
    from datetime import UTC, datetime

    from fmedge.boards.probe import warnings
    from fmedge.boards.setup import describe

    emit(f"{board.name}: {board.target}, {describe(now.facts)}")
    has = f"fmedge {now.fmedge} on Python {now.python}, {now.used_bytes / 1e6:,.0f} MB" if now.fmedge else "not set up"
    disk, memory = now.facts.disk_bytes / 1e9, now.facts.available_bytes / 1e9
    emit(f"  {has}; {disk:.1f} GB of disk and {memory:.1f} GB of memory free")
    for job in now.jobs:
        ended = "was cut off" if job.code is None else f"ended with code {job.code}"
        with contextlib.suppress(ValueError, OverflowError, OSError):  # what a board tells as a time
            since = f"{datetime.fromtimestamp(job.started, UTC):%Y-%m-%d %H:%M} UTC"
            emit(f"  job {job.job}: {job.title}, since {since}, {'runs' if job.runs else ended}")
    for text in warnings(now.facts).values():
        say(f"Note: '{board.name}' {text}.")


@boards_app.command("remove")
def remove_command(
    name: _Name,
    forget: Annotated[
        bool, typer.Option("--forget", help="Only remove its name here, for a board that no longer answers.")
    ] = False,
) -> None:
    """Stop what runs on a board, remove everything of fmedge there, and forget the board."""
    from fmedge.boards.registry import find_board, remove_board
    from fmedge.boards.setup import uninstall

    board = find_board(name)
    if not forget:
        try:
            with _reached(board) as target:
                uninstall(board, target)
        except FmedgeError as error:
            error.hint = f"{error.hint} Without it: --forget."
            raise
    remove_board(name)
    emit(f"{name}: removed{', but not from the board itself' if forget else ''}")
