"""``--energy``, ``--governor``, ``--cool-down``, ``--cpus big`` and ``--objective energy``, on recorded machines."""

import json

import pytest

from fmedge.bench import watch
from fmedge.system import topology
from fmedge.system.sensors import table
from support.recorded_boards import BOARDS, CPUFREQ


@pytest.fixture
def small(untrained_models):
    return [
        *("--size", 64, "--runs", 3, "--seconds", 0, "--processes", 1, "--weights", "untrained"),
        *("--models", untrained_models, "--backend", "onnxruntime"),
    ]


@pytest.fixture
def on(tmp_path, monkeypatch):
    """Let this machine's sensors and governors be those of a recorded one."""

    def become(name):
        host = BOARDS[name].write(tmp_path / name)
        for module in (watch, topology, table):
            monkeypatch.setattr(module, "Host", lambda: host)
        return host

    return become


def test_energy_on_a_machine_without_a_sensor(fmedge_inprocess, small, on):
    on("nothing")
    ran = fmedge_inprocess("bench", *small, "--energy")
    assert "No energy is measured: this machine has no power sensor that fmedge knows." in ran.stderr
    header, row = ran.stdout.splitlines()[-2:]
    assert header.split()[-6:] == ["J/image", "idle", "W", "max", "°C", "throttled"]
    assert "no sensor" in row
    assert "not told" in row
    assert "Energy: this machine has no power sensor that fmedge knows" in ran.stdout


def test_without_energy_the_table_stays_as_it_is(fmedge_inprocess, small, on):
    on("Raspberry Pi 4")
    ran = fmedge_inprocess("bench", *small)
    assert "J/image" not in ran.stdout
    assert "Energy: not asked for" in ran.stdout
    assert "Temperature: 48 to 48 °C (cpu-thermal)" in ran.stdout


def test_the_governor_is_set_while_it_is_measured(fmedge_inprocess, small, on, monkeypatch):
    host = on("RK3588")
    seen = []
    rest = watch.Watch.rest

    def look(self, *arguments):
        seen.append({host.text(path / "scaling_governor") for path in host.paths(f"{CPUFREQ}/policy*")})
        rest(self, *arguments)

    monkeypatch.setattr(watch.Watch, "rest", look)
    monkeypatch.setattr(watch, "COOL_S", 0.0)
    words = ["--governor", "performance", "--cool-down", 50, "--warm-up", 0.1, "--json"]
    ran = fmedge_inprocess("bench", *small, *words)
    assert json.loads(ran.stdout)["telemetry"]["cooling"].startswith("the machine did not cool to 50 °C: 84 °C")
    assert seen == [{"performance"}] * 2
    assert {host.text(path / "scaling_governor") for path in host.paths(f"{CPUFREQ}/policy*")} == {"schedutil"}


def test_an_unknown_governor_is_refused(fmedge_inprocess, small, on):
    on("RK3588")
    ran = fmedge_inprocess("bench", *small, "--governor", "preformance", code=2)
    assert "Unknown governor 'preformance'. Closest: 'performance'." in ran.stderr
    on("nothing")
    ran = fmedge_inprocess("bench", *small, "--governor", "performance", code=2)
    assert "--governor" in ran.stderr


def test_kinds_of_cores(fmedge_inprocess, small, on):
    on("Intel N100")
    ran = fmedge_inprocess("bench", *small, "--cpus", "big", code=2)
    assert "--cpus big: the cores of this machine are all alike" in ran.stderr
    ran = fmedge_inprocess("bench", *small, "--cpus", "small", code=2)
    assert "'small' is not a core number" in ran.stderr


def test_the_least_energy_cannot_be_found_without_a_sensor(fmedge_inprocess, untrained_models, on):
    on("Raspberry Pi 4")
    words = ["--weights", "untrained", "--models", untrained_models, "--size", 64]
    ran = fmedge_inprocess("tune", *words, "--objective", "energy", code=5)
    assert "Energy cannot be measured: this Raspberry Pi cannot measure its current" in ran.stderr
