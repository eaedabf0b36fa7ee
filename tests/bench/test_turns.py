"""Workers that take turns: what they report, and what becomes of those that fail."""

import os
import signal
import sys
from pathlib import Path

import pytest

from fmedge.bench import subject
from fmedge.bench.matrix import BenchMatrix, prepare_cases
from fmedge.bench.protocol import Protocol
from fmedge.bench.scheduler import measure
from fmedge.bench.worker_pipe import Worker, WorkerFailed
from fmedge.data.measurement import Configuration
from fmedge.errors import UsageError
from fmedge.model.submodel import Precision
from fmedge.runtime.backends import BACKENDS, seven_bits_are_faster
from support.messages import says

QUICK = Protocol(runs=3, seconds=0, processes=1)


@pytest.fixture
def prepared(untrained_models):
    def prepare(layers=("block1_conv1",), **matrix):
        small = {"size": (64, 64), "weights": "untrained", "models": untrained_models, **matrix}
        return prepare_cases(BenchMatrix(layers, **small))

    return prepare


def children():
    """Workers of ours that still run."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            process = Path("/proc", entry)
            parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
            ours = "fmedge.bench" in (process / "cmdline").read_text()
            found += [entry] if parent == str(os.getpid()) and ours else []
        except (OSError, IndexError):
            continue
    return found


def test_every_engine_is_measured(prepared):
    cases, missing = prepared(backends=tuple(row.name for row in BACKENDS if row.installed and row.name != "litert"))
    assert missing == []
    told = []
    found = measure(cases, QUICK, progress=lambda words, share: told.append((words, share)))
    assert [each.configuration for each in found.measurements] == [case.configuration for case in cases]
    for each, case in zip(found.measurements, cases, strict=True):
        assert each.n >= 3
        assert min(each.p50, each.load_s, each.first_run_s, each.cpu_s, each.wall_s, each.limit_share) > 0
        assert each.file_sha256 == case.card.file_sha256
        assert each.macs == 9 * 3 * 64 * 64 * 64
        assert each.active_provider in each.placement
        assert each.engine_version[0].isdigit()
        assert each.parity.passed
        assert not each.peak_memory_bytes or 20e6 < each.peak_memory_bytes < 1e9
        assert each.warm_up_runs >= 10
    (limit,) = found.limits
    assert min(limit.flops, limit.copy_bytes) > 1e8
    assert told[-1] == ("measured", 1.0)
    assert not found.interrupted


def test_processes_follow_each_other(prepared, monkeypatch):
    cases, _ = prepared(backends=("onnxruntime",), threads=(1, 2))
    started, alive = [], []
    load = subject.Subject.load

    def count(self):
        alive.append(sum(worker._process.poll() is None for worker in started))
        load(self)
        started.append(self.worker)

    monkeypatch.setattr(subject.Subject, "load", count)
    found = measure(cases, Protocol(runs=4, seconds=0.2, processes=3))
    assert alive == [0, 1] * 3  # no worker of the process before lives on
    assert found.processes == 3
    for each in found.measurements:
        assert len(each.processes) == 3
        assert all(process.yardstick_s > 0 for process in each.processes)
        assert each.n >= 4
        assert sum(each.seconds) >= 0.2
    assert measure(cases[:1], Protocol(runs=2, seconds=0)).processes == 2  # never more than runs


@pytest.mark.slow
def test_a_spent_budget_leaves_three_processes_and_all_runs(prepared):
    cases, _ = prepared(backends=("onnxruntime",), threads=(1, 2))
    told = []
    found = measure(
        cases, Protocol(runs=30, seconds=0.3, budget_s=0.001), progress=lambda words, share: told.append((words, share))
    )
    assert found.processes == 3
    for each in found.measurements:
        assert len(each.processes) == 3
        assert each.n >= 30
        assert sum(each.seconds) >= 0.3
    assert all(words.endswith(" left") for words, _ in told if words.startswith("measuring"))
    assert measure(cases[:1], Protocol(runs=30, seconds=0, budget_s=600)).processes == 16


def test_the_product_of_the_wishes(prepared):
    cases, missing = prepared(
        ("block1_conv1", "block1_conv2"),
        backends=("onnxruntime",),
        activation="none",
        precisions=(Precision.FP32, Precision.INT8),
        maths=("fp32", "bf16"),
        threads=(1, 2),
    )
    assert [(case.configuration.layer, case.configuration.threads) for case in cases] == [
        *(("block1_conv1", threads) for threads in (1, 2)),
        *(("block1_conv2", threads) for threads in (1, 2)),
    ]
    forms = 2 + seven_bits_are_faster()  # of int8 there are two then
    assert len(cases) + len(missing) == 2 * forms * 2 * 2
    assert {each.exit_code for each in missing} == {0}
    reasons = {each.reason for each in missing}
    assert "onnxruntime does not offer --math bf16" in reasons
    assert any(
        "fmedge export --layer block1_conv2 --format onnx --precision int8 --calibration DIR" in each
        for each in reasons
    )


def test_int8_is_made_where_there_are_photos(prepared, photos_folder, tmp_path):
    own = {"calibration": photos_folder, "models": tmp_path}
    cases, missing = prepared(precisions=(Precision.INT8,), backends=("onnxruntime",), **own)
    assert missing == []
    found = measure(cases, QUICK).measurements
    assert {each.configuration.precision for each in found} == {"int8"}
    assert len(found) == 1 + seven_bits_are_faster()


def test_batches_offline(prepared):
    cases, _ = prepared(backends=("onnxruntime",), scenario="offline", batch=4)
    (found,) = measure(cases, QUICK).measurements
    assert found.images_per_s == pytest.approx(4 * found.n / sum(found.seconds))
    with pytest.raises(UsageError, check=says("--scenario offline")):
        BenchMatrix(batch=4)


def test_stages_of_a_photo(prepared, picture):
    cases, _ = prepared(backends=("onnxruntime", "openvino"))
    found = measure(cases, Protocol(3, 0, image=picture, stages=True, processes=1)).measurements
    for each in found:
        assert list(each.stages) == ["decode", "resize", "copy in", "compute", "copy out", "render"]
        assert {len(seconds) for seconds in each.stages.values()} == {3}


def test_a_worker_that_dies_is_a_failed_row_and_all_else_is_kept(prepared, monkeypatch):
    cases, _ = prepared(backends=("onnxruntime",), threads=(1, 2, 3))
    ask = Worker.ask

    def kill_second(self, timeout_s, **order):
        if order.get("do") == "turn" and self is workers[1]:
            os.kill(self._process.pid, signal.SIGKILL)
        return ask(self, timeout_s, **order)

    workers = []
    monkeypatch.setattr(Worker, "ask", kill_second)
    start = subject.Worker

    def remember(module, environment=None):
        worker = start(module, environment)
        if module == subject.MODULE:
            workers.append(worker)
        return worker

    monkeypatch.setattr(subject, "Worker", remember)
    found = measure(cases, QUICK)
    assert [each.configuration.threads for each in found.measurements] == [1, 3]
    (missing,) = found.missing
    assert (missing.configuration.threads, missing.exit_code) == (2, 7)
    assert "signal 9" in missing.reason


def test_a_model_that_goes_is_a_failed_row(prepared, tmp_path):
    cases, _ = prepared(backends=("onnxruntime",), models=tmp_path)
    cases[0].model.unlink()
    (missing,) = measure(cases, QUICK).missing
    assert missing.exit_code == 4
    assert "No model file" in missing.reason


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="bounds the address space")
def test_a_worker_without_memory_is_a_failed_row(prepared, monkeypatch):
    import resource

    start = subject.Worker

    def bounded(module, environment=None):
        worker = start(module, environment)
        resource.prlimit(worker._process.pid, resource.RLIMIT_AS, (3 << 30, 3 << 30))
        return worker

    monkeypatch.setattr(subject, "Worker", bounded)
    cases, _ = prepared(backends=("onnxruntime",), scenario="offline", batch=4096)
    (missing,) = measure(cases, QUICK).missing
    assert missing.exit_code == 7
    assert "memory" in missing.reason


def test_a_worker_that_is_late_is_ended(prepared):
    cases, _ = prepared(backends=("onnxruntime",))
    (missing,) = measure(cases, Protocol(3, 0, timeout_s=0.01, processes=1)).missing
    assert missing.exit_code == 7
    assert "did not answer within 0.01 s" in missing.reason


def test_a_wrong_order_is_answered():
    worker = Worker(subject.MODULE)
    with pytest.raises(WorkerFailed, match="No model is loaded") as caught:
        worker.ask(60, do="turn", runs=1, seconds=0)
    assert caught.value.exit_code == 2
    worker.stop()
    worker.stop()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for children in /proc")
def test_an_interrupted_run_keeps_what_was_measured(prepared):
    cases, _ = prepared(backends=("onnxruntime",), threads=(1, 2))
    turns = []

    def interrupt(words, share):
        turns.append(words) if words.startswith("measuring") else None
        if len(turns) == 3:
            raise KeyboardInterrupt

    found = measure(cases, Protocol(1000, 60), progress=interrupt)
    assert found.interrupted
    assert [len(each.turns) for each in found.measurements] == [2, 1]
    assert children() == []


def test_interrupted_before_the_first_turn(prepared):
    cases, _ = prepared(backends=("onnxruntime",))

    def interrupt(words, share):
        raise KeyboardInterrupt

    found = measure(cases, QUICK, progress=interrupt)
    assert found.measurements == ()
    (missing,) = found.missing
    assert isinstance(missing.configuration, Configuration)
    assert "interrupted" in missing.reason


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for children in /proc")
def test_no_worker_outlives_us():
    worker = Worker(subject.MODULE)
    worker._process.stdin.close()  # what happens when we are killed
    assert worker._process.wait(60) == 0
    worker._process.stdout.close()
