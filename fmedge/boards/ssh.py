"""A machine that is reached by the system's ``ssh``, with the user's own configuration, keys, agents and jump hosts.

One connection carries all commands (``ControlMaster``). The process that holds it runs ``cat`` on the other side: when
this process ends, however it does, the pipe to that closes, and the connection with it.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shlex
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from subprocess import PIPE, Popen, TimeoutExpired
from threading import Thread
from typing import NamedTuple

from fmedge.boards.registry import Board
from fmedge.boards.target import Failure, LinkLost
from fmedge.errors import BackendUnavailable, BoardUnavailable, LimitExceeded
from fmedge.system import children
from fmedge.system.files import temporary_folder

_OPTIONS = (
    "BatchMode=yes",  # no question is asked: neither for a password nor for an unknown host key
    "ConnectTimeout=15",
    "ServerAliveInterval=5",
    "ServerAliveCountMax=4",
    "RequestTTY=no",
    "RemoteCommand=none",
    "ClearAllForwardings=yes",
    "ForwardX11=no",
    "PermitLocalCommand=no",
    "ControlPersist=no",
)
"""Options of every call, which go before those of the user's configuration. Host keys are checked as the user's ssh
does."""

_LONGEST_SOCKET = 85
"""Most bytes of a socket's path: 107 are possible (unix(7)), and ssh puts up to 18 after it while it connects."""

_SAID_BYTES = 1 << 16
"""Most bytes that are kept of what ``ssh`` prints on stderr."""

_OF_SSH = 255
"""The code with which ``ssh`` ends after an error of its own."""

_LAST_WAIT_S = 2.0
_MAX_LINES = 1000


class _Row(NamedTuple):
    """What ``ssh`` prints, what it means, what to do, and whether it may pass by itself."""

    pattern: str
    message: str
    hint: str
    passing: bool = False


_ROWS = (
    _Row(
        r"IDENTIFICATION HAS CHANGED|host key for .* has changed",
        "the host key has changed: another machine may be answering",
        "If you know why, remove the old key: ssh-keygen -R HOST.",
    ),
    _Row(r"Host key verification failed|key is known for", "its host key is not known here", "Connect once by hand:"),
    _Row(r"Too many authentication failures", "it was offered too many keys", "Name one: IdentityFile in ssh's file."),
    _Row(r"Permission denied", "it accepts none of your keys", "Install one: ssh-copy-id"),
    _Row(r"Could not resolve hostname", "its name cannot be resolved", "Check it:", passing=True),
    _Row(r"Connection refused", "no ssh server answers there", "Is it running? Try:", passing=True),
    _Row(
        r"No route to host|Network is unreachable|Host is down", "there is no way to it", "Is it on? Try:", passing=True
    ),
    _Row(r"timed out|Timeout, server", "it does not answer", "Is it on? Try:", passing=True),
    _Row(
        r"Connection (to \S+ )?(reset|closed|aborted)|Broken pipe|client_loop|banner exchange|kex_exchange|mux_client|"
        r"Shared connection",
        "the connection was lost",
        "Try:",
        passing=True,
    ),
    _Row(
        r"[Bb]ad owner or permissions|[Bb]ad configuration|user config file|line \d+: ",
        "ssh's own file is wrong",
        "See:",
    ),
)
"""The errors of OpenSSH (ssh(1), 7.x to 10.x), the most telling first."""


