"""Stock VGG19: the writers of VGG16 with one more table."""

import json
from importlib.util import find_spec

import h5py
import numpy as np
import pytest

import fmedge
from fmedge.errors import UsageError, WeightsError
from fmedge.model.h5_weights import read_h5
from fmedge.model.stock import STOCK, VGG16, VGG19
from fmedge.model.submodel import ExportOptions, Format, Precision
from fmedge.render.page import render_page
from fmedge.workflow.request import default_options

FORMS = [
    (Format.ONNX, Precision.FP32),
    (Format.ONNX, Precision.FP16),
    (Format.ONNX, Precision.INT8),
    (Format.TFLITE, Precision.INT8),
    (Format.NCNN, Precision.FP32),
    (Format.NCNN, Precision.FP16),
    pytest.param(
        *(Format.NATIVE, Precision.FP32),
        marks=pytest.mark.skipif(
            find_spec("fmedge_native") is None, reason="needs fmedge's own kernels: pip install ./native"
        ),
    ),
]
"""What is written without TensorFlow."""


@pytest.fixture(scope="module")
def calibration(tmp_path_factory, picture):
    folder = tmp_path_factory.mktemp("calibration")
    for number in range(4):
        (folder / f"{number}.jpg").write_bytes(picture.read_bytes())
    return folder


@pytest.mark.few(4)
@pytest.mark.parametrize(("model_format", "precision"), FORMS)
def test_every_form_is_at_parity(tmp_path, calibration, model_format, precision):
    options = ExportOptions(model_format, precision, size=(64, 64))
    artifact = fmedge.export_submodel(
        "block3_conv4+block3_pool",
        network="vgg19",
        weights="untrained",
        models=tmp_path,
        options=options,
        calibration=calibration if precision is Precision.INT8 else None,
    )
    assert artifact.card.parity.passed
    assert artifact.card.submodel.source == VGG19
    assert f".{precision}.vgg19.untrained." in artifact.path.name
    assert artifact.card.describe_weights() == "VGG19, untrained weights"


def test_its_files_do_not_stand_in_for_those_of_vgg16(tmp_path, picture):
    maps = {
        network: fmedge.extract(picture, layer, network=network, weights="untrained", models=tmp_path)
        for network, layer in ((None, None), ("vgg19", "block3_conv4"))
    }
    assert maps["vgg19"].shape == (1, 256, 56, 56)
    suffix = default_options().format.suffixes[0]
    names = sorted(path.name for path in tmp_path.glob(f"*{suffix}"))
    assert names == [f"block1_conv1.relu.fp32.untrained{suffix}", f"block3_conv4.relu.fp32.vgg19.untrained{suffix}"]
    with pytest.raises(UsageError, match="Unknown layer 'block3_conv4'"):
        fmedge.extract(picture, "block3_conv4", weights="untrained", models=tmp_path)


def test_the_page_knows_its_receptive_fields(tmp_path, picture):
    maps = fmedge.extract(picture, "block3_conv4", network="vgg19", weights="untrained", models=tmp_path)
    page = render_page(maps).decode()
    header = json.loads(page.partition('id="header">')[2].partition("</script>")[0])
    facts = header["layers"][0]
    assert (facts["step"], facts["field"]) == ([4, 4], STOCK[VGG19].find("block3_conv4").receptive_field)


def write_names(path, network, count):
    with h5py.File(path, "w") as file:
        for spec in [spec for spec in STOCK[network].layers if spec.kind == "conv"][:count]:
            group = file.create_group(spec.name).create_group(spec.name)
            group["kernel:0"] = np.zeros((3, 3, spec.in_channels, spec.channels), np.float32)
            group["bias:0"] = np.zeros(spec.channels, np.float32)


@pytest.mark.parametrize(("written", "asked"), [(VGG16, VGG19), (VGG19, VGG16)])
def test_weights_of_the_other_network_are_refused(tmp_path, written, asked):
    path = tmp_path / "weights.h5"
    write_names(path, written, 8)
    read = {network: STOCK[network].through("block1_conv2") for network in STOCK}
    assert list(read_h5(path, read[written], STOCK[written])) == ["block1_conv1", "block1_conv2"]
    with pytest.raises(WeightsError, match=f"holds weights of another network than {asked.upper()}"):
        read_h5(path, read[asked], STOCK[asked])


def test_layers(fmedge_process):
    rows = json.loads(fmedge_process("layers", "--network", "vgg19", "--json").stdout)
    assert [row["name"] for row in rows] == list(STOCK[VGG19].names)
    assert rows[-1]["shape"] == [512, 7, 7]


def test_verify_and_bench_know_it(fmedge_process, tmp_path):
    made = ("--network", "vgg19", "--weights", "untrained", "--models", tmp_path)
    report = tmp_path / "report.json"
    quick = ("--runs", "1", "--seconds", "0", "--processes", "1", "--size", "32", "--backend", "onnxruntime")
    found = fmedge_process("bench", "--layer", "block3_conv4", *made, *quick, "--output", report)
    assert found.returncode == 0, found.stderr
    (measured,) = json.loads(report.read_text())["measurements"]
    assert measured["configuration"]["weights"] == "VGG19, untrained weights"
    assert measured["macs"] == sum(spec.macs(32, 32) for spec in STOCK[VGG19].through("block3_conv4"))
    (model,) = tmp_path.glob("*.onnx")
    assert fmedge_process("verify", model).returncode == 0
