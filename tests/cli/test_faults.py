"""Exports that are killed, or run out of disk: the final name is absent or valid, and nothing else stays behind."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT

from fmedge.artifact import read_artifact
from fmedge.errors import ArtifactError

pytestmark = pytest.mark.skipif(os.name != "posix", reason="POSIX signals and limits")
COMMAND = [sys.executable, "-m", "fmedge", "export", "--weights", "untrained", "--no-verify"]


def start(folder, *words, **options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.Popen(
        [*COMMAND, *words],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def killed_at_random(tmp_path, times, words, name):
    """Kill one export after the other of the same target; returns how often the artifact was whole."""
    generator = random.Random(5)
    began = time.perf_counter()
    with start(tmp_path, *words) as process:
        process.communicate()
    whole = time.perf_counter() - began
    path = tmp_path / "models" / name
    valid = 0
    for _ in range(times):
        with start(tmp_path, *words) as process:
            time.sleep(generator.uniform(0.3, 1.05) * whole)
            process.send_signal(signal.SIGKILL)
            process.communicate()
        try:
            read_artifact(path)
            valid += 1
        except ArtifactError:
            assert not (path.exists() and path.with_name(path.name + ".json").exists())
    return valid


def test_killed_exports_leave_a_whole_artifact_or_none(tmp_path, cases):
    valid = killed_at_random(tmp_path, 5, ["--layer", "block4_conv1"], "block4_conv1.relu.fp32.untrained.onnx")
    print(f"{valid} whole artifacts")
    cases("writes", 5)


@pytest.mark.slow
def test_killed_exports_fifty_times(tmp_path, cases):
    valid = killed_at_random(tmp_path, 50, ["--layer", "block5_conv3"], "block5_conv3.relu.fp32.untrained.onnx")
    print(f"{valid} whole artifacts")
    cases("writes", 50)


@pytest.mark.cases("writes")
@pytest.mark.parametrize("kilobytes", [1, 100, 200, 1000])
def test_full_disk(tmp_path, kilobytes):
    import resource

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes * 1000, kilobytes * 1000))

    with start(tmp_path, "--layer", "block3_conv1", preexec_fn=limit) as process:
        _, talk = process.communicate()
    assert process.returncode == 6
    assert talk.startswith("Error: Cannot write")
    assert talk.count("\n") == 1
    assert list((tmp_path / "models").iterdir()) == []


def test_what_a_killed_export_left_goes_with_the_next(tmp_path):
    models = tmp_path / "models"
    models.mkdir()
    (models / ".block1_conv1.relu.fp32.untrained.onnx.0123456789ab.tmp").write_bytes(b"half")
    with start(tmp_path) as process:
        process.communicate()
    assert sorted(path.name for path in models.iterdir()) == [
        "block1_conv1.relu.fp32.untrained.onnx",
        "block1_conv1.relu.fp32.untrained.onnx.json",
    ]
