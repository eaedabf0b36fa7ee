"""Start a Python process that runs one of fmedge's modules, and explain why none can be started."""

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

THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")
"""Environment variables that set the number of threads of the libraries behind NumPy's matrix product. They are read
once, when the library is loaded. Apple's library takes no number."""

_REASONS: Mapping[int, str] = {
    errno.EAGAIN: TOO_FEW_PROCESSES,
    errno.ENOMEM: "there is not enough memory, free some",
    errno.EMFILE: "the limit on open files is reached (ulimit -n)",
    errno.ENFILE: "the system has too many files open",
}
"""What the system's error numbers mean here, and what to do."""


def module_command(module: str) -> list[str]:
    """Return the command that runs one of fmedge's modules; it does not import modules from the current folder.

    Raises:
        LimitExceeded: This program embeds its own Python, and no other one was found.
    """
    return [_python(), "-P", "-m", module]


def module_path() -> str:
    """Return the ``PYTHONPATH`` with which a child finds the modules that this process finds."""
    return os.pathsep.join(os.path.abspath(folder) for folder in sys.path if folder)  # noqa: PTH100 - resolves no links


def start(command: list[str], **settings: Any) -> subprocess.Popen[Any]:  # noqa: ANN401 - those of Popen
    """Start a process; :func:`end` ends it.

    Raises:
        LimitExceeded: None can be started; the message gives the reason.
    """
    for process in list(_started):
        if process.returncode is not None:
            _started.pop(process, None)
    try:
        process: subprocess.Popen[Any] = subprocess.Popen(command, **settings)  # noqa: S603 - one of fmedge's modules
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, f"{error.strerror or error} ({command[0]})")
        raise LimitExceeded(f"Cannot start a process: {reason}.") from error
    _started[process] = bool(settings.get("start_new_session")) and os.name == "posix"
    return process


_started: dict[subprocess.Popen[Any], bool] = {}
"""The processes not known to have ended, and whether each has its own session, which includes its children."""

_LAST_WAIT_S = 0.3
"""How long to wait until killed processes are gone: the system takes a moment to release gigabytes of memory."""


def end(process: subprocess.Popen[Any]) -> None:
    """Kill a process if it still runs, together with its children where it has its own session."""
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
    """Return the path of a Python: the running one, or where it is embedded (uWSGI, say) the one fmedge belongs to."""
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
        f"Found no Python to start a process with: sys.executable is {str(sys.executable)[-60:]!r}. "
        "Set it to a Python that has fmedge, or use a model made on this machine."
    )
