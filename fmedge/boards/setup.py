"""Set fmedge up on a board, see what is there, and remove it without a trace.

The board gets one folder with an environment of its own. pip goes there from here, so that neither ``pip`` nor
``ensurepip`` has to be there; the packages are those of the lock file, by their hashes.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from fmedge._version import __version__
from fmedge.boards import wheels
from fmedge.boards.jobs import Job, Runner
from fmedge.boards.link import AgentRefused, Link, answered, ask
from fmedge.boards.probe import Facts, Python, probe, require_fit, warnings
from fmedge.boards.registry import Board, remember_python
from fmedge.boards.target import LinkLost, Target
from fmedge.errors import BoardUnavailable, printable
from fmedge.system.files import temporary_folder
from fmedge.system.serde import build_record

ROOM_BYTES = 700_000_000
"""Free room that a set-up needs: the environment takes 420 MB on x86-64, and pip unpacks beside it."""

_SAID_LETTERS = 20_000
_LONGEST = 80

_PYTHON = "@ROOT@/venv.new/bin/python"


@dataclass(frozen=True, slots=True)
class RemoteJob:
    """A job as a board tells it.

    Attributes:
        job: Its number.
        title: What it is.
        started: When it was started, by the board's clock, in seconds since 1970.
        runs: Whether it runs.
        code: Its exit code; None while it runs or where it was cut off.
    """

    job: str
    title: str
    started: float
    runs: bool
    code: int | None


@dataclass(frozen=True, slots=True)
class Status:
    """What a board is and has.

    Attributes:
        facts: What it is.
        fmedge: Version of the fmedge that it was set up with; empty where it was not.
        python: Version of the Python of its environment.
        used_bytes: Room that fmedge takes there.
        jobs: The jobs that run there or were left.
    """

    facts: Facts
    fmedge: str
    python: str
    used_bytes: int
    jobs: tuple[RemoteJob, ...]


def reach(target: Target, python: str = "") -> Facts:
    """Connect to a board and find out what it is; see :func:`fmedge.boards.probe.probe`.

    Raises:
        BoardUnavailable: It cannot be reached, or does not say what it is.
    """
    try:
        return probe(target, python)
    except LinkLost as error:
        raise error.failure.error from error


def set_up(
    board: Board,
    target: Target,
    *,
    copy_wheels: bool = False,
    notice: Callable[[str], None] = lambda _: None,
    stopping: Callable[[], None] = lambda: None,
) -> Board:
    """Make the environment on a board, or make it anew.

    Args:
        board: The board.
        target: How it is reached.
        copy_wheels: Fetch the packages here and copy them: for boards without a network.
        notice: Receives remarks, a line each.
        stopping: As for :class:`fmedge.boards.jobs.Runner`.

    Returns:
        The board, with the Python that is used.

    Raises:
        BoardUnavailable: It cannot be reached, or fmedge cannot run there; a former environment is still whole.
    """
    facts = reach(target, board.python)
    python = require_fit(board.name, facts, room_bytes=ROOM_BYTES)
    found = warnings(facts)
    if "clock" in found and not copy_wheels:
        raise BoardUnavailable(
            f"The board '{board.name}' {found['clock']}: its pip would refuse every certificate.",
            hint="Set its clock, or: --copy-wheels.",
        )
    for text in found.values():
        notice(f"Note: '{board.name}' {text}.")
    notice(f"Setting up '{board.name}': {describe(facts)}.")
    link = Link(target, python.name)
    with temporary_folder() as folder:
        own, pip, fetched = _packages(python, folder, copy_wheels=copy_wheels, notice=notice)
        (folder / "lock.txt").write_text(wheels.lock())
        said: list[str] = []
        runner = Runner(link, lambda _, text: said.append(text), notice, stopping=stopping)
        job = _job(own, pip, folder / "lock.txt", fetched)
        whole = False
        try:
            ended = runner.run(job)
            whole = ended.code == 0
        finally:
            if not whole:
                _abandon(link)
    if not whole:
        reason = "it was cut off: the board restarted, or its memory was full"
        if ended.code is not None:
            reason = wheels.explain_pip("".join(said)[-_SAID_LETTERS:])
        offline = any(word in reason for word in ("network", "index", "clock")) and not copy_wheels
        raise BoardUnavailable(
            f"'{board.name}' cannot be set up: {reason}.",
            hint="Fetch the packages here: --copy-wheels." if offline else "",
        )
    record = {"fmedge": __version__, "python": ".".join(map(str, python.version)), "copied": copy_wheels}
    answered(lambda: ask(link, "adopt", setup=record))
    return remember_python(board, python.name)


def _packages(
    python: Python, folder: Path, *, copy_wheels: bool, notice: Callable[[str], None]
) -> tuple[Path, Path, list[Path]]:
    """Return our own wheel, pip's, and those that are fetched here."""
    places = [folder / name for name in ("own", "pip", "fetched")]
    for place in places:
        place.mkdir()
    own, pip = wheels.own_wheel(places[0]), wheels.pip_wheel(places[1])
    if not copy_wheels:
        return own, pip, []
    notice(f"Fetching packages for Python {python.version[0]}.{python.version[1]}, {python.machine}.")
    return own, pip, wheels.download(python, places[2])


