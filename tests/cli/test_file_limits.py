"""Few files may be open, and files that cannot be closed: one line, and nothing half-written is left."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fmedge.errors import LimitExceeded, WriteError
from fmedge.system import address_space, files

resource = pytest.importorskip("resource", reason="needs a system with such limits")

COMMANDS = {
    "run": ["run", "PICTURE", "--weights", "untrained", "--output", "page.html"],
    "export": ["export", "--weights", "untrained", "--layer", "block1_conv2"],
    "bench": ["bench", "--weights", "untrained", "--backend", "onnxruntime", "--seconds", "0.05", "--runs", "1"],
    "doctor": ["doctor"],
    "verify": ["verify", "MODEL"],
}


@pytest.mark.few(8)
@pytest.mark.parametrize("most", [5, 7, 9])
@pytest.mark.parametrize("command", COMMANDS)
def test_few_open_files_give_a_line_or_the_work(tmp_path, block1, picture, most, command):
    words = [{"PICTURE": str(picture), "MODEL": str(block1.path)}.get(word, word) for word in COMMANDS[command]]
    ran = subprocess.run(
        [sys.executable, "-m", "fmedge", *words],
        cwd=tmp_path,
        env={**os.environ, "FMEDGE_MODELS": str(tmp_path / "models")},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (most, most)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in ran.stderr
    assert ran.returncode in (0, 5 if command == "doctor" else 7)  # doctor tells it of every engine
    if ran.returncode:
        assert "ulimit -n" in ran.stdout + ran.stderr
        assert "page.html" not in os.listdir(tmp_path)
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EMFILE, os.strerror(errno.EMFILE)),
        OSError(errno.ENFILE, os.strerror(errno.ENFILE)),
        ImportError("libx.so: cannot open shared object file: Too many open files"),
    ],
)
def test_running_out_of_files_is_told_from_running_out_of_memory(error):
    assert address_space.is_shortage(error)
    said = address_space.shortage(error)
    assert isinstance(said, LimitExceeded)
    assert "ulimit -n" in str(said)
    assert "ulimit -n" not in str(address_space.shortage(MemoryError()))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="looks in /proc for what a descriptor is")
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize(
    "work", [lambda path: files.require_writable(path), lambda path: files.require_folder(path.parent)]
)
def test_a_trial_file_that_cannot_be_closed_is_removed(tmp_path, monkeypatch, code, work):
    close = os.close

    def fail(descriptor):
        temporary = Path(f"/proc/self/fd/{descriptor}").readlink().suffix == ".tmp"
        close(descriptor)
        if temporary:
            raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "close", fail)
    with pytest.raises(WriteError, match=os.strerror(code)):
        work(tmp_path / "page.html")
    assert os.listdir(tmp_path) == []
