"""Talk to a board: send the agent with a request, and read what it answers, as data from a stranger."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files as resources
from pathlib import Path
from subprocess import Popen
from typing import IO, Any

from fmedge.boards.agent import MARKER
from fmedge.boards.ssh import Said
from fmedge.boards.target import Failure, LinkLost, Target
from fmedge.errors import BoardUnavailable, printable
from fmedge.system import children
from fmedge.system.serde import parse

_START = "import sys;exec(sys.stdin.buffer.read(int(sys.argv[1])))"
"""Runs the agent, of which the length in bytes is the argument, from stdin. Every login shell reads this line alike: it
holds none of the characters that some treat in their own way."""

_LONGEST_LINE = 1 << 20
_MAX_GREETING = 1000
"""Most bytes of a line of an answer, and most lines that a login may print before it."""

_CHUNK = 1 << 16

NO_PYTHON = (126, 127)
"""Codes with which a shell says that a program cannot be run, or is not there."""

_REFUSALS = {
    "full": ("has no room", "Free some disk space there."),
    "busy": ("is busy", "Wait, or see: fmedge boards status"),
    "failed": ("failed", "See: fmedge boards status"),
    "gone": ("no longer has it", "Start it again."),
    "cut": ("got a damaged file", "Try again."),
}
"""What the agent's refusals mean and what to do; any other kind is no word of ours."""


class AgentRefused(Exception):
    """The agent refused a request.

    Attributes:
        kind: A key of the table of refusals; others become ``failed``.
        error: What to tell the user.
    """

    def __init__(self, kind: str, error: BoardUnavailable) -> None:
        super().__init__(str(error))
        self.kind = kind
        self.error = error


@dataclass(frozen=True, slots=True)
class Link:
    """A board, and the Python that the agent is run by.

    Attributes:
        target: How commands get there.
        python: Name or path of its Python.
    """

    target: Target
    python: str


@cache
def _agent() -> bytes:
    return resources("fmedge.boards").joinpath("agent.py").read_bytes()


@contextlib.contextmanager
def conversation(link: Link, do: str, *, content: Path | None = None, **fields: object) -> Generator[Answers]:
    """Make a request of the agent; the block reads its answers.

    Args:
        link: The board.
        do: The request's name.
        content: A file that is sent after it.
        fields: What else the request says.

    Raises:
        LinkLost: The connection cannot be made or was lost.
        AgentRefused: The request was refused.
        BoardUnavailable: The board answers something else, or has no such Python.
    """
    agent = _agent()
    request = json.dumps({"do": do, **fields}).encode() + b"\n"
    process = link.target.start([link.python, "-I", "-B", "-c", _START, str(len(agent))])
    said = Said(process)
    try:
        with contextlib.suppress(OSError):  # it ended before it read everything: its code says why
            _send(process, agent + request, content)
        yield Answers(link, process, said)
    finally:
        children.end(process)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()


def ask(link: Link, do: str, *, content: Path | None = None, **fields: object) -> dict[str, Any]:
    """Make a request of the agent and return its one answer; see :func:`conversation`."""
    with conversation(link, do, content=content, **fields) as answers:
        return answers.one()


def _send(process: Popen[bytes], head: bytes, content: Path | None) -> None:
    stdin = process.stdin
    if stdin is None:
        return
    stdin.write(head)
    if content is not None:
        with content.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                stdin.write(chunk)
    stdin.close()


class Answers:
    """The answers to a request, in their order. What they hold is checked by whoever reads them."""

    def __init__(self, link: Link, process: Popen[bytes], said: Said) -> None:
        self._link = link
        self._process = process
        self._said = said
        self._begun = False

    @property
    def _stdout(self) -> IO[bytes]:
        assert self._process.stdout is not None  # noqa: S101 - there is a pipe: Target.start
        return self._process.stdout

    def one(self) -> dict[str, Any]:
        """Return the next answer.

        Raises:
            LinkLost: There is none: the connection was lost.
            AgentRefused: It is a refusal.
            BoardUnavailable: It is not an answer of the agent.
        """
        if not self._begun:
            self._skip_greeting()
        line = self._stdout.readline(_LONGEST_LINE)
        if not line.endswith(b"\n"):
            raise self._ending()
        try:
            data = parse(line)
        except (ValueError, RecursionError) as error:
            raise self.wrong() from error
        if not isinstance(data, dict):
            raise self.wrong()
        found: dict[str, Any] = data  # pyright: ignore[reportUnknownVariableType]
        if "refused" in found:
            raise self._refusal(found)
        return found

    def _skip_greeting(self) -> None:
        for _ in range(_MAX_GREETING):
            line = self._stdout.readline(_LONGEST_LINE)
            if line.strip() == MARKER.encode():
                self._begun = True
                return
            if not line:
                raise self._ending()
        raise self.wrong()

    def raw(self, size: int) -> Iterator[bytes]:
        """Yield the content that follows an answer; fewer bytes where the connection is lost."""
        while size and (chunk := self._stdout.read(min(size, _CHUNK))):
            size -= len(chunk)
            yield chunk

    def wrong(self) -> BoardUnavailable:
        """Return the error for an answer that the agent does not give."""
        return BoardUnavailable(
            f"The board '{self._link.target.name}' gives answers that fmedge does not understand.",
            hint=f"Set it up again: fmedge boards setup {self._link.target.name}.",
        )

    def _ending(self) -> Exception:
        """Return why there is no answer."""
        code, said, name = self._process.wait(), self._said.text(), self._link.target.name
        failure = self._link.target.failure(code, said)
        if failure is not None:
            return LinkLost(failure)
        if code in NO_PYTHON:
            return BoardUnavailable(
                f"The board '{name}' has no program '{self._link.python}'.",
                hint=f"Set it up again: fmedge boards setup {name}.",
            )
        last = next((line for line in reversed(said.splitlines()) if line.strip()), f"code {code}")
        if code < 0 or code > 128:
            return LinkLost(Failure(BoardUnavailable(f"The board '{name}' ended the request ({last})."), passing=True))
        return BoardUnavailable(f"The board '{name}' cannot run a request: {printable(last)}.")

    def _refusal(self, data: dict[str, Any]) -> AgentRefused:
        name = self._link.target.name
        kind = str(data["refused"]) if str(data["refused"]) in _REFUSALS else "failed"
        what, hint = _REFUSALS[kind]
        told = printable(str(data.get("text", "")))[:100]
        mend = f"{hint} {name}." if "fmedge" in hint else hint
        return AgentRefused(kind, BoardUnavailable(f"The board '{name}' {what}: {told}.", hint=mend))


def answered(request: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Make a request of a board; what keeps it from being answered becomes an error for the user."""
    try:
        return request()
    except LinkLost as error:
        raise error.failure.error from error
    except AgentRefused as error:
        raise error.error from error


def absent_files(link: Link, hashes: Sequence[str]) -> list[str]:
    """Return which files, by the SHA-256 of their content, a board does not have."""
    told: object = ask(link, "missing", hashes=list(hashes)).get("missing")
    return [each for each in hashes if not isinstance(told, list) or each in told]


def send_file(link: Link, sha256: str, path: Path) -> None:
    """Copy a file to a board, which keeps it by its hash.

    Raises:
        LinkLost: The connection was lost.
        AgentRefused: There is no room for it.
    """
    ask(link, "store", content=path, sha256=sha256, name=path.name, size=path.stat().st_size)
