"""The codes of int8 models, as their files state them, against the values that an engine gives."""

import numpy as np
import onnx
import pytest

from fmedge.export.calibration import read_calibration
from fmedge.export.exporter import build_artifact
from fmedge.model.artifact import Artifact
from fmedge.model.submodel import Activation, ExportOptions, Format, Precision, SubModel
from fmedge.runtime.tap_codes import read_codes
from fmedge.workflow.pipeline import run_taps


@pytest.fixture(scope="module")
def make(untrained_network, photos_folder, tmp_path_factory):
    """Makes small models of two taps."""
    folder, calibration = tmp_path_factory.mktemp("codes"), read_calibration(photos_folder)

    def made(kind, activation="relu", layers=("block1_conv1", "block1_pool"), **options):
        return build_artifact(
            SubModel(layers, Activation(activation)),
            untrained_network,
            folder / f"m{len(list(folder.iterdir()))}.{kind}",
            options=ExportOptions(format=kind, size=(32, 48), **options),
            calibration=calibration,
            runner=None,
        )

    return made


@pytest.mark.parametrize(("kind", "layout"), [(Format.ONNX, "NCHW"), (Format.ONNX, "NHWC"), (Format.TFLITE, "NHWC")])
def test_every_value_is_that_of_a_code(make, picture, kind, layout):
    if kind is Format.TFLITE:
        pytest.importorskip("ai_edge_litert", reason="needs LiteRT: pip install 'fmedge[litert]'")
    artifact = make(kind, precision=Precision.INT8, output_layout=layout)
    found = read_codes(artifact)
    assert list(found) == ["block1_conv1", "block1_pool"]
    for tap, maps in run_taps(artifact, picture).items():
        scale, zero_point = found[tap].scale.reshape(-1, 1, 1), found[tap].zero_point.reshape(-1, 1, 1)
        assert len(scale) in (1, 64)
        codes = maps.maps[0] / scale + zero_point
        np.testing.assert_allclose(codes, np.rint(codes), atol=1e-3)
        assert found[tap].lowest <= codes.min() + 1e-3
        assert codes.max() - 1e-3 <= found[tap].highest
        assert len(np.unique(np.rint(codes))) > 100
        low, high = found[tap].bounds()
        assert (low == 0).all()
        np.testing.assert_allclose(high, 255 * scale.ravel(), rtol=1e-6)


def test_before_relu_zero_has_a_code_in_between(make):
    artifact = make(Format.ONNX, "none", ("block1_conv1",), precision=Precision.INT8)
    codes = read_codes(artifact)["block1_conv1"]
    assert ((codes.zero_point > 0) & (codes.zero_point < 255)).any()
    low, high = codes.bounds()
    np.testing.assert_allclose(high - low, 255 * codes.scale, rtol=1e-5)


@pytest.mark.parametrize("kind", [Format.ONNX, Format.TFLITE])
def test_a_tap_in_float_has_none(make, kind):
    layers = ("block1_conv1", "block1_conv2")
    artifact = make(kind, layers=layers, precision=Precision.INT8, float_tap=True)
    assert list(read_codes(artifact)) == ["block1_conv1"]
    assert read_codes(make(Format.ONNX, layers=layers, precision=Precision.FP32)) == {}


def test_codes_that_do_not_fit_the_tap_are_left_out(make):
    """A file may state steps per column; nothing is said of such a tap."""
    artifact = make(Format.ONNX, layers=("block1_conv1",), precision=Precision.INT8)
    model = onnx.load_model_from_string(artifact.model)
    (scale,) = (tensor for tensor in model.graph.initializer if tensor.name == "block1_conv1_step")
    scale.CopyFrom(onnx.numpy_helper.from_array(np.ones(48, np.float32), scale.name))
    changed = Artifact(artifact.path, artifact.card, model.SerializeToString())
    assert list(read_codes(artifact)) == ["block1_conv1"]
    assert read_codes(changed) == {}
