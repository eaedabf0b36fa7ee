"""The boards that a user has named: ``boards.toml`` in the user's folder of settings."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from fmedge.errors import UsageError, closest
from fmedge.system import files, reading
from fmedge.system.serde import build_record, refusing, require_kind
from fmedge.system.temp_files import turn
from fmedge.system.user_folders import user_folder

LOCAL = "local"
"""The name that stands for this machine; no board can have it."""

MAX_BYTES = 1 << 18
"""Largest size of the file: a board takes about 100 bytes."""

MAX_BOARDS = 1000

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_TARGET = re.compile(r"[A-Za-z0-9_.~%@:/\[\]+][A-Za-z0-9_.~%@:/\[\]+-]{0,254}")
"""What ``ssh`` takes as a destination: ``user@host``, an alias of its configuration, or ``ssh://user@host:port``. It
never begins with a dash, and holds nothing that a shell reads in its own way."""

_PYTHON = re.compile(r"[A-Za-z0-9_./~+ -]{1,255}")


@dataclass(frozen=True, slots=True)
class Board:
    """A machine that fmedge reaches over ssh.

    Attributes:
        name: The user's name for it: letters a to z, digits and dashes.
        target: Where ``ssh`` connects to.
        python: The Python to use there, by name or path; empty where it is to be found.
        ssh_config: A configuration file for ``ssh -F``, as an absolute path; empty for the user's own.

    Raises:
        UsageError: A value is not allowed.
    """

    name: str
    target: str
    python: str = ""
    ssh_config: str = ""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise UsageError(
                f"A board cannot be named '{self.name}'. Allowed: letters a to z, digits and dashes, 32 at most."
            )
        if self.name == LOCAL:
            raise UsageError(f"A board cannot be named '{LOCAL}': that is this machine. Choose another name.")
        if not _TARGET.fullmatch(self.target):
            raise UsageError(f"'{self.target}' is not a target. Allowed: user@host, ssh://user@host:port, or an alias.")
        if self.python and (not _PYTHON.fullmatch(self.python) or self.python.startswith(("-", " "))):
            raise UsageError(f"'{self.python}' is not a Python. Allowed: a name or a path, such as python3.12.")
        if not self.ssh_config.isprintable() or (self.ssh_config and not Path(self.ssh_config).is_absolute()):
            raise UsageError(f"'{self.ssh_config}' cannot be kept as a configuration of ssh. Give it another name.")


def registry_path() -> Path:
    """Return the path of the file that names the boards.

    Raises:
        UsageError: The user has no home folder.
    """
    try:
        return user_folder("config") / "boards.toml"
    except RuntimeError as error:
        raise UsageError("There is no home folder to keep boards in.", hint="Name one: XDG_CONFIG_HOME.") from error


def read_boards() -> dict[str, Board]:
    """Read all boards, by their names.

    Raises:
        UsageError: The file is damaged.
    """
    path = registry_path()
    if not files.is_file(path):
        return {}
    with refusing(path, "a list of boards", "Correct it, or delete it and add the boards again"):
        tables = require_kind(dict, tomllib.loads(reading.read_bytes(path, MAX_BYTES).decode()))
        if len(tables) > MAX_BOARDS:
            raise ValueError(f"{len(tables):,} boards, at most {MAX_BOARDS:,} allowed")
        return {name: build_record(Board, {"name": name, **require_kind(dict, each)}) for name, each in tables.items()}


def find_board(name: str) -> Board:
    """Return the board of that name.

    Raises:
        UsageError: There is none.
    """
    boards = read_boards()
    if name not in boards:
        raise UsageError(f"Unknown board '{name}'.{closest(name, boards)}", hint="All: fmedge boards list.")
    return boards[name]


def find_boards(names: Sequence[str]) -> dict[str, Board | None]:
    """Return the boards of these names; None for :data:`LOCAL`, this machine.

    Raises:
        UsageError: There is no such board.
    """
    return {name: None if name == LOCAL else find_board(name) for name in names}


def add_board(board: Board) -> None:
    """Add a board.

    Raises:
        UsageError: There is one of that name.
        WriteError: The list cannot be written.
    """

    def change(boards: dict[str, Board]) -> dict[str, Board]:
        if board.name in boards:
            raise UsageError(
                f"There is a board '{board.name}' already: {boards[board.name].target}.",
                hint=f"Choose another name, or: fmedge boards remove {board.name}.",
            )
        return {**boards, board.name: board}

    _change(change)


def remember_python(board: Board, python: str) -> Board:
    """Keep which Python is used on a board.

    Returns:
        The board as it is kept now.
    """
    changed = replace(board, python=python)
    _change(lambda boards: {**boards, board.name: changed} if board.name in boards else boards)
    return changed


def remove_board(name: str) -> None:
    """Remove a board from the list, if it is there."""
    _change(lambda boards: {other: board for other, board in boards.items() if other != name})


def _change(change: Callable[[dict[str, Board]], dict[str, Board]]) -> None:
    """Read the list, change it and write it, while no other process does."""
    path = registry_path()
    files.create_folder(path.parent)
    with turn(path.parent):
        before = read_boards()
        after = change(before)
        if after != before:
            files.write_bytes(path, _to_toml(after).encode())


def _to_toml(boards: Mapping[str, Board]) -> str:
    """Write boards as TOML; their values hold no control characters, so JSON's texts are TOML's, too."""
    lines = ["# Boards of fmedge: fmedge boards add | remove"]
    for name, board in sorted(boards.items()):
        fields: dict[str, Any] = {field: value for field, value in asdict(board).items() if value and field != "name"}
        lines += [
            "",
            f"[{name}]",
            *(f"{field} = {json.dumps(value, ensure_ascii=False)}" for field, value in fields.items()),
        ]
    return "\n".join(lines) + "\n"
