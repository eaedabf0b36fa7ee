"""What runs on a board: keep files by their hash, run jobs that survive a lost connection, and tell how they get on.

This file is sent whole with every request and run by the board's own Python, so it needs neither fmedge nor any package
there, and board and user never have different versions of it: that is why all of it stands in one module. It reads one
request from stdin, a line of JSON that may be followed by a file's content, and answers on stdout in lines of JSON.
Nothing of a request reaches a shell.

Everything lies in one folder, :data:`ROOT`: ``venv/``, ``files/SHA256/NAME``, ``jobs/ID/`` and ``board.json``, what the
set-up has recorded.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_DATA = os.environ.get("XDG_DATA_HOME", "")
ROOT = Path(_DATA if _DATA.startswith("/") else Path.home() / ".local" / "share") / "fmedge-board"
"""The one folder on the board."""

MARKER = "fmedge-board-agent"
"""First line of the answer: what the login shell prints before it does not count."""

_POLL_S = 0.1
_TICK_S = 1.0
"""How often logs are looked at, and how often a job that prints nothing is said to run still."""

_STOP_S = 15.0
_KILL_S = 5.0
"""How long a job may take to end after SIGINT, and after SIGKILL."""

_CHUNK = 1 << 16
_SPARE_BYTES = 16 << 20
"""Free bytes that a file that is stored must leave on the disk."""


class Refused(Exception):
    """A request that cannot be served; the text says why, ``kind`` tells the caller what to make of it."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


def answer(**fields: object) -> None:
    """Write one line of the answer."""
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def _write(path: Path, data: object) -> None:
    """Write a small file atomically, and to the disk."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with draft.open("w") as stream:
        json.dump(data, stream)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(path)


def _read(path: Path) -> Any:  # noqa: ANN401 - JSON
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def _make_root() -> None:
    """Create the folder, and record which of its parents it was created with."""
    if ROOT.is_dir():
        return
    made = [str(parent) for parent in ROOT.parents if not parent.exists()]
    ROOT.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write(ROOT / "made.json", made)


# Files


def _stored(sha256: str) -> Path | None:
    """Return the stored file of that hash."""
    folder = ROOT / "files" / sha256
    names = sorted(folder.iterdir()) if folder.is_dir() else []
    return next((path for path in names if not path.name.startswith(".")), None)


def missing(hashes: list[str]) -> None:
    """Tell which files are not here yet."""
    answer(missing=[each for each in hashes if _stored(each) is None])


def store(sha256: str, name: str, size: int) -> None:
    """Read a file's content from stdin, check its hash and keep it."""
    _make_root()
    folder = ROOT / "files" / sha256
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(ROOT).free
    if free < size + _SPARE_BYTES:
        raise Refused("full", f"{size / 1e6:.0f} MB are to be stored, {free / 1e6:.0f} MB are free")
    draft = folder / f".{os.getpid()}"
    seen, left = hashlib.sha256(), size
    try:
        with draft.open("wb") as stream:
            while left and (chunk := sys.stdin.buffer.read(min(left, _CHUNK))):
                stream.write(chunk)
                seen.update(chunk)
                left -= len(chunk)
            stream.flush()
            os.fsync(stream.fileno())
        if left or seen.hexdigest() != sha256:
            raise Refused("cut", "the file did not arrive whole")
        draft.replace(folder / name)
    finally:
        draft.unlink(missing_ok=True)
    answer(stored=sha256)


# Jobs


def _job(name: str) -> Path:
    if not name.isalnum():
        raise Refused("wrong", "no such job")
    return ROOT / "jobs" / name


def _lock(path: Path, kind: int) -> int | None:
    """Open a file and lock it; None where another process has it. The lock ends with the last copy of the number."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, kind)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _runs(folder: Path) -> bool:
    """Return whether a job's runner lives, which has its lock."""
    free = _lock(folder / "alive", fcntl.LOCK_SH | fcntl.LOCK_NB)
    if free is not None:
        os.close(free)
    return free is None


