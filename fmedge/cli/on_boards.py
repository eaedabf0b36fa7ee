"""``--on NAME[,NAME]``: do on boards what a command does here, several boards at once."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from fmedge.cli.console import say
from fmedge.cli.interrupts import obeyed
from fmedge.cli.parsing import split
from fmedge.errors import FmedgeError, UsageError

if TYPE_CHECKING:
    from concurrent.futures import Future

    from fmedge.boards.jobs import Ended, Job, Runner
    from fmedge.boards.registry import Board
    from fmedge.model.artifact import Artifact

ENGINES = ("onnxruntime", "ncnn", "litert")
"""The engines that boards are set up with: those of the lock file."""

On = Annotated[
    str | None,
    typer.Option("--on", metavar="NAME[,NAME]", help="On these boards instead of here; local: here, too."),
]

Result = TypeVar("Result")

_POLL_S = 0.2
_LOG_LETTERS = 1 << 26
"""Most letters that are kept of what a job prints on stdout."""


class Done:
    """A job that has ended on a board.

    Attributes:
        name: The board's name.
        ended: How it ended.
        out: What it printed on stdout.
        error: Its last line on stderr that says ``Error: ``; empty where there is none.
    """

    def __init__(self, name: str, ended: Ended, out: str, error: str) -> None:
        self.name = name
        self.ended = ended
        self.out = out
        self.error = error

    def require_success(self, allowed: Sequence[int] = (0,)) -> None:
        """Check the exit code.

        Raises:
            FmedgeError: It is another; the error has the same code.
        """
        code = self.ended.code
        if code in allowed:
            return
        if code is None:
            from fmedge.errors import BoardUnavailable

            raise BoardUnavailable(
                f"The job on '{self.name}' was cut off: the board restarted, or its memory or disk was full.",
                hint=f"See: fmedge boards status {self.name}.",
            )
        error = FmedgeError(f"On '{self.name}': {self.error or f'the command ended with code {code}'}")
        error.exit_code = code if 1 <= code < 128 else 1
        raise error


def names_of(words: str) -> list[str]:
    """Split the names of boards, and check that there are such.

    Raises:
        UsageError: One is unknown.
    """
    from fmedge.boards.registry import find_boards

    names = split(words)
    find_boards(names)
    return names


def on_each(
    names: Iterable[str], work: Callable[[Runner, Callable[[Job], Done]], Result]
) -> dict[str, Result | FmedgeError]:
    """Do something on several boards at once.

    Args:
        names: Their names.
        work: Gets a board's runner and a function that runs a job and returns what it printed.

    Returns:
        For each board the result, or the error.

    Raises:
        KeyboardInterrupt: The user interrupted; the jobs were stopped, and what they had by then was collected.
    """
    from concurrent.futures import ThreadPoolExecutor

    from fmedge.boards.registry import find_board

    boards = [find_board(name) for name in names]
    runners: list[Runner] = []
    interrupted = Event()

    def on_one(board: Board) -> Result:
        with _reached(board) as (runner, run):
            runners.append(runner)
            if interrupted.is_set():
                raise KeyboardInterrupt
            return work(runner, run)

    with ThreadPoolExecutor(max(1, len(boards))) as pool:
        running = {board.name: pool.submit(on_one, board) for board in boards}
        try:
            return {name: _outcome(future) for name, future in running.items()}
        except (KeyboardInterrupt, SystemExit):
            obeyed()
            interrupted.set()
            for runner in runners:
                runner.interrupt()
            raise


def _outcome(future: Future[Result]) -> Result | FmedgeError:
    """Wait for a result, awake for signals."""
    from concurrent.futures import wait

    while not wait([future], _POLL_S).done:
        continue
    try:
        return future.result()
    except FmedgeError as error:
        return error


@contextlib.contextmanager
def _reached(board: Board) -> Generator[tuple[Runner, Callable[[Job], Done]]]:
    """Connect to a board that is set up; yield what runs jobs there, the second with what they print."""
    from fmedge.boards.jobs import Runner
    from fmedge.boards.setup import ready
    from fmedge.boards.ssh import SshTarget

    printed: dict[str, list[str]] = {"out": [], "err": []}

    def hear(stream: str, text: str) -> None:
        if stream == "out" and sum(map(len, printed["out"])) + len(text) <= _LOG_LETTERS:
            printed["out"].append(text)
        for line in text.splitlines() if stream == "err" else ():
            if line.startswith("Error: "):
                printed["err"].append(line.removeprefix("Error: "))
            elif line.strip():
                say(f"{board.name}: {line}")

    with contextlib.closing(SshTarget(board)) as target:
        runner = Runner(ready(board, target), hear, say)

        def run(job: Job) -> Done:
            for each in printed.values():
                each.clear()
            ended = runner.run(job)
            return Done(board.name, ended, "".join(printed["out"]), (printed["err"] or [""])[-1])

        yield runner, run


def fmedge_step(*words: object) -> list[str]:
    """Return the step of a job that runs a command of the board's fmedge."""
    return ["@VENV@", "-P", "-m", "fmedge", *map(str, words)]


def told(*pairs: tuple[str, object]) -> list[str]:
    """Return options in the words of a command line, without those that have no value."""
    return [str(word) for flag, value in pairs if value is not None for word in (flag, value)]


def model_inputs(artifacts: Iterable[Artifact]) -> dict[str, Path]:
    """Return the files of models, by their paths in a job's folder."""
    from fmedge.model.artifact import artifact_paths

    paths = [path for artifact in artifacts for path in artifact_paths(artifact.path, artifact.card.format)]
    return {f"in/models/{path.name}": path for path in paths}


def trust_step(artifacts: Sequence[Artifact]) -> list[list[str]]:
    """Return the step after which a board runs models as this machine does: unguarded those that were made here."""
    from fmedge.model.known_models import is_known

    known = [f"in/models/{each.path.name}" for each in artifacts if is_known(each.card)]
    return [fmedge_step("trust", "--quiet", *known)] if known else []


def raise_first(found: Mapping[str, object]) -> None:
    """Say all errors, and raise the first.

    Raises:
        FmedgeError: There is one.
    """
    errors = [each for each in found.values() if isinstance(each, FmedgeError)]
    for error in errors[1:]:
        say(f"Failed: {error.in_full()}")
    if errors:
        raise errors[0]


@contextlib.contextmanager
def refusing_answers(name: str) -> Generator[None]:
    """Turn the errors of reading what a board's fmedge has printed into one line."""
    from fmedge.errors import BoardUnavailable

    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, UsageError) as error:
        raise BoardUnavailable(
            f"The board '{name}' gives answers that fmedge does not understand.",
            hint=f"Set it up again: fmedge boards setup {name}.",
        ) from error


def require_one(words: str, what: str) -> str:
    """Return the one board that a command takes.

    Raises:
        UsageError: There are several.
    """
    names = names_of(words)
    if len(names) > 1:
        raise UsageError(f"--on {words}: {what} takes one board. Name one.")
    return names[0]


def report_path(path: Path, name: str, *, several: bool) -> Path:
    """Return where a board's report is written: ``bench.pi5.json`` for ``bench.json`` where there are several."""
    return path.with_name(f"{path.stem}.{name}{path.suffix}") if several and path.suffix.lower() != ".html" else path
