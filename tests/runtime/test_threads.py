"""How many threads compute where nobody says how many."""

import json
import os
import subprocess
import sys

import pytest

from fmedge.runtime import backends
from fmedge.runtime.backends import default_threads, usable_cpus


@pytest.fixture
def eight_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(backends, "cpu_quota", lambda: None)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return monkeypatch


@pytest.mark.parametrize(("quota", "cores"), [(None, 8), (0.05, 1), (1.0, 1), (1.5, 2), (4.0, 4), (32.0, 8)])
def test_a_quota_counts_rounded_up(eight_cores, quota, cores):
    eight_cores.setattr(backends, "cpu_quota", lambda: quota)
    assert usable_cpus() == default_threads() == cores


@pytest.mark.parametrize(
    ("word", "threads"),
    [("3", 3), ("4,2", 4), (" 2 ", 2), ("64", 8), ("", 8), ("0", 8), ("-1", 8), ("many", 8), ("9" * 30, 8), ("²", 8)],
)
def test_omp_num_threads_is_honoured_where_it_is_a_number(eight_cores, word, threads):
    eight_cores.setenv("OMP_NUM_THREADS", word)
    assert default_threads() == threads
    assert usable_cpus() == 8


def test_the_least_of_quota_cores_and_wish_counts(eight_cores):
    eight_cores.setattr(backends, "cpu_quota", lambda: 2.5)
    assert default_threads((0, 1, 2, 3, 4)) == 3
    assert default_threads((6, 7, 7)) == 2
    eight_cores.setenv("OMP_NUM_THREADS", "1")
    assert default_threads((6, 7)) == 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no binding of threads on this system")
def test_bench_measures_on_the_cores_that_are_named(tmp_path):
    core = min(os.sched_getaffinity(0))
    words = ["bench", "--cpus", str(core), "--weights", "untrained", "--models", str(tmp_path), "--size", "32"]
    quick = ["--backend", "onnxruntime", "--runs", "1", "--seconds", "0", "--processes", "1", "--json"]
    command = [sys.executable, "-m", "fmedge", *words, *quick]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout)
    assert report["machine"]["affinity"] == [core]
    assert report["machine"]["cores"] == 1
    assert [each["configuration"]["threads"] for each in report["measurements"]] == [1]


@pytest.mark.parametrize("command", ["bench", "tune"])
def test_a_core_that_is_not_there_is_a_usage_error(command):
    ran = subprocess.run(
        [sys.executable, "-m", "fmedge", command, "--cpus", "99999"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 2
    assert ran.stderr.startswith("Error: --cpus 99999: allowed here: ")
