"""How much memory there is."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from fmedge.errors import LimitExceeded
from fmedge.system import memory
from fmedge.system.cgroup import MemoryLimits
from support.places import ROOT

MB = 1 << 20


@pytest.mark.parametrize("left", [58 * MB, 0])
def test_a_container_limits_what_is_free(monkeypatch, left):
    monkeypatch.setattr(memory, "memory_limits", lambda: MemoryLimits(128 * MB, left))
    assert memory.available_bytes() == left
    assert memory.total_bytes() == 128 * MB


def test_without_a_limit_the_machine_counts(monkeypatch):
    monkeypatch.setattr(memory, "memory_limits", MemoryLimits)
    assert memory.available_bytes() == memory._free()
    assert memory.total_bytes() == memory._meminfo("MemTotal")


def taken_together(sizes, held, *most):
    """Sums of what threads hold while each reserves its size for a moment."""
    sums, lock = [], threading.Lock()

    def work(size):
        with memory.reserved_memory("Work", size, *most):
            with lock:
                held.append(size)
                sums.append(sum(held))
            time.sleep(0.01)
            with lock:
                held.remove(size)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, sizes))
    return sums


def test_threads_take_turns_where_there_is_not_enough_for_all(monkeypatch):
    left, held = 100 * MB, []
    monkeypatch.setattr(memory, "available_bytes", lambda: left - sum(held))
    sums = taken_together([60 * MB, 30 * MB, 70 * MB, 90 * MB, 10 * MB, 20 * MB, 100 * MB, 50 * MB] * 3, held)
    assert max(sums) <= left
    assert len(sums) == 24
    assert memory._reserved.size == 0


def test_threads_take_no_more_together_than_they_may(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: None)
    most = taken_together([60 * MB, 30 * MB, 70 * MB, 130 * MB, 10 * MB] * 4, [], 100 * MB)
    assert len(most) == 20
    assert most.count(130 * MB) == 4  # each had it for itself
    assert sorted(most)[-5] <= 100 * MB


def test_what_never_fits_is_refused_and_lets_go(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 100 * MB)
    refused = pytest.raises(LimitExceeded, match=r"Work needs about 1\.1 GB of memory; 104\.9 MB is free")
    with refused, memory.reserved_memory("Work", 1024 * MB):
        pass
    with pytest.raises(KeyError), memory.reserved_memory("Work", 80 * MB):
        raise KeyError
    with memory.reserved_memory("Work", 80 * MB):
        assert memory._reserved.size == 80 * MB
    monkeypatch.setattr(memory, "available_bytes", lambda: None)
    with memory.reserved_memory("Work", 80 * MB), memory.reserved_memory("Work", 1 << 60):
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_waits_for_nobody(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 100 * MB)
    with memory.reserved_memory("Work", 80 * MB):
        child = os.fork()
        if child == 0:
            with memory.reserved_memory("Work", 80 * MB):
                os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


LITTLE = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from pathlib import Path
from fmedge.data.images import load_photo
from fmedge.system import memory

def held():
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if "VmRSS" in line) * 1024

load_photo(Path(sys.argv[2]), (8, 8))  # what is imported for it does not count
start, room = held(), 150 << 20
memory.available_bytes = lambda: room - (held() - start)
with ThreadPoolExecutor(3) as pool:
    photos = list(pool.map(load_photo, [Path(sys.argv[1])] * 12, [(8, 8)] * 12))
print({photo.original_size for photo in photos}, len(photos))
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="what a process holds is told by Linux alone")
def test_memory_that_another_thread_freed_counts_as_free(tmp_path):
    """What a thread frees in blocks such as Pillow's is kept for it by glibc, and given back when others ask."""
    Image.new("RGB", (6000, 4000), (1, 2, 3)).save(tmp_path / "a.jpg")  # 96 MB in memory
    Image.new("RGB", (8, 8)).save(tmp_path / "small.jpg")
    command = [sys.executable, "-c", LITTLE, str(tmp_path / "a.jpg"), str(tmp_path / "small.jpg")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}  # a process of its own: in this one, others took and freed
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert ran.stdout == "{(4000, 6000)} 12\n", ran.stderr
