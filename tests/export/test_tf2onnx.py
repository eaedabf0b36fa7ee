"""ONNX by way of TensorFlow: what comes out is what the direct builder writes."""

import onnx
import pytest

from fmedge.errors import ParityError
from fmedge.export.onnx import direct as onnx_direct
from fmedge.model.submodel import Converter, Layout, Precision
from support.builds import ALL_CASES, FEW_CASES, build, hashes_in_another_process, require_parity, sha256

pytestmark = pytest.mark.keras
pytest.importorskip("tensorflow", reason="needs TensorFlow: pip install 'fmedge[export]'")
pytest.importorskip("tf2onnx", reason="needs tf2onnx: pip install 'fmedge[export]'")
from fmedge.export.onnx import tf2onnx_route  # noqa: E402

TF2ONNX = {"converter": Converter.TF2ONNX}


def graph_of(artifact):
    return onnx.load_model_from_string(artifact.model).graph


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize(("layers", "activation"), FEW_CASES)
def test_parity(untrained_network, layers, activation, precision):
    artifact = build(
        tf2onnx_route, untrained_network, layers, activation, precision=Precision(precision), size=(96, 80), **TF2ONNX
    )
    require_parity(artifact, untrained_network)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize(("layer", "activation"), ALL_CASES)
def test_parity_of_every_layer(untrained_network, layer, activation, precision):
    artifact = build(tf2onnx_route, untrained_network, layer, activation, precision=Precision(precision), **TF2ONNX)
    require_parity(artifact, untrained_network)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"precision": Precision.FP16},
        {"size": None},
        {"size": (64, 96), "batch": 2},
        {"input_dtype": "float32"},
        {"output_layout": "NHWC"},
    ],
    ids=lambda options: "-".join(map(str, options)) or "default",
)
@pytest.mark.parametrize(("layers", "activation"), [("block1_conv2+block2_pool", "relu"), ("block2_conv2", "none")])
def test_the_graph_is_the_direct_builder_s(untrained_network, layers, activation, options):
    ours = build(onnx_direct, untrained_network, layers, activation, **options)
    theirs = build(tf2onnx_route, untrained_network, layers, activation, **options, **TF2ONNX)
    assert graph_of(theirs) == graph_of(ours)
    transposes = [node.name for node in graph_of(theirs).node if node.op_type == "Transpose"]
    own_layout: Layout = "NCHW"
    outputs = 0 if theirs.card.options.layout == own_layout else len(theirs.card.outputs)
    assert len(transposes) == 1 + outputs


def test_same_bytes_twice_and_in_another_process(untrained_network):
    one, two = (build(tf2onnx_route, untrained_network, "block1_conv2+block2_conv1", **TF2ONNX) for _ in range(2))
    assert one.model == two.model
    words = "dict(converter=Converter.TF2ONNX)"
    assert hashes_in_another_process(tf2onnx_route, "block1_conv2+block2_conv1", words) == [sha256(one)]


def test_versions_stand_in_the_card(untrained_network):
    artifact = build(tf2onnx_route, untrained_network, "block1_conv1", precision=Precision.FP16, **TF2ONNX)
    assert {"fmedge", "onnx", "tf2onnx", "tensorflow"} <= set(artifact.card.tools)
    assert artifact.card.recipe["weights"] == "float16"


def test_weights_beyond_half_are_refused(untrained_network):
    from dataclasses import replace

    kernel, bias = untrained_network.weights["block1_conv1"]
    network = replace(untrained_network, weights={"block1_conv1": (kernel * 1e6, bias)})
    with pytest.raises(ParityError, match="too large for float16"):
        build(tf2onnx_route, network, "block1_conv1", precision=Precision.FP16, **TF2ONNX)
