"""TFLite by TensorFlow's converter: a clean graph, stable names, facts inside."""

import json
from dataclasses import replace

import pytest

from fmedge.errors import ParityError
from fmedge.model.submodel import Format, Precision
from support.builds import ALL_CASES, FEW_CASES, build, hashes_in_another_process, require_parity, sha256

pytestmark = pytest.mark.keras
pytest.importorskip("tensorflow", reason="needs TensorFlow: pip install 'fmedge[export]'")
pytest.importorskip("ai_edge_litert", reason="needs LiteRT: pip install 'fmedge[litert]'")
from ai_edge_litert.interpreter import Interpreter  # noqa: E402

from fmedge.export.tflite import converter as tflite  # noqa: E402
from fmedge.export.tflite import file as tflite_file  # noqa: E402

TFLITE = {"format": Format.TFLITE}
PRECISIONS = ("FP32", "FP16")


def operators(artifact):
    interpreter = Interpreter(model_content=artifact.model)
    return [operator["op_name"] for operator in interpreter._get_ops_details() if operator["op_name"] != "DELEGATE"]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize(("layers", "activation"), FEW_CASES)
def test_parity(untrained_network, layers, activation, precision):
    artifact = build(
        tflite, untrained_network, layers, activation, precision=Precision(precision), size=(96, 80), **TFLITE
    )
    require_parity(artifact, untrained_network)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize(("layer", "activation"), ALL_CASES)
def test_parity_of_every_layer(untrained_network, layer, activation, precision):
    artifact = build(tflite, untrained_network, layer, activation, precision=Precision(precision), **TFLITE)
    require_parity(artifact, untrained_network)


@pytest.mark.parametrize(
    "options",
    [{"size": None}, {"size": (64, 96), "batch": 2}, {"input_dtype": "float32"}, {"output_layout": "NCHW"}],
    ids=lambda options: "-".join(options),
)
def test_every_form(untrained_network, options):
    require_parity(build(tflite, untrained_network, "block1_pool+block2_conv1", **options, **TFLITE), untrained_network)


def test_the_graph_is_clean(untrained_network):
    convolutions = ["CONV_2D", "CONV_2D", "MAX_POOL_2D", "CONV_2D"]
    assert operators(build(tflite, untrained_network, "block2_conv1", **TFLITE)) == ["CAST", "SUB", *convolutions]
    raw = build(tflite, untrained_network, "block1_conv1+block1_conv2", "none", **TFLITE)
    assert operators(raw) == ["CAST", "SUB", "CONV_2D", "RELU", "CONV_2D"]
    half = build(tflite, untrained_network, "block2_conv1", precision=Precision.FP16, **TFLITE)
    assert [name for name in operators(half) if name != "DEQUANTIZE"] == ["CAST", "SUB", *convolutions]
    assert half.card.recipe["weights"].startswith("float16")


def test_names_and_signature(untrained_network):
    artifact = build(tflite, untrained_network, "block1_conv1+block1_pool", **TFLITE)
    interpreter = Interpreter(model_content=artifact.model)
    signature = interpreter.get_signature_list()["serving_default"]
    assert signature == {"inputs": ["image"], "outputs": ["block1_conv1", "block1_pool"]}
    assert [detail["name"] for detail in interpreter.get_input_details()] == ["image"]
    assert [detail["name"] for detail in interpreter.get_output_details()] == ["block1_conv1", "block1_pool"]
    names = [detail["name"] for detail in interpreter.get_tensor_details()]
    assert not [name for name in names if name.startswith("layer_") or ";" in name]


def test_facts_of_the_card_stand_in_the_file(untrained_network):
    artifact = build(tflite, untrained_network, "block1_conv1", **TFLITE)
    facts = json.loads(metadata(artifact.model))
    assert facts["submodel"]["taps"] == ["block1_conv1"]
    assert facts["weights"]["kind"] == "untrained"
    assert facts["tools"]["tensorflow"]
    assert facts["file_sha256"] is None
    assert facts["parity"] is None


def metadata(model):
    from tensorflow.lite.python import schema_py_generated as schema

    content = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model))
    entry = next(entry for entry in content.metadata if entry.name.decode() == tflite_file.METADATA_KEY)
    return bytes(content.buffers[entry.buffer].data)


@pytest.fixture(scope="module")
def made_elsewhere():
    """Hashes of the models of another process, by their precision."""
    words = [f"dict(format=Format.TFLITE, precision=Precision.{precision})" for precision in PRECISIONS]
    return dict(zip(PRECISIONS, hashes_in_another_process(tflite, "block1_conv2+block2_conv1", *words), strict=True))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_same_bytes_twice_and_in_another_process(untrained_network, precision, made_elsewhere):
    options = {"precision": Precision[precision], **TFLITE}
    one, two = (build(tflite, untrained_network, "block1_conv2+block2_conv1", **options) for _ in range(2))
    assert one.model == two.model
    assert made_elsewhere[precision] == sha256(one)


def test_half_is_half(untrained_network):
    sizes = [
        len(build(tflite, untrained_network, "block3_conv3", precision=precision, **TFLITE).model)
        for precision in (Precision.FP32, Precision.FP16)
    ]
    assert sizes[1] <= 0.51 * sizes[0]


def test_weights_beyond_half_are_refused(untrained_network):
    kernel, bias = untrained_network.weights["block1_conv1"]
    network = replace(untrained_network, weights={"block1_conv1": (kernel * 1e6, bias)})
    with pytest.raises(ParityError, match="'block1_conv1' holds values too large for float16"):
        build(tflite, network, "block1_conv1", precision=Precision.FP16, **TFLITE)
