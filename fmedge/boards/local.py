"""This machine as a target: for jobs that run here as they would on a board, and for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from subprocess import PIPE, Popen

from fmedge.boards.registry import LOCAL
from fmedge.boards.target import Failure
from fmedge.system import children


class LocalTarget:
    """This machine; a :class:`Target`.

    Args:
        environment: The environment of its commands; None takes that of this process.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self.name = LOCAL
        self._environment = environment

    def start(self, words: Sequence[str]) -> Popen[bytes]:
        """Start a command here; see :class:`Target`."""
        return children.start(
            list(words), stdin=PIPE, stdout=PIPE, stderr=PIPE, env=self._environment, start_new_session=True
        )

    def failure(self, code: int, said: str) -> Failure | None:
        """Return None: this machine can always be reached."""
        del code, said

    def close(self) -> None:
        """Do nothing: there is no connection."""
