"""What boards say of themselves: read strictly, and each obstacle told in a line."""

import dataclasses

import pytest

from fmedge.boards.local import LocalTarget
from fmedge.boards.probe import probe, read_facts, require_fit, warnings
from fmedge.errors import BoardUnavailable
from support.messages import says

PI5 = """
Welcome!

fmedge-board-probe
machine aarch64
kernel Linux 6.6.31+rpt-rpi-2712
bits 64
elf 2
glibc 2.36
model Raspberry Pi 5 Model B Rev 1.0
time 1700000100
memory 8245000
available 7000000
disk 20000000
writable 1
python 3.11.2 64 1 aarch64 glibc 2.36 cpython 0 python3.11
python 3.11.2 64 1 aarch64 glibc 2.36 cpython 0 python3
end
"""
NOW = 1_700_000_000.0
ROOM = 10**9


def facts(text=PI5, **changes):
    for key, value in changes.items():
        lines = [value if line.split(" ")[0] == key else line for line in text.split("\n")]
        text = "\n".join(line for line in lines if line is not None)
    return read_facts("pi", text, NOW)


def test_a_raspberry_pi():
    found = facts()
    assert (found.machine, found.bits, found.model) == ("aarch64", 64, "Raspberry Pi 5 Model B Rev 1.0")
    assert found.memory_bytes == 8245000 * 1024
    assert found.disk_bytes == 20000000 * 1024
    assert found.clock_offset_s == 100
    assert not warnings(found)
    python = require_fit("pi", found, room_bytes=ROOM)
    assert (python.name, python.version, python.libc_version) == ("python3.11", (3, 11, 2), (2, 36))


def test_this_machine():
    found = probe(LocalTarget())
    assert found.bits == 64
    assert found.memory_bytes > 10**8
    assert abs(found.clock_offset_s) < 3600
    assert not found.musl


OBSTACLES = {
    "a 32-bit system on a 64-bit kernel": {"elf": "elf 1", "bits": "bits 32"},
    "a 32-bit system; engines": {"machine": "machine armv7l", "elf": "elf 1"},
    "is riscv64; engines": {"machine": "machine riscv64"},
    "musl as its C library": {"glibc": "musl /lib/ld-musl-aarch64.so.1"},
    "no Python that was found": {"python": None},
    "has Python 3.9.2; fmedge runs on CPython 3.11 to 3.13": {
        "python": "python 3.9.2 64 1 aarch64 glibc 2.31 cpython 0 python3"
    },
    "fmedge runs on CPython": {"python": "python 3.13.1 64 1 aarch64 glibc 2.31 cpython 1 python3"},
    "a 32-bit Python": {"python": "python 3.11.2 32 1 armv8l glibc 2.31 cpython 0 python3"},
    "without its module venv": {"python": "python 3.11.2 64 0 aarch64 glibc 2.31 cpython 0 python3"},
    "does not let files be created": {"writable": None},
    "has 512 MB of free disk; 1,000 MB are needed": {"disk": "disk 500000"},
}


@pytest.mark.parametrize("said", OBSTACLES)
def test_each_obstacle_has_its_line(said):
    with pytest.raises(BoardUnavailable, check=says(f"The board 'pi' .*{said}")) as caught:
        require_fit("pi", facts(**OBSTACLES[said]), room_bytes=ROOM)
    assert caught.value.hint
    assert len(caught.value.in_full()) <= 190


def test_warnings():
    assert "has 420 MB of memory" in warnings(facts(memory="memory 410000"))["memory"]
    assert "a clock that is 19,676 days behind" in warnings(facts(time="time 10"))["clock"]
    assert "days ahead" in warnings(facts(time="time 4000000000"))["clock"]


@pytest.mark.parametrize(
    "text", ["", "hello", PI5.replace("end\n", ""), PI5.replace("fmedge-board-probe", "x"), "\0" * 99]
)
def test_what_is_no_answer(text):
    with pytest.raises(BoardUnavailable, check=says("does not say what it is")):
        read_facts("pi", text, NOW)


def test_what_a_hostile_board_says_stays_data():
    hostile = facts(
        model="model \x1b[2J\u202eevil" + "x" * 10_000,
        memory="memory 99999999999999999999999999",
        disk="disk -5",
        time="time 1e400",
        elf="elf $(reboot)",
    )
    assert hostile.model.isprintable()
    assert len(hostile.model) <= 80
    assert (hostile.memory_bytes, hostile.disk_bytes, hostile.clock_offset_s) == (0, 0, 0)


@pytest.mark.parametrize("name", ["/tmp/evil", "python3; reboot", "sh", "", "python3.11 -c x", "python9"])
def test_a_board_does_not_choose_what_is_run(name):
    found = facts(python=f"python 3.11.2 64 1 aarch64 glibc 2.36 cpython 0 {name}")
    assert found.pythons == ()


def test_the_users_own_python_comes_first():
    own = "python 3.12.1 64 1 aarch64 glibc 2.36 cpython 0 /opt/py 3/bin/python\n"
    found = read_facts("pi", PI5.replace("python 3.11.2", own + "python 3.11.2", 1), NOW, "/opt/py 3/bin/python")
    assert require_fit("pi", found, room_bytes=ROOM).name == "/opt/py 3/bin/python"
    assert dataclasses.replace(found, pythons=()).python is None
