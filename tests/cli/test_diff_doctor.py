"""``fmedge diff`` and ``fmedge doctor``, as a user types them."""

import json
import sys

import pytest

from fmedge.runtime.backends import BACKENDS
from fmedge.workflow.doctor import DeviceState, EngineState, _problems, _try
from support.page_samples import Elements


def test_two_models(fmedge_process, block1, picture):
    ran = fmedge_process("diff", block1.path, block1.path, picture)
    lines = ran.stdout.splitlines()
    assert lines[0] == "A: onnx fp32 on onnxruntime, 1/1 Conv on CPUExecutionProvider"
    assert lines[2] == "block1_conv1: inf dB SNR, max error 0.0e+00 of the range"
    assert len(lines) == 4 + 5


def test_one_model_on_two_engines_with_a_bound(fmedge_inprocess, block1, picture):
    pytest.importorskip("openvino", reason="needs OpenVINO: pip install 'fmedge[openvino]'")
    other = f"{block1.path}@openvino"
    data = json.loads(fmedge_inprocess("diff", block1.path, other, picture, "--json", "--min-snr", 100).stdout)
    (layer,) = data["layers"]
    assert layer["layer"] == "block1_conv1"
    assert layer["parity"]["snr_db"] > 100
    assert len(layer["channels"]) == 64
    ran = fmedge_inprocess("diff", block1.path, other, picture, "--min-snr", 300, code=4)
    assert ran.stderr.count("\n") == 1
    assert "Allowed: at least 300 dB." in ran.stderr


def test_several_photos(fmedge_inprocess, block1, picture, photos_folder, tmp_path):
    page = tmp_path / "diff.html"
    photos = [picture, f"{photos_folder}/0[01].png"]
    ran = fmedge_inprocess("diff", block1.path, block1.path, *photos, "--output", page)
    lines = ran.stdout.splitlines()
    assert lines[2].endswith("max error 0.0e+00 of the range, over 3 photos, inf to inf dB")
    assert lines[3].split()[2:] == ["dB", "bias", "max", "error", "saturated"]
    assert lines[4].split() == ["channel", "0", "inf", "0", "0", "0%"]
    assert ran.stderr.splitlines()[-1] == "3 of 3 images"
    header = Elements(page.read_bytes()).header
    assert header["photos"] == 3
    assert ["Figures of channels", "over 3 photos; maps are of the first"] in header["captions"]["facts"]
    ran = fmedge_inprocess("diff", block1.path, block1.path, *photos, tmp_path / "no.png", "--json", code=9)
    data = json.loads(ran.stdout)
    assert (data["images"], len(data["layers"][0]["channels"])) == (3, 64)
    assert [list(photo) for photo in data["photos"]] == [["image", "layers"]] * 3 + [["image", "error"]]
    assert data["photos"][1]["layers"][0]["parity"]["snr_db"] is None
    assert "Skipped: No image" in ran.stderr
    fmedge_inprocess("diff", block1.path, block1.path, tmp_path / "no.png", code=3)


def test_two_engines_export_what_they_need(fmedge_inprocess, picture, untrained_models):
    pytest.importorskip("ncnn", reason="needs ncnn: pip install 'fmedge[ncnn]'")
    words = ["--weights", "untrained", "--models", untrained_models, "--layer", "block1_conv2+block1_pool"]
    ran = fmedge_inprocess("diff", "onnxruntime", "ncnn", picture, *words, "--min-snr", 100)
    assert "B: ncnn fp32 on ncnn, 2/2 Convolution on CPU" in ran.stdout
    assert "block1_conv2: 1" in ran.stdout
    assert "block1_pool: 1" in ran.stdout


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["nothing.onnx", "nothing.onnx"], 4, "No model file 'nothing.onnx'"),
        (["onnxruntime", "BLOCK1", "--layer", "block1_conv9"], 2, "Unknown layer"),
        (["BLOCK1", "BLOCK1", "--layer", "block1_conv1"], 2, "Model files determine layer"),
        (["BLOCK1@litert", "BLOCK1"], 2, "litert does not run onnx models"),
    ],
)
def test_diff_says_what_is_wrong(fmedge_inprocess, block1, picture, words, code, message):
    named = [word.replace("BLOCK1", str(block1.path)) for word in words]
    ran = fmedge_inprocess("diff", *named[:2], picture, *named[2:], code=code)
    assert message in ran.stderr
    assert ran.stderr.count("\n") == 1


def test_doctor_tries_every_engine(fmedge_process):
    found = json.loads(fmedge_process("doctor", "--json").stdout)
    assert [engine["backend"] for engine in found["engines"]] == [row.name for row in BACKENDS]
    for engine, row in zip(found["engines"], BACKENDS, strict=True):
        devices = {state["device"]: state for state in engine["devices"]}
        assert bool(engine["distributions"]) == row.installed
        assert list(devices) == ([provider.device for provider in row.providers] if row.installed else [])
        if row.installed:
            assert devices["cpu"]["works"], devices["cpu"]["said"]
            assert " dB" in devices["cpu"]["said"]
    assert found["problems"] == []


def test_doctor_finds_wheels_that_overwrite_each_other():
    state = DeviceState("cpu", works=True, said="")
    engine = EngineState("onnxruntime", {"onnxruntime": "1", "onnxruntime-gpu": "1"}, "", (state,))
    (problem,) = _problems((engine,))
    assert "onnxruntime and onnxruntime-gpu overwrite each other's files" in problem
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in problem


def test_doctor_finds_what_does_not_work():
    broken = EngineState("ncnn", {"ncnn": "1"}, "", (DeviceState("cpu", works=False, said="ended by signal 11"),))
    absent = EngineState("onnxruntime", {}, "pip install 'fmedge[cpu]'", ())
    assert list(_problems((broken,))) == ["ncnn does not work on the CPU: ended by signal 11"]
    assert list(_problems((absent,))) == ["No engine is installed. Install one: pip install 'fmedge[cpu]'."]


@pytest.mark.parametrize(("end", "said"), [("os.kill(os.getpid(), 9)", "signal 9"), ("os._exit(3)", "code 3")])
def test_doctor_leaves_no_folder_of_a_process_that_crashed(end, said, tmp_path, monkeypatch):
    program = f"import os, tempfile; open(tempfile.mkdtemp() + '/left', 'w').write('x'); {end}"
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("fmedge.system.children.module_command", lambda module: [sys.executable, "-c", program])
    state = _try(BACKENDS[0], "cpu")
    assert not state.works
    assert said in state.said
    assert list(tmp_path.iterdir()) == []
