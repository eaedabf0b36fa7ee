"""fmedge's own child processes: which Python runs them, and why none can be started."""

import errno
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from fmedge import export_submodel
from fmedge.bench.worker_pipe import Worker, WorkerFailed
from fmedge.errors import LimitExceeded
from fmedge.model.submodel import ExportOptions
from fmedge.runtime.opening import open_session
from fmedge.system import address_space, children


@pytest.mark.parametrize("given", ["/usr/sbin/uwsgi", "", None, "/nowhere/python3"])
def test_an_embedded_python_is_found_by_its_prefix(given, monkeypatch):
    monkeypatch.setattr(sys, "executable", given)
    monkeypatch.setattr(sys, "_base_executable", given, raising=False)
    command = [*children.module_command("fmedge"), "layers", "--json"]
    ran = subprocess.run(command, capture_output=True, check=False, timeout=60)
    assert ran.returncode == 0
    assert b"block5_conv3" in ran.stdout


@pytest.fixture
def frozen(monkeypatch):
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "executable", "/opt/app/app")


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    options = ExportOptions(size=(32, 32))
    made = export_submodel("block1_conv1", weights="untrained", models=tmp_path_factory.mktemp("m"), options=options)
    return replace(made, card=made.card.facts())  # a card that is not known


def test_a_frozen_program_says_what_is_missing(frozen, artifact):
    with pytest.raises(LimitExceeded, match="Found no Python"):
        open_session(artifact)
    with pytest.raises(WorkerFailed, match="Found no Python") as failed:
        Worker("fmedge.bench.worker")
    assert failed.value.exit_code == 7


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.EAGAIN, "limit on processes"), (errno.ENOMEM, "not enough memory"), (errno.EMFILE, "open files")],
)
def test_the_true_reason_why_no_process_starts(number, words, monkeypatch, artifact):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(LimitExceeded, match=words):
        open_session(artifact)
    with pytest.raises(WorkerFailed, match=words):
        Worker("fmedge.bench.worker")


def test_a_thread_that_does_not_start_is_no_lack_of_memory(monkeypatch):
    monkeypatch.setattr(address_space, "address_limit", lambda: None)
    try:
        try:
            raise RuntimeError("can't start new thread")
        except RuntimeError as error:
            raise ValueError from error
    except ValueError as error:
        assert "limit on processes" in str(address_space.shortage(error))
    assert "Not enough memory" in str(address_space.shortage(MemoryError()))


_UID = 61234


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or os.getuid() != 0, reason="takes on another user's id, as root alone can"
)
def test_a_command_that_may_start_no_thread_says_so(tmp_path):
    """OpenBLAS responds to a thread that does not start with SIGINT; that must not count as an interrupt."""
    program = f"""
import os, resource, sys
import fmedge.cli.main, logging, threading, warnings  # what that user may not read is loaded before
cli = sys.modules["fmedge.cli.main"]
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
os.setgroups([]); os.setgid({_UID}); os.setuid({_UID})
import signal
def numpy_like(*_, **__):
    os.kill(os.getpid(), signal.SIGINT)
cli.read_quickly = numpy_like
sys.exit(cli.main(["layers"]))
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr.count("\n")) == (7, 1), ran.stderr
    assert "limit on processes" in ran.stderr