def start(job: str, title: str, steps: list[list[str]], files: list[list[str]], outputs: list[str]) -> None:
    """Start a job that goes on when this process ends; do nothing if it is there already.

    Args:
        job: Its number, which the caller chose.
        title: What it is, for the board's owner.
        steps: Commands, run one after the other while they succeed; ``@ROOT@``, ``@JOB@``, ``@VENV@`` (the Python of
            the environment) and ``@PYTHON@`` (the board's own) are replaced in their words.
        files: Pairs of a path in the job's folder and the hash of the stored file that is put there.
        outputs: Paths in the job's folder of the files that are results.
    """
    _make_root()
    folder = _job(job)
    if folder.exists():
        answer(started=job, again=True)
        return
    lock = _lock(ROOT / "lock", fcntl.LOCK_EX | fcntl.LOCK_NB)
    if lock is None:
        running = [_read(each / "job.json") for each in (ROOT / "jobs").iterdir() if _runs(each)]
        raise Refused("busy", next((str(each["title"]) for each in running if each), "another job"))
    for each in (ROOT / "jobs").iterdir() if (ROOT / "jobs").is_dir() else ():
        _kill_marked(each.name)  # left by a runner that was killed
    draft = ROOT / "jobs" / f".{job}"
    shutil.rmtree(draft, ignore_errors=True)
    for place in ("in", "out", "tmp"):
        (draft / place).mkdir(parents=True)
    for relative, sha256 in files:
        _place(draft / relative, sha256)
    _write(draft / "job.json", {"title": title, "started": time.time(), "outputs": outputs})
    draft.replace(folder)
    if _detach():
        with contextlib.suppress(BaseException):
            _run(folder, steps)
        os._exit(0)
    os.close(lock)  # the runner has it
    answer(started=job, again=False)


def _place(path: Path, sha256: str) -> None:
    """Put a stored file into a job's folder; as a link where the disk can, so that it takes no room."""
    source = _stored(sha256)
    if source is None:
        raise Refused("wrong", "a file of the job has not been stored")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, path)


def _detach() -> bool:
    """Fork a process that belongs to no session or terminal; return True in it."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return False
    os.setsid()
    if os.fork():
        os._exit(0)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(nothing, descriptor)
    return True


def _run(folder: Path, steps: list[list[str]]) -> None:
    """Run a job's steps and record how they ended."""
    _lock(folder / "alive", fcntl.LOCK_EX)  # until this process ends, however it does
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    _write(folder / "runner.json", _identity(os.getpid()))
    code = 0
    with (folder / "out.log").open("ab") as out, (folder / "err.log").open("ab") as err:
        for step in steps:
            if (folder / "stop").exists():
                code = 130
            if code:
                break
            words = [_filled(word, folder) for word in step]
            try:
                process = subprocess.Popen(  # noqa: S603 - a command of the user's own fmedge
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    cwd=folder,
                    env=_environment(folder),
                    start_new_session=True,
                )
            except OSError as error:
                err.write(f"Error: '{words[0]}' cannot be started: {error.strerror}.\n".encode())
                code = 127
                break
            _write(folder / "process.json", _identity(process.pid))
            if (folder / "stop").exists():  # it came meanwhile
                os.killpg(process.pid, signal.SIGINT)
            code = process.wait()
            _kill_marked(folder.name)  # what it has left running
    _write(folder / "exit.json", {"code": 128 - code if code < 0 else code})


def _filled(word: str, folder: Path) -> str:
    venv = ROOT / "venv" / "bin" / "python"
    for name, value in (("@ROOT@", ROOT), ("@JOB@", folder), ("@VENV@", venv), ("@PYTHON@", sys.executable)):
        word = word.replace(name, str(value))
    return word


