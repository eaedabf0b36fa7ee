"""The sampler beside real turns, on recorded machines whose counters run: energy, heat, throttling, and what fails."""

import json
import os
import time
from dataclasses import replace
from itertools import pairwise
from threading import Event, Thread

import pytest

from fmedge.bench import sampler, subject, watch
from fmedge.bench.matrix import BenchMatrix, prepare_cases
from fmedge.bench.protocol import ENERGY_PERIODS, IDLE_S, LONGEST_TURN_S, Protocol, with_energy
from fmedge.bench.report_formats import doubt_lines, header, table, to_csv, to_json, to_markdown
from fmedge.bench.scheduler import measure
from fmedge.bench.worker_pipe import Worker
from fmedge.data.bench_report import read_report
from fmedge.data.telemetry import Telemetry
from fmedge.system.progress import no_progress
from fmedge.system.sensors.source import SensorFailed, Source
from support.measurements import measurement, report
from support.recorded_boards import BOARDS, HWMON, RAPL, THERMAL, Board, rapl, zone

QUICK = Protocol(runs=3, seconds=0.2, processes=1, longest_turn_s=0.2, idle_s=0.3)
IDLE_W, BUSY_W = 10.0, 40.0


@pytest.fixture
def cases(untrained_models):
    found, _ = prepare_cases(
        BenchMatrix(size=(64, 64), weights="untrained", models=untrained_models, backends=("onnxruntime",))
    )
    return found


@pytest.fixture
def running(tmp_path, monkeypatch):
    """A machine whose counter of energy runs: at 40 W during turns, at 10 W otherwise."""
    host = Board({**rapl(package_0=(1_000_000, 262_143_328_850)), **zone(0, "x86_pkg_temp", 50000)}).write(
        tmp_path / "machine"
    )
    path, over, busy = host.root / RAPL / "intel-rapl:0/energy_uj", Event(), Event()

    def count():
        joules, last = 1.0, time.monotonic()
        while not over.wait(0.002):
            now = time.monotonic()
            joules, last = joules + (BUSY_W if busy.is_set() else IDLE_W) * (now - last), now
            path.with_suffix(".new").write_text(f"{joules * 1e6:.0f}")
            path.with_suffix(".new").replace(path)

    turn = subject.Subject.turn

    def busily(self):
        busy.set()
        turn(self)
        busy.clear()

    monkeypatch.setattr(subject.Subject, "turn", busily)
    counting = Thread(target=count)
    counting.start()
    yield host
    over.set()
    counting.join()


def test_energy_of_turns_is_what_the_counter_says(cases, running, tmp_path):
    found = measure(cases, replace(QUICK, seconds=2.0, longest_turn_s=1.0, idle_s=1.0), host=running)
    (row,) = found.measurements
    seen = found.telemetry
    assert seen.power_sensor == "RAPL package-0"
    assert len(seen.idle_w) == 2
    per_image = sum(row.seconds) / row.n  # without what a turn does beside its runs
    assert 1 <= row.energy.turns <= len(row.turns)
    assert row.energy.gross_j > 0.7 * IDLE_W * per_image
    assert row.energy.idle_w == pytest.approx(IDLE_W, rel=0.3)
    assert 0 < row.energy.energy_j < row.energy.gross_j
    assert (row.energy.uncertainty_j is None) == (row.energy.turns == 1)
    assert row.hottest_c == 50.0
    assert row.throttled == ()
    assert (row.no_energy, seen.thermometer) == ("", "x86_pkg_temp")
    path = tmp_path / "r.json"
    path.write_text(to_json(found))
    assert read_report(path) == found
    assert "J/image" in to_markdown(found)
    assert "RAPL package-0" in to_csv(found)


def test_heat_and_throttling_are_recorded_without_being_asked_for(cases, tmp_path):
    host = BOARDS["RK3588"].write(tmp_path)
    found = measure(cases, Protocol(runs=3, seconds=0, processes=1), host=host)
    (row,) = found.measurements
    assert (row.energy, row.no_energy, found.telemetry.no_power) == (None, "not asked for", "not asked for")
    assert row.hottest_c == 84.076
    assert row.throttled == tuple(range(len(row.turns)))
    assert row.doubts[-1] == "throttled"
    assert any("throttled (the machine slowed" in line for line in doubt_lines(found))
    assert found.telemetry.flags == ("clock lowered to cool",)
    assert found.telemetry.clusters.startswith("4 big cores")
    assert "J/image" not in header(found)
    assert to_markdown(found).count("Temperature: 84 to 84 °C") == 1