def _job(own: Path, pip: Path, lock: Path, fetched: list[Path]) -> Job:
    install = [_PYTHON, "-I", f"@JOB@/in/{pip.name}/pip", "install", "--quiet", "--disable-pip-version-check"]
    install += ["--no-warn-script-location", "--no-cache-dir", "--no-deps", "--only-binary", ":all:"]
    source = ["--no-index", "--find-links", "@JOB@/in/wheels"] if fetched else []
    return Job(
        "fmedge boards setup",
        steps=[
            ["@PYTHON@", "-I", "-m", "venv", "--without-pip", "--clear", "@ROOT@/venv.new"],
            [*install, *source, "--require-hashes", "--requirement", "@JOB@/in/lock.txt"],
            [*install, "--no-index", f"@JOB@/in/{own.name}"],
            [_PYTHON, "-I", "-m", "fmedge", "--version"],
        ],
        inputs={
            **{f"in/{each.name}": each for each in (own, pip, lock)},
            **{f"in/wheels/{each.name}": each for each in fetched},
        },
    )


def _abandon(link: Link) -> None:
    """Remove an environment that was not made whole, if the board can be reached."""
    try:
        ask(link, "adopt", setup=None)
    except (LinkLost, AgentRefused, BoardUnavailable):
        return


def describe(facts: Facts) -> str:
    """Describe a board in a line."""
    python = facts.python
    parts = [
        facts.model,
        facts.machine,
        f"{facts.memory_bytes / 1e9:.1f} GB" if facts.memory_bytes else "",
        f"Python {'.'.join(map(str, python.version))}" if python else "no Python that fits",
    ]
    return ", ".join(filter(None, parts))


def ready(board: Board, target: Target) -> Link:
    """Connect to a board that is set up.

    Raises:
        BoardUnavailable: It cannot be reached, or was not set up with this version of fmedge.
    """
    if not board.python:
        raise _not_set_up(board)
    link = Link(target, board.python)
    record = _setup_record(answered(lambda: ask(link, "state", measure=False)))
    if not record:
        raise _not_set_up(board)
    if record["fmedge"] != __version__:
        raise BoardUnavailable(
            f"The board '{board.name}' has fmedge {record['fmedge']}; here it is {__version__}.",
            hint=f"Set it up again: fmedge boards setup {board.name}.",
        )
    return link


def _not_set_up(board: Board) -> BoardUnavailable:
    return BoardUnavailable(
        f"The board '{board.name}' is not set up.", hint=f"Set it up: fmedge boards setup {board.name}."
    )


def status(board: Board, target: Target) -> Status:
    """Return what a board is and has.

    Raises:
        BoardUnavailable: It cannot be reached, or does not say what it is.
    """
    facts = reach(target, board.python)
    python = facts.python
    if python is None:
        return Status(facts, "", "", 0, ())
    answer = answered(lambda: ask(Link(target, python.name), "state", measure=True))
    record = _setup_record(answer)
    used: object = answer.get("used_bytes")
    return Status(
        facts,
        record.get("fmedge", ""),
        record.get("python", ""),
        used if isinstance(used, int) and used >= 0 else 0,
        tuple(_read_jobs(answer.get("jobs"))),
    )


def _setup_record(answer: Mapping[str, Any]) -> dict[str, str]:
    """Return what a board says of its set-up, as texts for a line; empty where it has none."""
    told: object = answer.get("setup")
    if not isinstance(told, dict):
        return {}
    return {name: printable(str(told.get(name, "?")))[:_LONGEST] for name in ("fmedge", "python")}  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]


def _read_jobs(told: object) -> list[RemoteJob]:
    """Read the jobs that a board tells of; what is none is left out."""
    found: list[RemoteJob] = []
    for each in cast("list[object]", told) if isinstance(told, list) else ():
        with contextlib.suppress(TypeError, ValueError):  # whatever it is, it is no job
            job = build_record(RemoteJob, each)
            if re.fullmatch(r"\w{1,32}", job.job):
                found.append(replace(job, title=printable(job.title)[:_LONGEST]))
    return found


def stop_jobs(board: Board, target: Target) -> int:
    """Stop every job on a board and remove it there; return how many there were."""
    jobs = status(board, target).jobs
    link = Link(target, board.python)
    for each in jobs:
        answered(lambda number=each.job: ask(link, "stop", job=number))
        answered(lambda number=each.job: ask(link, "discard", job=number, drop=[]))
    return len(jobs)


def uninstall(board: Board, target: Target) -> None:
    """Stop what runs on a board and remove everything that fmedge has put there.

    Raises:
        BoardUnavailable: It cannot be reached, or something cannot be removed.
    """
    python = reach(target, board.python).python
    if python is None:
        return  # nothing could be put there
    if answered(lambda: ask(Link(target, python.name), "uninstall")).get("removed") is not True:
        raise BoardUnavailable(f"Something of fmedge is left on '{board.name}', in ~/.local/share/fmedge-board.")