def _environment(folder: Path) -> dict[str, str]:
    """Return the environment of a job: what it writes beside its results lies in its own folder and goes with it."""
    place = {name: str(folder / "tmp") for name in ("TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "FMEDGE_STATE")}
    return {
        **os.environ,
        **place,
        _MARK: folder.name,
        "PYTHONUNBUFFERED": "1",
        "PYTHONNOUSERSITE": "1",
        "PIP_NO_CACHE_DIR": "1",
    }


_MARK = "FMEDGE_BOARD_JOB"
"""The variable by which a job's processes, and all that these start, are known: it holds the job's number."""


def _kill_marked(job: str) -> None:
    """Kill a job's processes, whichever session they are in, until there are none.

    They are looked for once more after none was found: a process that is just starting a program has no environment.
    """
    until, none = time.monotonic() + _KILL_S, 0
    while none < 2 and time.monotonic() < until:
        found = _marked(job)
        none = 0 if found else none + 1
        for pid in found:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_POLL_S / 10)


def _marked(job: str) -> list[int]:
    """Return the processes that belong to a job; those that have ended have no environment any more."""
    mark, found = f"{_MARK}={job}".encode(), list[int]()
    for entry in os.listdir("/proc"):  # noqa: PTH208
        if entry.isdigit():
            with contextlib.suppress(OSError):
                if mark in Path(f"/proc/{entry}/environ").read_bytes().split(b"\0"):
                    found.append(int(entry))
    return found


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat after the name (proc(5)): state, parent, …; empty where it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _identity(pid: int) -> dict[str, object]:
    """Return what tells a process from any later one of the same number: its start time, and this boot of the board."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return {"pid": pid, "start": (_stat(pid) or [""] * 20)[19], "boot": boot}


def _is_same(identity: Any) -> bool:  # noqa: ANN401 - JSON
    return isinstance(identity, dict) and identity == _identity(int(identity["pid"]))  # pyright: ignore


def follow(job: str, out: int, err: int) -> None:
    """Tell what a job prints, from these places in its logs on, until it has ended; then how.

    The answer is lines with a stream's name, the place after it and the text, and at last ``code`` and ``outputs``:
    for each result that is there its size and hash.
    """
    folder = _job(job)
    if not folder.is_dir():
        raise Refused("gone", "the job is not there")
    at, told = {"out": out, "err": err}, time.monotonic()
    while True:
        runs = _runs(folder)  # before the logs are read: what it printed last is in them
        for name in at:
            for text in _new_lines(folder / f"{name}.log", at, name, ended=not runs):
                answer(stream=name, at=at[name], text=text)
                told = time.monotonic()
        if not runs:
            ended = _read(folder / "exit.json")
            if ended is None and not (folder / "runner.json").exists() and time.monotonic() - told < _TICK_S:
                time.sleep(_POLL_S)  # it has not begun yet
                continue
            if ended is None:  # its runner was killed
                _kill_marked(job)
            answer(code=ended["code"] if ended else None, outputs=_outputs(folder))
            return
        if time.monotonic() - told >= _TICK_S:
            answer(tick=True)
            told = time.monotonic()
        time.sleep(_POLL_S)


def _new_lines(path: Path, at: dict[str, int], name: str, *, ended: bool) -> Iterator[str]:
    """Yield whole lines of a log, some kilobytes at a time; the last one also without its end once nothing follows."""
    if not path.exists():
        return
    with path.open("rb") as stream:
        while True:
            stream.seek(at[name])
            chunk = stream.read(_CHUNK)
            cut = chunk.rfind(b"\n") + 1 or (len(chunk) if ended or len(chunk) == _CHUNK else 0)
            if not cut:
                return
            at[name] += cut
            yield chunk[:cut].decode(errors="replace")


def _outputs(folder: Path) -> dict[str, list[object]]:
    found: dict[str, list[object]] = {}
    for relative in _read(folder / "job.json")["outputs"]:
        path = folder / relative
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as stream:
                found[relative] = [path.stat().st_size, hashlib.file_digest(stream, "sha256").hexdigest()]
    return found


def fetch(job: str, name: str, at: int) -> None:
    """Write a result's content from a place on, after a line that says how much that is."""
    path = _job(job) / name
    size = path.stat().st_size
    answer(bytes=max(0, size - at))
    with path.open("rb") as stream:
        stream.seek(at)
        shutil.copyfileobj(stream, sys.stdout.buffer, _CHUNK)
    sys.stdout.flush()


def stop(job: str) -> None:
    """Interrupt a job, as Ctrl-C would; kill it if it does not end. Its results and logs stay."""
    folder = _job(job)
    if folder.is_dir():
        (folder / "stop").touch()
        _signal(folder, "process.json", signal.SIGINT)
        _await(folder, _STOP_S)
        _kill(folder)
    answer(stopped=not (folder.is_dir() and _runs(folder)))


def _kill(folder: Path) -> None:
    """Kill a job: what it runs, so that its runner records that, and the runner where it does not."""
    (folder / "stop").touch()
    _kill_marked(folder.name)
    _await(folder, _KILL_S)
    if _runs(folder):
        _signal(folder, "runner.json", signal.SIGKILL)
        _kill_marked(folder.name)


def _signal(folder: Path, name: str, number: int) -> None:
    """Send a signal to the group of a process, if it is still the one that was recorded."""
    identity = _read(folder / name)
    if _runs(folder) and _is_same(identity):
        with contextlib.suppress(OSError):
            os.killpg(os.getpgid(identity["pid"]), number)


def _await(folder: Path, longest_s: float) -> None:
    until = time.monotonic() + longest_s
    while _runs(folder) and time.monotonic() < until:
        time.sleep(_POLL_S)


def discard(job: str, drop: list[str]) -> None:
    """Remove a job's folder, and stored files that no other job needs."""
    folder = _job(job)
    if folder.is_dir() and _runs(folder):
        raise Refused("busy", "the job still runs")
    for place in (folder, *(ROOT / "files" / sha256 for sha256 in drop)):
        shutil.rmtree(place, ignore_errors=True)
    answer(discarded=job)


def state(*, measure: bool) -> None:
    """Tell what is here: jobs, what the set-up recorded, and how much room it takes, if that is to be measured."""
    jobs: list[dict[str, object]] = []
    for folder in sorted((ROOT / "jobs").iterdir()) if (ROOT / "jobs").is_dir() else ():
        if (about := _read(folder / "job.json")) and not folder.name.startswith("."):
            ended = _read(folder / "exit.json")
            jobs.append(
                {
                    "job": folder.name,
                    "title": about["title"],
                    "started": about["started"],
                    "runs": _runs(folder),
                    "code": ended["code"] if ended else None,
                }
            )
    files = (path.lstat() for path in ROOT.rglob("*") if path.is_file() and not path.is_symlink()) if measure else ()
    used = sum(each.st_blocks * 512 // each.st_nlink for each in files)
    answer(jobs=jobs, setup=_read(ROOT / "board.json"), used_bytes=used)


# Deployments


DEPLOYMENT = "deployment.json"
"""The file that marks a folder as a deployment; its ``kind`` is ``deployment``."""


def look(path: str) -> None:
    """Tell whether something can be deployed to a folder, and the free bytes there.

    It is ``vacant`` where the folder is missing, empty or a former deployment, ``denied`` where it cannot be written,
    and ``taken`` otherwise.
    """
    folder = Path(path)
    there = next(each for each in (folder, *folder.parents) if os.path.lexists(each))
    taken = not there.is_dir()
    if there == folder and not taken and any(folder.iterdir()):
        marker = _read(folder / DEPLOYMENT)
        taken = not (isinstance(marker, dict) and marker.get("kind") == "deployment")  # pyright: ignore
    kind = "taken" if taken else "vacant" if os.access(there, os.W_OK | os.X_OK) else "denied"
    answer(kind=kind, free_bytes=0 if taken else shutil.disk_usage(there).free)


# Set-up


def adopt(setup: dict[str, object] | None) -> None:
    """Put the environment that a job has made in the place of the former one, and record what it is.

    Args:
        setup: The record; None where it was not made whole: then it is removed, and the former one stays.
    """
    fresh, venv, former = ROOT / "venv.new", ROOT / "venv", ROOT / "venv.old"
    shutil.rmtree(former, ignore_errors=True)
    if setup is None:
        shutil.rmtree(fresh, ignore_errors=True)
        answer(adopted=False)
        return
    (ROOT / "board.json").unlink(missing_ok=True)
    if venv.exists():
        venv.rename(former)
    fresh.rename(venv)
    _write(ROOT / "board.json", setup)
    shutil.rmtree(former, ignore_errors=True)
    answer(adopted=True)


def uninstall() -> None:
    """End all jobs and remove everything, the parent folders that were created for it included."""
    for folder in (ROOT / "jobs").iterdir() if (ROOT / "jobs").is_dir() else ():
        _kill(folder)
    made: list[str] = _read(ROOT / "made.json") or []
    shutil.rmtree(ROOT, ignore_errors=True)
    for parent in ROOT.parents:
        if str(parent) in made:
            with contextlib.suppress(OSError):  # somebody else's files lie there by now
                parent.rmdir()
    answer(removed=not ROOT.exists())


REQUESTS: dict[str, Callable[..., None]] = {
    each.__name__: each for each in (missing, store, start, follow, fetch, stop, discard, state, look, adopt, uninstall)
}


def main() -> None:
    """Serve one request."""
    print(f"\n{MARKER}", flush=True)  # noqa: T201 - the answer
    request = json.loads(sys.stdin.buffer.readline())
    try:
        REQUESTS[request.pop("do")](**request)
    except Refused as error:
        answer(refused=error.kind, text=str(error))
    except OSError as error:
        kind = "full" if error.errno in (28, 122) else "failed"  # ENOSPC, EDQUOT
        answer(refused=kind, text=f"{error.strerror or type(error).__name__}")


if __name__ == "__main__":
    main()