def test_a_machine_without_a_sensor_says_so_in_the_table(cases, tmp_path):
    found = measure(cases, QUICK, host=BOARDS["Raspberry Pi 4"].write(tmp_path))
    (row,) = found.measurements
    assert "cannot measure its current" in row.no_energy
    cell = dict(zip(header(found), table(found)[0], strict=True))
    assert (cell["J/image"], cell["max °C"]) == ("no sensor", "48")
    assert cell["throttled"] == f"0 of {len(row.turns)}"
    assert row.no_energy in to_csv(found)


def test_a_sensor_that_vanishes_ends_nothing(cases, tmp_path, monkeypatch):
    host = BOARDS["Jetson Orin Nano"].write(tmp_path)
    turn = subject.Subject.turn

    def vanish(self):
        (host.root / f"{HWMON}/hwmon1/curr1_input").unlink(missing_ok=True)
        turn(self)
        time.sleep(0.5)

    monkeypatch.setattr(subject.Subject, "turn", vanish)
    found = measure(cases, QUICK, host=host)
    assert "rail VDD_IN cannot be read" in found.measurements[0].no_energy
    assert found.telemetry.no_power == "rail VDD_IN cannot be read"


def test_a_sampler_that_dies_ends_nothing(cases, tmp_path, monkeypatch):
    host = BOARDS["Jetson Orin Nano"].write(tmp_path)
    rest = watch.Watch.rest

    def die(self, *arguments):
        rest(self, *arguments)
        if self._worker is not None:
            self._worker._process.kill()

    monkeypatch.setattr(watch.Watch, "rest", die)
    found = measure(cases, QUICK, host=host)
    assert "the sampler failed: the process was killed" in found.measurements[0].no_energy


def test_no_sampler_stays_behind(tmp_path):
    with watch.Watch(QUICK, host=BOARDS["Jetson Orin Nano"].write(tmp_path)) as seen:
        process = seen._worker._process
        assert process.poll() is None
    assert process.poll() is not None


def test_the_sampler_keeps_what_it_read_until_it_is_taken(tmp_path):
    host = BOARDS["Jetson Orin Nano"].write(tmp_path)
    worker = Worker(sampler.MODULE)
    try:
        fields = {"root": str(host.root), "tools": {}, "nvml": ""}
        told = worker.ask(30, do="begin", host=fields, power=True, device="cpu", cpus=[])
        assert (told["power_sensor"], told["rate_hz"]) == ("ina3221 VDD_IN", 20.0)
        taken = []
        while len(taken) < 12:
            time.sleep(0.1)
            before = time.monotonic()
            found = worker.ask(30, do="take")
            taken += found["power_times_s"]
            assert all(time_s <= time.monotonic() for time_s in found["state_times_s"])
            assert found["state_times_s"][-1] >= before  # a request reads the state once more
        assert taken == sorted(taken)
        assert len(set(taken)) == len(taken)
    finally:
        worker.stop()


def test_readings_stay_in_step():
    assert sampler._after(100.0, 0.05, 100.01) == pytest.approx(100.05)
    assert sampler._after(100.0, 0.05, 107.0) == pytest.approx(107.05)


def test_a_costly_sensor_is_read_less_often(monkeypatch):
    """A second of a core for each reading: at a hundredth of a core, one every hundred seconds."""
    spent, clock = [0.0], [1000.0]
    monkeypatch.setattr(sampler, "_cpu_seconds", lambda: spent[0])
    monkeypatch.setattr(sampler.time, "monotonic", lambda: clock[0])

    def read():
        spent[0] += 1.0
        return 5.0

    reader = sampler.Sampler()
    reader._source, reader._begun_s = Source("pmic", "x", "x", "power", 0.1, 4.0, read), clock[0]
    while clock[0] < 1450:
        clock[0] += max(reader._step(), 0.001)
    assert reader._samples.power_times_s == pytest.approx([1000, 1095, 1195, 1295, 1395], abs=0.5)


