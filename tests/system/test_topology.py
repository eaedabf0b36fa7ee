"""Big and little cores, and governors that are set and always restored."""

import os
import signal
import subprocess
import sys

import pytest

from fmedge.errors import UsageError, WriteError
from fmedge.system import topology
from fmedge.system.sensors.host import Host
from fmedge.system.topology import choose_cpus, describe_clusters, find_clusters, governor_set, ranges
from support.recorded_boards import BOARDS, CPUFREQ, Board, cores


@pytest.fixture
def rk3588(tmp_path):
    return BOARDS["RK3588"].write(tmp_path)


def governors(host):
    return [host.text(path / "scaling_governor") for path in host.paths(f"{CPUFREQ}/policy*")]


def test_sides(rk3588):
    assert choose_cpus("big", rk3588) == (4, 5, 6, 7)
    assert choose_cpus("little", rk3588) == (0, 1, 2, 3)
    assert choose_cpus("all", rk3588) == tuple(range(8))
    words = describe_clusters(find_clusters(rk3588))
    assert words == "4 big cores (4-7, 2256 MHz), 4 little cores (0-3, 1800 MHz)"


def test_three_kinds(tmp_path):
    kinds = (((0, 1), 1800000, 1, 1800000, 250), ((2, 3, 4), 1, 1, 2400000, 620), ((5,), 1, 1, 2900000, 1024))
    host = Board(cores(*kinds)).write(tmp_path)
    assert [cluster.cpus for cluster in find_clusters(host)] == [(5,), (2, 3, 4), (0, 1)]
    assert "3 middle cores (2-4, 2400 MHz)" in describe_clusters(find_clusters(host))
    assert choose_cpus("little", host) == (0, 1)


def test_a_core_that_is_switched_off_is_none(tmp_path):
    files = BOARDS["RK3588"].files | {"sys/devices/system/cpu/cpu7/online": "0"}
    assert choose_cpus("big", Board(files).write(tmp_path)) == (4, 5, 6)


def test_favoured_cores_are_no_kind_of_their_own(tmp_path):
    host = Board(cores(((0, 1), 1, 1, 5000000, None), ((2, 3), 1, 1, 4900000, None))).write(tmp_path)
    assert len(find_clusters(host)) == 1


@pytest.mark.parametrize("name", ["Intel N100", "Raspberry Pi 5", "nothing"])
def test_cores_that_are_alike(tmp_path, name):
    host = BOARDS[name].write(tmp_path)
    assert describe_clusters(find_clusters(host)) == ""
    with pytest.raises(UsageError, match="all alike"):
        choose_cpus("big", host)
    assert choose_cpus("all", host) == ((0, 1, 2, 3) if name != "nothing" else (0,))


def test_numbers_in_words():
    assert ranges((0, 1, 2, 5)) == "0-2, 5"


def test_governors_are_set_and_restored(tmp_path):
    host = BOARDS["RK3588"].write(tmp_path)
    (tmp_path / f"{CPUFREQ}/policy4/scaling_governor").write_text("ondemand\n")
    with governor_set("performance", host):
        assert governors(host) == ["performance"] * 3
    assert governors(host) == ["schedutil", "ondemand", "schedutil"]
    with pytest.raises(ZeroDivisionError), governor_set("performance", host):
        raise ZeroDivisionError
    assert governors(host) == ["schedutil", "ondemand", "schedutil"]


def test_an_unknown_governor(rk3588):
    words = r"Unknown governor 'performence'\. Closest: 'performance'"
    with pytest.raises(UsageError, match=words), governor_set("performence", rk3588):
        pass
    assert governors(rk3588) == ["schedutil"] * 3


def test_a_system_without_governors(tmp_path):
    with pytest.raises(UsageError, match="does not let"), governor_set("performance", Host(tmp_path)):
        pass


def test_a_governor_that_may_not_be_set_leaves_the_others_as_they_were(rk3588, monkeypatch):
    def refuse(path, name, write=topology._write):
        if "policy4" in str(path) and name == "performance":
            raise WriteError("no")
        write(path, name)

    monkeypatch.setattr(topology, "_write", refuse)
    with pytest.raises(WriteError), governor_set("performance", rk3588):
        pass
    assert governors(rk3588) == ["schedutil"] * 3


PROGRAM = """
import hashlib, os, signal, sys, threading, time
from pathlib import Path
from fmedge.cli import interrupts
from fmedge.system.sensors.host import Host
from fmedge.system.topology import governor_set

interrupts.watch()
with interrupts.signals(), governor_set("performance", Host(Path(sys.argv[1]))):
    print("set", flush=True)
    if sys.argv[2] == "stuck":  # in C code, where no handler of Python's runs
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
        hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
    time.sleep(60)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("how", ["sleeping", "stuck"])
def test_governors_are_restored_after_sigterm(rk3588, how):
    command = [sys.executable, "-c", PROGRAM, str(rk3588.root), how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "set\n"
        assert governors(rk3588) == ["performance"] * 3
        if how == "sleeping":
            process.send_signal(signal.SIGTERM)
        process.wait(60)
    assert process.returncode == 143
    assert governors(rk3588) == ["schedutil"] * 3
