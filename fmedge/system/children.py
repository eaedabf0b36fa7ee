"""Starting a process of Python for a module of ours, and why none can be started."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fmedge.errors import LimitExceeded
from fmedge.system.address_space import TOO_FEW_PROCESSES

_REASONS: Mapping[int, str] = {
    errno.EAGAIN: TOO_FEW_PROCESSES,
    errno.ENOMEM: "memory is short: free some",
    errno.EMFILE: "too few open files are allowed: ulimit -n",
    errno.ENFILE: "the system has too many files open",
}
"""What the system's numbers mean here, and what to do."""


def module_command(module: str) -> list[str]:
    """The command that runs a module of ours; it does not look for modules in the folder that it happens to be in.

    Raises:
        LimitExceeded: This program holds its own Python, and no other was found.
    """
    return [_python(), "-P", "-m", module]


def module_path() -> str:
    """``PYTHONPATH`` under which a child finds the modules that this process finds."""
    return os.pathsep.join(os.path.abspath(folder) for folder in sys.path if folder)  # noqa: PTH100 - resolves no links


def start(command: list[str], **settings: Any) -> subprocess.Popen[Any]:  # noqa: ANN401 - those of Popen
    """Start a process, which :func:`end` ends.

    Raises:
        LimitExceeded: None can be started, and why.
    """
    for process in list(_started):
        if process.returncode is not None:
            _started.pop(process, None)
    try:
        process: subprocess.Popen[Any] = subprocess.Popen(command, **settings)  # noqa: S603 - a module of ours
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, f"{error.strerror or error}: {command[0]}")
        raise LimitExceeded(f"No process can be started, {reason}.") from error
    _started[process] = bool(settings.get("start_new_session")) and os.name == "posix"
    return process


_started: dict[subprocess.Popen[Any], bool] = {}
"""The processes that are not known to have ended, and whether each has a session of its own, with what it starts."""

_LAST_WAIT_S = 0.3
"""For processes that were killed to be gone: memory of gigabytes takes the system a moment."""


def end(process: subprocess.Popen[Any]) -> None:
    """Kill a process, and those that it started where it has a session of its own; one that ended is let alone."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if _started.get(process):
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()


def end_all() -> None:
    """Kill every process that was started."""
    for process in list(_started):
        end(process)
    for process in list(_started):
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_LAST_WAIT_S)


def _python() -> str:
    """Path of a Python: what runs us, or where we are embedded (uWSGI, say) the one that our modules belong to."""
    if getattr(sys, "frozen", False):
        candidates: list[Path] = []
    else:
        folder, ending = ("", ".exe") if os.name == "nt" else ("bin", "")
        names = (f"python{sys.version_info[0]}.{sys.version_info[1]}", "python3", "python")
        places = [Path(prefix) / folder / (name + ending) for prefix in (sys.prefix, sys.base_prefix) for name in names]
        given = [sys.executable, getattr(sys, "_base_executable", None)]
        candidates = [*(Path(path) for path in given if path), *places]
    for path in candidates:
        if path.name.lower().startswith(("python", "pypy")) and path.is_file():
            return str(path)
    raise LimitExceeded(
        f"No Python is found to start a process with: sys.executable is {str(sys.executable)[-60:]!r}. "
        "Set it to one that has fmedge, or use a model made on this machine."
    )
