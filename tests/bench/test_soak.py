"""The soak: what is not flat is told, what is flat passes, and a short one of an engine runs through."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from support.places import ROOT
from support.processes import children, wait_until, words_of

BENCHMARKS = ROOT / "benchmarks"

RUNS = 3000
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def life(per_run=0.0, step=0.0, slower=1.0, machine=1.0, **last):
    """Three thousand runs of two kinds: noise, and what is planted; ``last`` is what the last round held."""
    from soak import Found

    generator = np.random.default_rng(3)
    found = Found()
    number = np.arange(RUNS)
    state = np.where((number // 100) % 3 == 0, 1.2, 1.0) * np.where(number < RUNS / 2, 1.0, machine)
    late = np.where(number >= 2 * RUNS // 3, slower, 1.0)
    plain = np.where(number % 2, 0.004, 0.05) * state * late
    found.times = list(1e9 + 0.1 * number)
    found.kinds = ["one" if each % 2 else "other" for each in number]
    found.seconds = list(plain * np.exp(0.05 * generator.standard_normal(RUNS)))
    found.yardstick = list(2e-4 * state * np.exp(0.02 * generator.standard_normal(RUNS)))
    resident = 3e8 + 1e6 * generator.standard_normal(RUNS) + per_run * number + step * (number > 0.8 * RUNS)
    found.resident = [int(each) for each in resident]
    found.rounds = [{"run": each, "descriptors": 9, "threads": 5, "left": []} for each in range(30, RUNS, 30)]
    found.rounds[-1] |= last
    return found


@pytest.mark.parametrize(
    ("planted", "told"),
    [
        ({}, None),
        ({"step": 5e6}, None),
        ({"machine": 1.2}, None),
        ({"slower": 1.05}, None),
        ({"per_run": 2000}, "memory grows by"),
        ({"per_run": 2000, "step": 5e6}, "memory grows by"),
        ({"descriptors": 10}, "descriptors are not constant: 9 to 10"),
        ({"threads": 6}, "threads are not constant: 5 to 6"),
        ({"left": ["page.html.1.tmp"]}, "files left behind: page.html.1.tmp"),
        ({"slower": 1.15}, "slower by"),
        ({"slower": 1.15, "machine": 1.2}, "slower by"),
    ],
)
def test_what_is_not_flat_is_told(planted, told):
    from soak import judge, report

    found = life(**planted)
    lines = list(judge(found))
    assert [line.startswith(str(told)) for line in lines] == ([True] if told else []), lines
    assert "bytes per run" in "\n".join(report({"onnxruntime": found}))


def test_the_machine_alone_became_slower():
    drift = life(machine=1.2).drifts()["one"]
    assert drift.raw > 0.15
    assert abs(drift.corrected) < 0.05


def test_a_step_is_no_slope():
    from flatness import slope_per_run

    found = slope_per_run(life(step=5e6).resident)
    assert found.line > 1000  # what least squares make of it
    assert abs(found.robust) < 500
    leak = slope_per_run(life(per_run=2000).resident)
    assert leak.robust == pytest.approx(2000, rel=0.1)
    assert leak.low < 2000 < leak.high


def test_nothing_or_little_is_not_taken_for_flat():
    from soak import Found, judge, report

    assert list(judge(Found(failure="the process ended by signal 11"))) == [
        "failed: the process ended by signal 11",
        "too few runs for a conclusion",
    ]
    assert list(report({"ncnn": Found()})) == []
    short = Found([1.0, 2.0, 3.0], ["one"] * 3, [0.1] * 3, [10**8] * 3, [1e-4] * 3)
    assert list(judge(short)) == ["no round was completed", "too few runs to see how latency drifts"]


def start(*words):
    command = [sys.executable, BENCHMARKS / "soak.py", "--side", "32", "--backend", "onnxruntime", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([*map(str, command)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.alone
def test_a_short_one(tmp_path):
    kept, found = tmp_path / "soak.json", {"rounds": []}
    for seconds in (3, 30):  # a round takes a second; many where others have the processor
        process = start("--seconds", seconds, "--json", kept)
        told, errors = process.communicate(timeout=300)
        assert process.returncode in (0, 1), errors  # so short a time settles nothing
        found = json.loads(kept.read_text())["onnxruntime"]
        assert not found["failure"]
        if found["rounds"]:
            break
    assert len({*found["kinds"]}) >= 3  # in the order of the draw, as far as the time goes
    assert len(found["kinds"]) == len(found["seconds"]) == len(found["resident"]) == len(found["yardstick"])
    assert len({each["descriptors"] for each in found["rounds"]}) == 1
    assert b"bytes per run" in told


def test_interrupted_it_tells_what_it_found(tmp_path):
    process = start("--seconds", 600, "--json", tmp_path / "soak.json")
    wait_until(process, lambda: any("roofline" in words_of(child) for child in children(process.pid)))  # it measures
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert b"interrupted" in errors
    assert process.returncode == 1 or (tmp_path / "soak.json").exists()
