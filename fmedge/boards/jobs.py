"""Run a job on a board: copy its files, start it, follow what it prints, and collect its results.

The job runs by itself there. Where the connection is lost, this side tries again and goes on reading where it was; what
the job prints meanwhile is in its logs. A job ends when its results are here, or when the user stops it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from fmedge.boards.link import AgentRefused, Link, absent_files, ask, conversation, send_file
from fmedge.boards.target import LinkLost
from fmedge.errors import BoardUnavailable
from fmedge.system.reading import digest

PATIENCE_S = 600.0
"""How long a lost connection is tried again; a board that restarts takes a minute or two."""

_PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
"""Pauses between tries; the last one repeats."""

MAX_RESULT_BYTES = 1 << 30
"""Most bytes of a result: a page of a deep network's maps has some tens of megabytes, maps at 4K half a gigabyte."""

_MAX_RESULTS_WAIT = 3
"""How often a result that arrives damaged is fetched again."""

Result = TypeVar("Result")

Say = Callable[[str, str], None]
"""Receives what a job prints: ``out`` or ``err``, and whole lines."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a board is to do.

    Attributes:
        title: What it is, in a few words.
        steps: Commands, one after the other; ``@VENV@`` is the Python that has fmedge, ``@JOB@`` the job's folder.
        inputs: Files that it reads, by their paths in its folder.
        outputs: Its results: paths in its folder, and where they are written here.
        kept: Inputs of which the board keeps a copy for later jobs: models, whose copying takes long.
    """

    title: str
    steps: Sequence[Sequence[str]]
    inputs: Mapping[str, Path] = field(default_factory=dict[str, Path])
    outputs: Mapping[str, Path] = field(default_factory=dict[str, Path])
    kept: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Ended:
    """How a job ended.

    Attributes:
        code: Its exit code; None where it was cut off: the board restarted, or the system killed it.
        found: Which of its results are here.
    """

    code: int | None
    found: frozenset[str]


