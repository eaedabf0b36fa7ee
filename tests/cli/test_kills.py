"""Commands that are killed, interrupted, or run beside others: a name holds what is whole, or is absent."""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from fmedge.model.artifact import read_artifact
from support.faults import EXPORT, JOBS, RUN, Place, exported, wait_for_session

pytestmark = pytest.mark.skipif(
    os.name != "posix" or not Path("/proc/self/status").is_file(), reason="POSIX signals, and Linux to see them handled"
)

KILLS = {"onnx": 24, "ncnn": 24, "page": 20, "many": 16, "bench": 8, "tune": 4, "tflite": 4}
"""A hundred."""

UNDER_WAY_S = 20
"""Longest wait for a command to do something."""


@pytest.fixture
def place(tmp_path, picture, block1):
    return Place(tmp_path, picture, block1.path.parent)


def killed(place, job, generator, *, aimed):
    """Kill it once at a random instant: at any, or within a moment of its first change to a file."""
    before = place.state()
    with place.start(job.words) as process:
        if aimed:
            ends = time.monotonic() + job.seconds + UNDER_WAY_S
            while place.state() == before and process.poll() is None and time.monotonic() < ends:
                time.sleep(0.0005)
            time.sleep(generator.expovariate(1 / 0.02))
        else:
            time.sleep(generator.uniform(0.05, 1.1) * job.seconds)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    wait_for_session(process)
    place.require_whole(leftovers=True)
    return process.returncode


def killed_often(place, name, times):
    generator, job = random.Random(name), JOBS[name]
    codes = [killed(place, job, generator, aimed=number % 2 == 0) for number in range(times)]
    place.require_good_run(job)
    assert set(codes) <= {-signal.SIGKILL, 0}
    print(f"{name}: {codes.count(-signal.SIGKILL)} of {times} were killed, the others had ended")


@pytest.mark.few(2)
@pytest.mark.parametrize("name", ["onnx", "ncnn", "page", "many"])
def test_killed_twice(place, name, cases):
    killed_often(place, name, 2)
    cases("writes", 2)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "times"), KILLS.items())
def test_killed_a_hundred_times(place, name, times, cases):
    killed_often(place, name, times)
    cases("writes", times)


def wait_until_handled(process):
    """Wait until the command handles SIGTERM: before, a signal ends Python itself."""
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        caught = next(line for line in status.read_text().splitlines() if line.startswith("SigCgt"))
        if int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.001)


def interrupted(place, job, number, generator):
    """Interrupt it once at a random instant; its exit code."""
    default = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731 - a shell's background jobs ignore it
    with place.start(job.words, preexec_fn=default) as process:
        wait_until_handled(process)
        time.sleep(generator.uniform(0, 0.9) * job.seconds)
        process.send_signal(number)
        _, talk = process.communicate(timeout=120)
    assert "Traceback" not in talk
    assert process.returncode in {0, 128 + number}, talk
    wait_for_session(process)
    place.require_whole()
    return process.returncode


def interrupted_often(place, name, number, times):
    generator, job = random.Random(f"{name}{number}"), JOBS[name]
    codes = [interrupted(place, job, number, generator) for _ in range(times)]
    print(f"{name}: {times - codes.count(0)} of {times} were interrupted, the others had ended")


@pytest.mark.cases("writes")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["INT", "TERM"])
@pytest.mark.parametrize("name", ["onnx", "page", "many", "bench", pytest.param("tune", marks=pytest.mark.slow)])
def test_interrupted(place, name, number):
    interrupted_often(place, name, number, 1)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["INT", "TERM"])
@pytest.mark.parametrize(
    ("name", "times"), [("onnx", 8), ("ncnn", 4), ("page", 8), ("many", 8), ("bench", 6), ("tune", 4), ("tflite", 2)]
)
def test_interrupted_often(place, name, number, times, cases):
    interrupted_often(place, name, number, times)
    place.require_good_run(JOBS[name])
    cases("writes", times)


def at_once(place, commands):
    """Run commands in one folder beside each other: each ends well."""
    processes = [place.start(words) for words in commands]
    for process in processes:
        _, talk = process.communicate(timeout=300)
        assert process.returncode == 0, talk
    place.require_whole()


def test_eight_exports_of_one_target_at_once(place, cases):
    """Half of them check the model, so their cards differ."""
    words = JOBS["onnx"].words
    at_once(place, [words, words.replace(" --no-verify", "")] * 4)
    assert place.files() == sorted(JOBS["onnx"].files)
    read_artifact(place.folder / JOBS["onnx"].files[0])
    cases("writes", 8)


@pytest.mark.slow
def test_eight_exports_of_one_target_at_once_in_every_format(place, cases):
    for name in ("onnx", "ncnn", "tflite") * 2:
        words = JOBS[name].words
        at_once(place, [words] * (2 if name == "tflite" else 8))
        read_artifact(place.folder / JOBS[name].files[0])
        cases("writes", 2 if name == "tflite" else 8)


def test_different_commands_at_once(place, cases):
    """They export the model that all of them need, and two of them write one page."""
    run = f"{RUN.replace('MODELS', 'models')} PHOTO --layer block1_conv2 --backend onnxruntime"
    export = f"{EXPORT} --layer block1_conv2"
    commands = [f"{run} --output a.html", f"{run} --output a.html --activation relu", f"{run} --output b.html"]
    commands += [export, f"{export} --format ncnn", f"{run} --no-page --save-maps a.npz"]
    at_once(place, commands)
    model = "block1_conv2.relu.fp32.untrained"
    files = [*exported(f"{model}.onnx"), *exported(f"{model}.ncnn.param"), "a.html", "b.html", "a.npz"]
    assert place.files() == sorted(files)
    cases("writes", len(commands))


def test_what_a_killed_export_left_goes_with_the_next(place):
    job, left = JOBS["onnx"], "models/.block3_conv1.relu.fp32.untrained.onnx.0123456789ab.tmp"
    (place.folder / "models").mkdir()
    (place.folder / left).write_bytes(b"half")
    place.require_whole(leftovers=True)
    place.require_good_run(job)
