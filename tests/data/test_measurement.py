"""Statistics of a measurement, a report as a file, and the description of the machine."""

import dataclasses
import json

import pytest

from fmedge.data.bench_report import Missing, read_report
from fmedge.data.measurement import Process
from fmedge.errors import UsageError
from fmedge.system import machine, processor
from fmedge.system.machine import read_clocks, this_machine
from fmedge.system.serde import build
from support.measurements import measurement, report


def test_statistics():
    found = measurement(turns=((0.010, 0.020), (0.030, 0.040)), macs=10_000_000, cpu_s=0.19, wall_s=0.1, limit_s=0.005)
    assert found.n == 4
    assert found.p50 == pytest.approx(0.025)
    assert found.p90 == pytest.approx(0.037)
    assert found.min == 0.010
    assert found.iqr == pytest.approx(0.015)
    assert found.noisy
    assert "noisy" in found.warnings()[0]
    assert found.images_per_s == pytest.approx(40)
    assert found.gflops == pytest.approx(0.8)
    assert found.load == pytest.approx(1.9)
    assert found.limit_share == pytest.approx(0.2)
    assert found.p99 is None


def test_p99_needs_a_thousand_runs_and_steady_runs_need_no_warning():
    found = measurement(turns=(tuple(0.01 + run * 1e-7 for run in range(1000)),))
    assert found.p99 == pytest.approx(0.010099, abs=1e-6)
    assert found.warnings() == []
    assert "other processes kept 0.8 cores busy" in dataclasses.replace(found, others_s=0.08, wall_s=0.1).warnings()[0]
    assert "was still changing" in dataclasses.replace(found, steady=False).warnings()[0]


def test_a_batch_counts_as_so_many_images():
    found = measurement(batch=16, scenario="offline", turns=((0.5, 0.5),), macs=10**9)
    assert found.images_per_s == pytest.approx(32)
    assert found.gflops == pytest.approx(64)


def test_equal_threads_should_keep_equal_cores_busy():
    even = measurement(cpu_s=0.6, wall_s=0.31)
    assert (even.crowded, even.idle, even.doubts) == (False, False, ())
    crowded = dataclasses.replace(even, cpu_s=0.8)
    assert crowded.doubts == ("crowded",)
    assert "crowded; 2.6 cores were busy, so it is no fair comparison with others of 2 threads" in crowded.warnings()[0]
    idle = dataclasses.replace(even, cpu_s=0.4)
    assert idle.idle
    assert idle.warnings() == []
    elsewhere = dataclasses.replace(idle, configuration=dataclasses.replace(idle.configuration, device="cuda"))
    assert not elsewhere.idle


def test_runs_are_kept_by_process():
    found = measurement(processes=(Process(((0.01, 0.03),), 0.001), Process(((0.02,), (0.04,)))))
    assert found.turns == ((0.01, 0.03), (0.02,), (0.04,))
    assert found.n == 4
    assert found.p50 == pytest.approx(0.025)
    with pytest.raises(ValueError, match="no runs"):
        measurement(processes=())


def test_the_first_version_of_a_report_is_read_as_one_process(tmp_path):
    whole = report(measurement(turns=((0.01, 0.02), (0.03,))))
    data = whole.to_dict() | {"schema": 1}
    del data["processes"]
    for each in data["measurements"]:
        (process,) = each.pop("processes")
        each["turns"] = process["turns"]
    path = tmp_path / "r.json"
    path.write_text(json.dumps(data))
    assert read_report(path) == whole


def test_a_report_survives_its_file(tmp_path):
    missing = Missing(measurement(backend="ncnn").configuration, "the process ended by signal 9", 7)
    whole = report(measurement(stages={"decode": (0.1, 0.2)}), missing=(missing,))
    path = tmp_path / "r.json"
    path.write_text(json.dumps(whole.to_dict()))
    assert read_report(path) == whole


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 99}, "has schema 99; this version of fmedge reads 1 to 3"),
        ({"kind": "something"}, "not a benchmark report"),
        ({"measurements": [{}]}, "cannot be read as a report (field 'active_provider' is missing)"),
        ({"clocks": []}, "cannot be read as a report (0 values for 'clocks', 2 expected)"),
        ({"surprise": 1}, "cannot be read as a report (unknown field 'surprise')"),
    ],
)
def test_another_file_is_refused_in_plain_words(tmp_path, change, message):
    path = tmp_path / "r.json"
    path.write_text(json.dumps({**report(measurement()).to_dict(), **change}))
    with pytest.raises(UsageError) as caught:
        read_report(path)
    assert message in str(caught.value)
    assert len(str(caught.value).replace(str(path), "r.json")) <= 200


@pytest.mark.parametrize("content", [b"", b"[1]", b"\xff\xfe", b"{", b"[" * 100_000])
def test_what_is_no_json_is_refused(tmp_path, content):
    path = tmp_path / "r.json"
    path.write_bytes(content)
    with pytest.raises(UsageError):
        read_report(path)
    with pytest.raises(UsageError, match="No file"):
        read_report(tmp_path / "nothing.json")


@pytest.mark.parametrize("field", ["processes", "load_s", "file_size"])
def test_numbers_have_to_be_numbers(tmp_path, field):
    data = report(measurement()).to_dict()
    data["measurements"][0][field] = [{"turns": [[0.1, "x"]]}] if field == "processes" else "x"
    path = tmp_path / "r.json"
    path.write_text(json.dumps(data))
    with pytest.raises(UsageError, match="cannot be read as a report"):
        read_report(path)


def test_this_machine_is_known():
    found = this_machine()
    assert found.cores >= 1
    assert found.processor
    assert build(machine.Machine, json.loads(json.dumps(dataclasses.asdict(found)))) == found
    clocks = read_clocks()
    assert build(machine.Clocks, json.loads(json.dumps(dataclasses.asdict(clocks)))) == clocks


def test_a_board_of_arm(tmp_path, monkeypatch):
    (tmp_path / "model").write_bytes(b"Raspberry Pi 5 Model B\0")
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nFeatures\t: fp asimd aes asimddp\n\nprocessor\t: 1\n")
    for core in this_machine().affinity or ():
        folder = tmp_path / f"cpu{core}" / "cpufreq"
        folder.mkdir(parents=True)
        (folder / "scaling_governor").write_text("ondemand\n")
        (folder / "scaling_cur_freq").write_text("1500000\n")
    monkeypatch.setattr(machine, "_BOARD", tmp_path / "model")
    monkeypatch.setattr(processor, "_CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(processor, "_ask_cpuid", frozenset)
    monkeypatch.setattr(processor, "_ask_hwcap", frozenset)
    monkeypatch.setattr(machine, "_CPUS", tmp_path)
    found = this_machine()
    assert found.processor == "Raspberry Pi 5 Model B"
    assert found.flags == ("asimd", "asimddp")
    clocks = read_clocks()
    if found.affinity:
        assert set(clocks.governors) == {"ondemand"}
        assert set(clocks.megahertz) == {1500.0}


def test_a_machine_that_tells_no_clock(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "_CPUS", tmp_path)
    assert read_clocks() == machine.Clocks(None, None)