class Runner:
    """Runs jobs on one board, one after the other.

    Args:
        link: The board.
        say: Receives what a job prints.
        notice: Receives remarks about the connection, a line each.
        patience_s: How long a lost connection is tried again.
        stopping: Called when the user interrupts, before the job is stopped there, which takes some seconds.
    """

    def __init__(
        self,
        link: Link,
        say: Say = lambda _stream, _text: None,
        notice: Callable[[str], None] = lambda _: None,
        *,
        patience_s: float = PATIENCE_S,
        stopping: Callable[[], None] = lambda: None,
    ) -> None:
        self.link = link
        self._say = say
        self._notice = notice
        self._patience_s = patience_s
        self._stopping = stopping
        self._interrupted = False
        self._heard_at = 0.0

    @property
    def name(self) -> str:
        """The board's name."""
        return self.link.target.name

    def interrupt(self) -> None:
        """Make :meth:`run`, which another thread is in, stop its job and end, as Ctrl-C would."""
        self._interrupted = True

    def run(self, job: Job) -> Ended:
        """Run a job and collect its results; nothing of it stays on the board.

        Returns:
            How it ended. Results are written where the job says, whole or not at all.

        Raises:
            BoardUnavailable: The board cannot be reached, is busy or full, or answers nonsense.
            KeyboardInterrupt: The user interrupted: the job was stopped there, and its results so far are here.
        """
        hashes = {name: digest(path, "sha256") for name, path in job.inputs.items()}
        number = secrets.token_hex(8)
        self._copy(job, hashes)
        try:
            self._start(number, job, hashes)
            ended = self._follow(number)
        except (KeyboardInterrupt, SystemExit):
            self._stopping()
            self._stop(number, job, hashes)
            raise
        return self._collect(number, job, hashes, ended)

    def _copy(self, job: Job, hashes: Mapping[str, str]) -> None:
        """Copy what the board does not have."""
        paths = {hashes[name]: path for name, path in job.inputs.items()}
        absent = self._again(partial(absent_files, self.link, list(paths)))
        for sha256 in absent:
            size = paths[sha256].stat().st_size
            if size > _WORTH_TELLING_BYTES:
                self._notice(f"{self.name}: copying {paths[sha256].name}, {size / 1e6:.0f} MB.")
            self._again(partial(send_file, self.link, sha256, paths[sha256]))

    def _start(self, number: str, job: Job, hashes: Mapping[str, str]) -> None:
        steps = [list(step) for step in job.steps]
        files = [[name, hashes[name]] for name in job.inputs]
        outputs = list(job.outputs)

        def start() -> None:
            ask(self.link, "start", job=number, title=job.title, steps=steps, files=files, outputs=outputs)

        self._again(start)

    def _follow(self, number: str) -> _End:
        """Pass on what the job prints until it has ended."""
        at = {"out": 0, "err": 0}

        def read() -> _End:
            with conversation(self.link, "follow", job=number, out=at["out"], err=at["err"]) as answers:
                while True:
                    answer = answers.one()
                    self._heard_at = time.monotonic()
                    self._obey()
                    if "code" in answer:
                        return _read_end(answer, answers.wrong)
                    if answer.get("tick") is not True:
                        stream, place, text = answer.get("stream"), answer.get("at"), answer.get("text")
                        if stream not in at or not isinstance(place, int) or not isinstance(text, str):
                            raise answers.wrong()
                        at[str(stream)] = place
                        self._say(str(stream), text)

        return self._again(read)

    def _collect(self, number: str, job: Job, hashes: Mapping[str, str], ended: _End) -> Ended:
        """Fetch the results, and remove the job there."""
        from fmedge.system.files import write_bytes

        found: list[str] = []
        for name, path in job.outputs.items():
            if name in ended.outputs:
                write_bytes(path, self._fetch(number, name, *ended.outputs[name]))
                found.append(name)
        drop = [sha256 for name, sha256 in hashes.items() if name not in job.kept]
        self._again(lambda: ask(self.link, "discard", job=number, drop=drop))
        return Ended(ended.code, frozenset(found))

    def _fetch(self, number: str, name: str, size: int, sha256: str) -> bytes:
        """Return the content of a result, which is read on where the connection was lost."""
        import hashlib

        if size > MAX_RESULT_BYTES:
            raise BoardUnavailable(
                f"The board '{self.name}' has a result of {size:,} bytes. Allowed: {MAX_RESULT_BYTES:,}."
            )
        for _ in range(_MAX_RESULTS_WAIT):
            content = bytearray()

            def read(content: bytearray = content) -> None:
                with conversation(self.link, "fetch", job=number, name=name, at=len(content)) as answers:
                    if answers.one().get("bytes") != size - len(content):
                        raise answers.wrong()
                    for chunk in answers.raw(size - len(content)):
                        content += chunk
                        self._heard_at = time.monotonic()
                    if len(content) < size:
                        answers.one()  # raises: the connection is lost

            self._again(read)
            if hashlib.sha256(content).hexdigest() == sha256:
                return bytes(content)
        raise BoardUnavailable(f"A result of the board '{self.name}' arrives damaged each time.", hint="Try again.")

    def _stop(self, number: str, job: Job, hashes: Mapping[str, str]) -> None:
        """Stop the job there and collect what it has; say so where the board cannot be reached."""
        try:
            self._notice(f"Stopping the job on '{self.name}'.")
            ask(self.link, "stop", job=number)
            if job.outputs:
                with conversation(self.link, "follow", job=number, out=_PAST_ALL, err=_PAST_ALL) as answers:
                    while "code" not in (answer := answers.one()):
                        continue
                    ended = _read_end(answer, answers.wrong)
                self._collect(number, job, hashes, ended)
            else:
                ask(self.link, "discard", job=number, drop=[])
        except (AgentRefused, LinkLost, BoardUnavailable) as error:
            if isinstance(error, AgentRefused) and error.kind == "gone":
                return  # it had not begun
            self._notice(
                f"The job on '{self.name}' may go on ({error}). Later: fmedge boards status {self.name} --stop"
            )

    def _obey(self) -> None:
        if self._interrupted:
            self._interrupted = False
            raise KeyboardInterrupt

    def _again(self, work: Callable[[], Result]) -> Result:
        """Do something, again and again where the connection is lost; patience starts anew when the board is heard.

        Raises:
            BoardUnavailable: The connection cannot be made again, or the request was refused.
        """
        lost_at, tries = 0.0, 0
        while True:
            self._obey()
            try:
                return work()
            except AgentRefused as error:
                raise error.error from error
            except LinkLost as error:
                if self._heard_at >= lost_at:  # the first loss, or the first since then
                    lost_at, tries = time.monotonic(), 0
                if not error.failure.passing or time.monotonic() > lost_at + self._patience_s:
                    raise error.failure.error from error
                if tries == 0:
                    self._notice(f"{error} Trying again.")
            time.sleep(_PAUSES_S[min(tries, len(_PAUSES_S) - 1)])
            tries += 1


_WORTH_TELLING_BYTES = 5_000_000

_PAST_ALL = 1 << 40
"""A place in a log after everything that is in it."""


@dataclass(frozen=True, slots=True)
class _End:
    """How a job ended, as the board tells it: its code, and for each result its size and hash."""

    code: int | None
    outputs: Mapping[str, tuple[int, str]]


def _read_end(answer: Mapping[str, Any], wrong: Callable[[], Exception]) -> _End:
    """Check how a job ended, as a stranger says it."""
    code: object = answer["code"]
    told: object = answer.get("outputs")
    if not isinstance(told, dict) or not (code is None or isinstance(code, int)):
        raise wrong()
    outputs: dict[str, tuple[int, str]] = {}
    for name, pair in cast("dict[object, object]", told).items():
        size, sha256 = cast("list[object]", pair) if isinstance(pair, list) and len(pair) == 2 else (None, None)  # pyright: ignore[reportUnknownArgumentType]
        if not isinstance(size, int) or size < 0 or not isinstance(sha256, str):
            raise wrong()
        outputs[str(name)] = size, sha256
    return _End(code, outputs)
