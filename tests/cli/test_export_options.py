"""``fmedge export`` with everything that is not the default, ``fmedge verify``, and running what they wrote."""

import json

import numpy as np
import pytest
from PIL import Image

from fmedge.model.submodel import Converter, ExportOptions, Format
from fmedge.workflow.request import request_artifact


@pytest.fixture(autouse=True)
def _untrained(monkeypatch):
    monkeypatch.setenv("FMEDGE_WEIGHTS", "untrained")


def test_commas_make_an_artifact_each_and_pluses_one_of_several_taps(fmedge_inprocess, tmp_path):
    fmedge_inprocess("export", "--layer", "block1_conv1,block1_conv1+block1_pool", "--precision", "fp32,fp16")
    names = {path.name for path in (tmp_path / "models").glob("*.onnx")}
    assert names == {
        f"{label}.relu.{precision}.untrained.onnx"
        for label in ("block1_conv1", "block1_conv1+block1_pool")
        for precision in ("fp32", "fp16")
    }


@pytest.mark.parametrize(
    ("options", "name", "shape"),
    [
        (["--size", "48x32", "--batch", "2"], "48x32.b2", (64, 48, 32)),
        (["--size", "dynamic", "--output-layout", "nhwc"], "dynamic.nhwc", (64, 224, 224)),
        (["--input", "float32", "--size", "64"], "float32in.64x64", (64, 64, 64)),
        (["--precision", "fp16", "--output-layout", "nchw", "--converter", "direct"], "", (64, 224, 224)),
    ],
)
def test_options_add_their_words_and_the_model_runs(fmedge_inprocess, tmp_path, picture, options, name, shape):
    out = fmedge_inprocess("export", *options, "--activation", "none").stdout.strip()
    precision = "fp16" if "fp16" in options else "fp32"
    assert out.endswith(".".join(filter(None, [f"block1_conv1.none.{precision}.untrained", name, "onnx"])))
    fmedge_inprocess("run", picture, "--model", out, "--save-maps", "maps.npz")
    with np.load("maps.npz") as archive:
        assert archive["maps"].shape == shape
        assert archive["maps"].min() < 0


def test_default_choices_spelled_out_keep_the_short_name(fmedge_inprocess):
    spelled = ExportOptions(converter=Converter.DIRECT, output_layout="NCHW")
    assert request_artifact(options=spelled, models="m").path.name == "block1_conv1.relu.fp32.untrained.onnx"
    tflite = ExportOptions(format=Format.TFLITE, converter=Converter.TENSORFLOW, output_layout="NHWC")
    assert request_artifact(options=tflite, models="m").path.name == "block1_conv1.relu.fp32.untrained.tflite"


def test_photo_at_its_own_size(fmedge_inprocess, tmp_path):
    Image.fromarray(np.zeros((60, 90, 3), np.uint8)).save(tmp_path / "wide.png")
    words = ["run", "wide.png", "--layer", "block1_pool", "--resize", "none", "--save-maps", "maps.npz"]
    fmedge_inprocess(*words, "--size", "dynamic")
    with np.load("maps.npz") as archive:
        assert archive["maps"].shape == (64, 30, 45)
    refused = fmedge_inprocess(*words, code=2).stderr
    assert "is 60 x 90; the model takes 224 x 224" in refused


def test_dry_run_writes_nothing(fmedge_inprocess, tmp_path):
    shown = fmedge_inprocess("export", "--layer", "block5_conv3", "--dry-run").stdout
    assert "14,714,688" in shown
    (plan,) = json.loads(
        fmedge_inprocess("export", "--layer", "block3_conv3", "--dry-run", "--json", "--size", "64").stdout
    )
    assert plan["outputs"] == {"block3_conv3": [256, 16, 16]}
    assert plan["receptive_field"] == 40
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_dry_run_tells_the_size(fmedge_inprocess, tmp_path, photos_folder, precision):
    words = ["export", "--layer", "block3_conv1", "--precision", precision, "--size", "32"]
    words += ["--calibration", photos_folder]
    (plan,) = json.loads(fmedge_inprocess(*words, "--dry-run", "--json").stdout)
    size = json.loads(fmedge_inprocess(*words, "--json", "--no-verify").stdout.partition("\n")[2])[0]["size_bytes"]
    assert plan["size_bytes"] == pytest.approx(size, rel=0.03)


def test_verify_repeats_the_check(fmedge_inprocess, tmp_path):
    model = fmedge_inprocess("export", "--layer", "block1_pool").stdout.strip()
    result = json.loads(fmedge_inprocess("verify", model, "--json").stdout)
    assert result["passed"]
    assert result["parity"]["snr_db"] > 110
    content = bytearray((tmp_path / model).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / model).write_bytes(content)
    assert "hash differs" in fmedge_inprocess("verify", model, code=4).stderr


@pytest.mark.parametrize("words", [["--batch", "99999"], ["--size", "99999"]])
def test_what_does_not_fit_into_memory_is_told_before_any_work(fmedge_inprocess, tmp_path, words):
    shown = fmedge_inprocess("export", *words, code=7)
    assert "GB of memory" in shown.stderr
    assert shown.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--size", "big"], "not a size"),
        (["--size", "8", "--layer", "block5_conv1"], "too small for block5_conv1. Allowed: 16 x 16 or larger"),
        (["--batch", "0"], "out of range"),
        (["--batch", "many"], "not a number of images"),
        (["--format", "onnxx"], "Closest: 'onnx'"),
        (["--precision", "fp8"], "Allowed: fp32, fp16, int8"),
        (["--precision", "int8"], "--calibration DIR"),
        (["--layer", ","], "is empty"),
        (["--format", "tflite", "--precision", "int8", "--size", "dynamic", "--calibration", "."], "needs a size"),
        (["--tap", "float"], "need --precision int8"),
        (["--layer", "block1_conv1,block1_conv9"], "Unknown layer 'block1_conv9'"),
        (["--format", "tflite", "--converter", "direct"], "Nearest possible: --format"),
        (["--keras", "gone.keras"], "No Keras model"),
    ],
)
def test_impossible_choices_are_one_line_before_any_work(fmedge_inprocess, tmp_path, words, message):
    shown = fmedge_inprocess("export", *words, code=4 if "gone.keras" in words else 2)
    assert message in shown.stderr
    assert shown.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
