"""Minimum address space under a limit, and how memory that ran out is distinguished from other errors."""

import os
import subprocess
import sys

import pytest

from fmedge.errors import LimitExceeded
from fmedge.runtime.backends import BACKENDS
from fmedge.system import address_space
from support.messages import says
from support.places import ROOT

MB = 1 << 20


def chained(error, cause):
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("std::bad_alloc"),
        RuntimeError("can't start new thread"),
        ImportError("libgfortran.so.5: failed to map segment from shared object"),
        OSError(12, "Cannot allocate memory"),
        chained(ValueError("of no use"), MemoryError()),
    ],
)
def test_memory_that_ran_out(error):
    assert address_space.is_shortage(error)


@pytest.mark.parametrize("error", [ValueError("it is damaged"), OSError(2, "No such file"), ImportError("no numpy")])
def test_other_errors(error):
    assert not address_space.is_shortage(error)


def test_every_engine_has_a_floor():
    assert {backend.name for backend in BACKENDS} | {address_space.EXPORT, address_space.TENSORFLOW} == set(
        address_space.FLOORS
    )


def test_a_floor_grows_with_threads_and_model():
    for floor in address_space.FLOORS.values():
        assert floor.total() == floor.base
        assert floor.total(64, 0) >= floor.total(2, 0)
        assert floor.total(1, 59 * MB) > floor.base


@pytest.mark.parametrize("name", address_space.FLOORS)
def test_the_message_fits_on_a_line(monkeypatch, name):
    monkeypatch.setattr(address_space, "address_limit", lambda: 24 * MB)
    with pytest.raises(LimitExceeded, check=says(r"ulimit -v \d+")) as caught:
        address_space.require_floor(name, 64, 500 * MB, 10_000 * MB)
    assert "…" not in str(caught.value)
    assert "…" not in str(address_space.shortage())


def test_without_a_limit_nothing_is_asked(monkeypatch):
    monkeypatch.setattr(address_space, "address_limit", lambda: None)
    address_space.require_floor("openvino", 64, 1 << 40)


THRIFT = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
from fmedge.system import address_space
address_space.begin(["run", "photo.jpg"])
print(address_space.is_thrifty(), os.environ.get("OPENBLAS_NUM_THREADS"), os.environ.get("MALLOC_ARENA_MAX"))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps a limit on address space")
@pytest.mark.parametrize(
    ("limit", "given", "said"),
    [
        (1 << 30, {}, "True 1 1"),
        (1 << 30, {"OPENBLAS_NUM_THREADS": "3", "MALLOC_ARENA_MAX": "2"}, "True 3 2"),
        (1 << 42, {}, "False None None"),
    ],
)
def test_thrift_is_for_low_limits(limit, given, said):
    """What the user has set is kept."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OPENBLAS", "MALLOC"))}
    command = [sys.executable, "-c", THRIFT, str(limit)]
    environment = {**inherited, **given, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout.strip() == said