def test_one_costly_reading_does_not_silence_the_sensor(monkeypatch):
    """As a graphics card's was: 0.2 s of a core for one reading, and no sample for 20 s."""
    spent, clock, readings = [0.0], [1000.0], []
    monkeypatch.setattr(sampler, "_cpu_seconds", lambda: spent[0])
    monkeypatch.setattr(sampler.time, "monotonic", lambda: clock[0])

    def read():
        spent[0] += 0.2 if len(readings) == 16 else 0.003
        readings.append(clock[0])
        return 5.0

    reader = sampler.Sampler()
    reader._source, reader._begun_s = Source("nvml", "x", "x", "energy", 1e-3, 10.0, read), clock[0]
    while clock[0] < 1020:
        clock[0] += max(reader._step(), 0.001)
    assert max(after - before for before, after in pairwise(readings)) < 0.5
    assert 50 <= len(readings) <= 200


def test_a_busy_bus_is_no_vanished_sensor():
    answers = iter([1.0, None, None, 2.0, *[None] * 5, 3.0])

    def read():
        value = next(answers)
        if value is None:
            raise SensorFailed("busy")
        return value

    reader = sampler.Sampler()
    reader._source = source = Source("hwmon", "x", "x", "power", 0.1, 10.0, read)
    for _ in range(9):
        assert reader._source is source
        reader._read_power(source)
    assert reader._samples.power == [1.0, 2.0]
    assert (reader._source, reader._failure) == (None, "busy")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs affinities")
def test_the_sampler_leaves_the_measured_cores(monkeypatch):
    chosen = []
    monkeypatch.setattr(sampler.os, "sched_setaffinity", lambda process, cpus: chosen.append(cpus))
    monkeypatch.setattr(sampler.os, "cpu_count", lambda: 8)
    sampler._leave((4, 5, 6, 7))
    sampler._leave(range(8))
    assert chosen == [{0, 1, 2, 3}]


# ---- Cooling down, and the protocol --------------------------------------------------------------------


def test_turns_wait_until_it_is_cool(tmp_path, monkeypatch):
    host = BOARDS["RK3588"].write(tmp_path)
    path, told = host.root / THERMAL / "thermal_zone1/temp", []
    for name in (f"{THERMAL}/thermal_zone2/temp", f"{THERMAL}/thermal_zone3/temp"):
        (host.root / name).write_text("40000")

    def cool(seconds):
        path.write_text(str(int(path.read_text()) - 10000))

    monkeypatch.setattr(watch.time, "sleep", cool)
    seen = watch.Watch(Protocol(cool_down_c=60), host=host)
    seen.cool_down(lambda words, share: told.append(words), 0.0)
    assert told[0] == "waiting until the machine has cooled to 60 °C; now 84 °C"
    assert len(told) == 3
    assert seen.telemetry().cooling.startswith("waited 0 s in all for 60 °C")


@pytest.mark.parametrize(("name", "what"), [("RK3588", "84 °C after"), ("nothing", "no temperature is known")])
def test_what_does_not_cool_is_waited_for_once(tmp_path, monkeypatch, name, what):
    monkeypatch.setattr(watch, "COOL_S", 0.0)
    seen = watch.Watch(Protocol(cool_down_c=30), host=BOARDS[name].write(tmp_path))
    seen.cool_down(no_progress, 0.0)
    seen.cool_down(None, 0.0)
    assert f"did not cool to 30 °C: {what}" in seen.telemetry().cooling


def test_turns_are_as_long_as_the_sensor_needs():
    fast, slow, none = (with_energy(Protocol(), rate) for rate in (50.0, 1.0, 0.0))
    assert fast.turn_s == pytest.approx(ENERGY_PERIODS / 50)
    assert slow.turn_s == slow.idle_s == LONGEST_TURN_S
    assert slow.seconds == 5 * LONGEST_TURN_S
    assert (none.turn_s, none.idle_s, none.seconds) == (Protocol().turn_s, IDLE_S, Protocol().seconds)
    assert fast.energy
    assert not Protocol().energy


def test_old_reports_are_read(tmp_path):
    found = report(measurement(no_energy="not asked for"), telemetry=Telemetry())
    data = json.loads(to_json(found)) | {"schema": 2}
    del data["telemetry"]
    for row in data["measurements"]:
        for name in ("energy", "no_energy", "throttled", "hottest_c"):
            del row[name]
    path = tmp_path / "old.json"
    path.write_text(json.dumps(data))
    old = read_report(path)
    assert old.telemetry is None
    assert (old.measurements[0].energy, old.measurements[0].no_energy) == (None, "")
