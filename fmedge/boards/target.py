"""A machine on which commands can be started: the seam behind which ssh is, and adb or a serial line could be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from subprocess import Popen
from typing import Protocol

from fmedge.errors import BoardUnavailable


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a machine could not be reached.

    Attributes:
        error: What to tell the user.
        passing: Whether trying again later may help: the network is down, say, or the machine is just starting.
    """

    error: BoardUnavailable
    passing: bool


class LinkLost(Exception):
    """The connection to a board is lost or cannot be made; a job there goes on."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure.error))
        self.failure = failure


class Target(Protocol):
    """A machine that commands are started on; nothing is known of what runs there."""

    name: str
    """The user's name for it."""

    def start(self, words: Sequence[str]) -> Popen[bytes]:
        """Start a command there, with pipes for stdin, stdout and stderr.

        Args:
            words: Program and arguments; each arrives as it is, whatever it holds.

        Raises:
            LinkLost: The machine cannot be reached.
            FmedgeError: No process can be started here.
        """
        ...

    def failure(self, code: int, said: str) -> Failure | None:
        """Return why the machine could not be reached; None where the command itself ended with that code.

        Args:
            code: Exit code of the process that :meth:`start` returned.
            said: What it printed on stderr.
        """
        ...

    def close(self) -> None:
        """End the connection. May be called twice."""
        ...
