"""``fmedge bench`` and ``fmedge compare``, as a user types them."""

import json
import os
import signal
import subprocess
import sys

import pytest

from fmedge.data.measurement import Process
from support.measurements import measurement, report
from support.places import ROOT

FIVE = "block1_conv1,block1_conv2,block1_pool,block2_conv1,block2_conv2"


@pytest.fixture
def small(untrained_models):
    """Options of a quick run."""
    return [
        *("--size", 64, "--runs", 3, "--seconds", 0, "--weights", "untrained", "--models", untrained_models),
        *("--backend", "onnxruntime"),
    ]


def test_bench_writes_every_form(fmedge_process, small, tmp_path):
    outputs = [word for name in ("r.json", "r.csv", "r.md") for word in ("--output", name)]
    ran = fmedge_process("bench", "--layer", "block1_conv1,block1_conv2", *small, "--threads", "1,2", *outputs)
    header = next(line for line in ran.stdout.splitlines() if line.startswith("layer"))
    assert header.split()[:6] == ["layer", "engine", "form", "threads", "p50", "ms"]
    assert sum(line.startswith("block1_conv") for line in ran.stdout.splitlines()) == 4
    data = json.loads((tmp_path / "r.json").read_text())
    assert len(data["measurements"]) == 4
    assert (tmp_path / "r.md").read_text().startswith("# fmedge bench")
    assert len((tmp_path / "r.csv").read_text().splitlines()) == 5
    same = fmedge_process("compare", "r.json", "r.json")
    assert sum(" +0.0 % " in line for line in same.stdout.splitlines()) == 4  # whatever the intervals on a busy machine


def test_data_on_stdout_talk_on_stderr(fmedge_process, small, picture):
    chosen = ["--image", picture, "--stages", "--precision", "fp32,int8", "--activation", "none"]
    ran = fmedge_process("bench", *small, *chosen, "--json")
    data = json.loads(ran.stdout)
    assert set(data["measurements"][0]["stages"]) == {"decode", "resize", "copy in", "compute", "copy out", "render"}
    assert "Skipped: block1_conv1 on onnxruntime, int8" in ran.stderr
    assert "--calibration DIR" in ran.stderr


@pytest.mark.slow
def test_how_long_it_takes_is_said_before_the_first_row(fmedge_process, small):
    said = fmedge_process("bench", *small, "--threads", "1,2").stderr.splitlines()
    assert said[0] == "Measuring 2 configurations, 18 s each: up to about 36 s."
    assert said[1].startswith("loading block1_conv1 on onnxruntime")
    assert any(line.startswith("measuring block1_conv1 on") and line.endswith(" left") for line in said[2:])
    said = fmedge_process("bench", *small, "--threads", "1", "--budget", 5).stderr
    assert said.startswith("Measuring 1 configuration: up to about 5 s.\n")
    ran = fmedge_process("bench", *small, "--threads", "1", "--processes", 2, "--json")
    assert ran.stderr.startswith("Measuring 1 configuration, 2 processes each: about ")
    assert json.loads(ran.stdout)["processes"] == 2


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--processes", "3", "--budget", "20"], 2, "Use one of them"),
        (["--output", "r.txt"], 2, "Unknown file type"),
        (["--output", "nowhere/r.md"], 6, "does not exist"),
        (["--layer", "block1_conv9"], 2, "Unknown layer"),
        (["--backend", "onnx"], 2, "Unknown backend"),
        (["--threads", "0"], 2, "not a number of threads"),
        (["--threads", "1,x"], 2, "not a number of threads"),
        (["--math", "fp8"], 2, "Unknown math"),
        (["--batch", "4"], 2, "--scenario offline"),
        (["--stages"], 2, "--image"),
        (["--size", "dynamic"], 2, "a run has one size"),
        (["--image", "nothing.jpg"], 3, "No image"),
        (["--precision", "int8", "--activation", "none"], 2, "Nothing can be measured"),
        (["--threads", ",".join(map(str, range(1, 1_001))), "--layer", FIVE], 7, "requested. Allowed: 4,096"),
    ],
)
def test_bench_says_what_is_wrong(fmedge_inprocess, small, words, code, message):
    ran = fmedge_inprocess("bench", *small, *words, code=code)
    assert message in ran.stderr
    assert ran.stderr.count("\n") == 1


def test_a_row_that_fails_is_told_and_the_rest_is_kept(fmedge_process, small):
    ran = fmedge_process("bench", *small, "--threads", "1,1000", "--json", code=2)
    data = json.loads(ran.stdout)
    assert [each["configuration"]["threads"] for each in data["measurements"]] == [1]
    assert "Failed: block1_conv1 on onnxruntime, fp32, 1000 threads: --threads 1000" in ran.stderr


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
def test_ctrl_c_keeps_what_was_measured(small, tmp_path):
    words = ["bench", *small, "--seconds", 20, "--output", "r.json", "--output", "r.md"]
    process = subprocess.Popen(
        [sys.executable, "-m", "fmedge", *map(str, words)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stderr:
        if line.startswith("measuring"):
            break
    process.send_signal(signal.SIGINT)
    shown, talk = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in talk
    assert "block1_conv1" in shown
    data = json.loads((tmp_path / "r.json").read_text())
    assert data["interrupted"]
    assert data["measurements"][0]["processes"][0]["turns"]
    assert "Interrupted" in (tmp_path / "r.md").read_text()


@pytest.fixture
def reports(tmp_path):
    """Two reports: the second a tenth slower."""
    for name, factor in (("before", 1.0), ("after", 1.1)):
        processes = tuple(Process(((factor * pace,) * 10,), 0.001) for pace in (0.0100, 0.0101, 0.0099, 0.0100))
        (tmp_path / f"{name}.json").write_text(json.dumps(report(measurement(processes=processes)).to_dict()))
    return "before.json", "after.json"


def test_compare_exits_with_8_on_a_regression(fmedge_inprocess, reports):
    before, after = reports
    assert "↑ slower" in fmedge_inprocess("compare", before, after).stdout
    fmedge_inprocess("compare", before, after, "--fail-on", "p50:15%", "--fail-on", "peak_memory:0%")
    ran = fmedge_inprocess("compare", before, after, "--fail-on", "p50:5%", code=8)
    assert ran.stderr.startswith("Error: block1_conv1 on onnxruntime, fp32, 2 threads: p50 +10.0 %, allowed +5 %")
    ran = fmedge_inprocess("compare", after, before, "--fail-on", "p50:5%", "--fail-on", "min:5%", "--json")
    assert [change["verdict"] for change in json.loads(ran.stdout)["changes"]] == ["faster", "faster"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["before.json", "nothing.json"], "No file"),
        (["before.json", "after.json", "--fail-on", "p51:5%"], "Unknown metric 'p51'. Closest: 'p50'"),
        (["before.json", "after.json", "--metric", "speed"], "Unknown metric 'speed'"),
        (["before.json", "other.json"], "this version of fmedge reads 1 to 3"),
    ],
)
def test_compare_says_what_is_wrong(fmedge_inprocess, reports, tmp_path, words, message):
    (tmp_path / "other.json").write_text(json.dumps({"kind": "fmedge bench", "schema": 4}))
    ran = fmedge_inprocess("compare", *words, code=2)
    assert message in ran.stderr
    assert ran.stderr.count("\n") == 1