class SshTarget:
    """A board behind ``ssh``; a :class:`Target`.

    Args:
        board: The board.
    """

    def __init__(self, board: Board) -> None:
        self.name = board.name
        self._board = board
        self._held = ExitStack()
        self._socket: Path | None = None
        self._master: Popen[bytes] | None = None

    def start(self, words: Sequence[str]) -> Popen[bytes]:
        """Start a command there, over the one connection; see :class:`Target`."""
        self._connect()
        return self._start(["-o", "ControlMaster=no"], shlex.join(words))

    def failure(self, code: int, said: str) -> Failure | None:
        """Return why the board could not be reached; see :class:`Target`."""
        if code >= 0 and code != _OF_SSH:
            return None
        for row in _ROWS:
            if re.search(row.pattern, said):
                mend = f"{row.hint} ssh {self._board.target}" if row.hint.endswith((":", "-id")) else row.hint
                if row.hint.endswith("-id"):
                    mend = f"{row.hint} {self._board.target}"
                return Failure(self._error(row.message, f"{mend.rstrip('.')}."), row.passing)
        last = next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "")
        return Failure(self._error(last or "the connection was lost", f"Try: ssh {self._board.target}."), passing=True)

    def _error(self, reason: str, hint: str) -> BoardUnavailable:
        return BoardUnavailable(f"Cannot reach the board '{self.name}': {reason.rstrip('.')}.", hint=hint)

    def _start(self, options: Sequence[str], command: str) -> Popen[bytes]:
        words = ["ssh", *(["-F", self._board.ssh_config] if self._board.ssh_config else [])]
        words += [word for option in _OPTIONS for word in ("-o", option)]
        words += ["-S", str(self._socket) if self._socket else "none", *options, "--", self._board.target, command]
        try:
            return children.start(words, stdin=PIPE, stdout=PIPE, stderr=PIPE, start_new_session=True)
        except LimitExceeded as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise BackendUnavailable("There is no ssh here.", hint="Install OpenSSH's client.") from error
            raise

    def _connect(self) -> None:
        """Make the connection, if there is none or the last one is lost.

        Raises:
            LinkLost: It cannot be made.
        """
        if self._master is not None and self._master.poll() is None:
            return
        self._drop()
        if self._socket is None:
            folder = self._held.enter_context(temporary_folder())
            if len(str(folder / "ssh").encode()) <= _LONGEST_SOCKET:
                self._socket = folder / "ssh"
        if self._socket is None:  # every command makes a connection of its own
            return
        self._socket.unlink(missing_ok=True)  # what a killed connection left
        token = secrets.token_hex(8).encode()
        master = self._master = self._start(["-o", "ControlMaster=yes"], "exec cat")
        stderr = Said(master)
        if self._greet(master, token):
            return
        self._drop()
        failure = self.failure(_OF_SSH, stderr.text())
        raise LinkLost(failure or Failure(self._error("the connection was lost", ""), passing=True))

    def _greet(self, master: Popen[bytes], token: bytes) -> bool:
        """Wait until what is written comes back, and return whether it did; what a login prints does not count."""
        if master.stdin is None or master.stdout is None:
            return False
        with contextlib.suppress(OSError):
            master.stdin.write(token + b"\n")
            master.stdin.flush()
            for _ in range(_MAX_LINES):
                line = master.stdout.readline(1 << 12)
                if line.strip() == token:
                    return True
                if not line:
                    break
        return False

    def _drop(self) -> None:
        """End the connection."""
        master, self._master = self._master, None
        if master is None:
            return
        with contextlib.suppress(OSError):
            if master.stdin is not None:
                master.stdin.close()  # the other side ends
        with contextlib.suppress(TimeoutExpired):
            master.wait(_LAST_WAIT_S)
        children.end(master)
        master.wait()
        for pipe in (master.stdin, master.stdout):
            with contextlib.suppress(OSError, ValueError):
                if pipe is not None:
                    pipe.close()

    def close(self) -> None:
        """End the connection and remove its socket; see :class:`Target`."""
        self._drop()
        self._held.close()
        self._socket = None


class Said:
    """What a process prints on stderr, read by a thread so that it never waits for that.

    Args:
        process: The process, with a pipe for stderr.
    """

    def __init__(self, process: Popen[bytes]) -> None:
        self._kept = bytearray()
        self._pipe = process.stderr
        self._thread = Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        if self._pipe is None:
            return
        with self._pipe, contextlib.suppress(OSError, ValueError):
            while chunk := os.read(self._pipe.fileno(), 1 << 12):
                if len(self._kept) < _SAID_BYTES:
                    self._kept += chunk

    def text(self) -> str:
        """Return it, once the process has ended."""
        self._thread.join(_LAST_WAIT_S)
        return self._kept.decode(errors="replace")
