"""The graph that is built: what is in it, and that it is always the same."""

import json
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fmedge.errors import ParityError
from fmedge.export.exporter import describe
from fmedge.export.onnx import direct as onnx_direct
from fmedge.export.onnx.file import METADATA_KEY, _reckoned
from fmedge.export.stock_network import StockNetwork
from fmedge.model.stock import VGG16_LAYERS
from fmedge.model.submodel import Activation, ExportOptions, Precision, SubModel
from fmedge.model.weights import UNTRAINED
from support import builds


def build(network, *taps, activation=Activation.RELU):
    card = describe(SubModel(taps, activation), network, ExportOptions())
    return card, onnx_direct.build_model(card, network).model


def operators(model):
    return [node.op_type for node in onnx.load_model_from_string(model).graph.node]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize(("layers", "activation"), builds.FEW_CASES)
def test_parity(untrained_network, layers, activation, precision):
    builds.require_parity(
        builds.build_with(untrained_network, None, layers, activation, precision=Precision(precision)),
        untrained_network,
    )


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize(("layer", "activation"), builds.ALL_CASES)
def test_parity_of_every_layer(untrained_network, layer, activation, precision):
    artifact = builds.build_with(untrained_network, None, layer, activation, precision=Precision(precision))
    builds.require_parity(artifact, untrained_network)


def test_float16_overflow_is_found(untrained_weights):
    """A middle layer that reaches beyond 65,504 stops the export, though the file could be written."""
    kernel, bias = untrained_weights["block1_conv1"]
    weights = {**untrained_weights, "block1_conv1": (kernel * np.float32(1000), bias)}
    network = StockNetwork(weights, UNTRAINED.facts)
    artifact = builds.build_with(network, None, "block1_conv2", precision=Precision.FP16)
    with pytest.raises(ParityError, match=r"reaches [\d,]+; float16 ends at 65,504"):
        builds.require_parity(artifact, network)


def test_names_and_shapes(untrained_network):
    _, data = build(untrained_network, "block2_conv1")
    graph = onnx.load_model_from_string(data).graph
    assert [value.name for value in graph.input] == ["image"]
    assert [value.name for value in graph.output] == ["block2_conv1"]
    extents = graph.input[0].type.tensor_type.shape.dim
    assert [extents[0].dim_param, *(extent.dim_value for extent in extents[1:])] == ["batch", 224, 224, 3]
    convolutions = [node.name for node in graph.node if node.op_type == "Conv"]
    assert convolutions == ["block1_conv1", "block1_conv2", "block2_conv1"]
    assert "block1_conv2_relu" in {node.name for node in graph.node}


@pytest.mark.parametrize("layer", [spec.name for spec in VGG16_LAYERS])
def test_every_convolution_has_one_relu_but_a_raw_last_one(untrained_network, layer):
    _, data = build(untrained_network, layer)
    found = operators(data)
    assert found[:3] == ["Transpose", "Cast", "Sub"]
    convolutions = found.count("Conv")
    assert found.count("Relu") == convolutions
    assert found.count("Transpose") == 1
    assert all(found[index + 1] == "Relu" for index, kind in enumerate(found) if kind == "Conv")
    if "conv" in layer:
        _, raw = build(untrained_network, layer, activation=Activation.NONE)
        assert operators(raw) == found[:-1]


def test_raw_taps_leave_the_trunk_its_relus(untrained_network):
    _, data = build(untrained_network, "block1_conv1", "block1_conv2", activation=Activation.NONE)
    graph = onnx.load_model_from_string(data).graph
    assert [value.name for value in graph.output] == ["block1_conv1", "block1_conv2"]
    assert operators(data)[3:] == ["Conv", "Relu", "Conv"]
    assert graph.node[5].input[0] == graph.node[4].output[0]


def test_facts_of_the_card_stand_in_the_file(untrained_network):
    card, data = build(untrained_network, "block1_conv1")
    properties = {entry.key: entry.value for entry in onnx.load_model_from_string(data).metadata_props}
    facts = json.loads(properties[METADATA_KEY])
    assert facts["submodel"]["taps"] == ["block1_conv1"]
    assert facts["weights"] == {"kind": "untrained", "sha256": None, "recipe": card.weights.recipe}
    assert facts["file_sha256"] is None
    assert facts["parity"] is None


def test_same_inputs_give_the_same_bytes_in_another_process(untrained_network):
    _, one = build(untrained_network, "block1_conv2")
    _, two = build(untrained_network, "block1_conv2")
    assert one == two
    script = (
        "import hashlib;from fmedge.export.onnx import direct;from fmedge.export.exporter import describe;"
        "from fmedge.export.stock_network import StockNetwork;from fmedge.model.submodel import *;"
        "from fmedge.model.weights import *;"
        "n=StockNetwork(*load_weights(UNTRAINED,'block1_conv2'));"
        "c=describe(SubModel(('block1_conv2',)),n,ExportOptions());"
        "print(hashlib.sha256(direct.build_model(c,n).model).hexdigest())"
    )
    import hashlib

    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == hashlib.sha256(one).hexdigest()


@pytest.mark.parametrize("extent", [1, 40, 130, 4000, 70_000])
def test_where_values_start_is_known_before_the_file_is_written(extent):
    random = np.random.default_rng(extent)
    names = ["a", "nämé", "c" * 200]
    constants = [numpy_helper.from_array(random.random(extent, np.float32), name) for name in names]
    constants.append(helper.make_tensor("not raw", TensorProto.FLOAT, [1], [1.0]))
    constants[1].doc_string = " " * 64
    nodes = [helper.make_node("Add", ["x", name], [f"{name}_"], name) for name in names]
    graph = helper.make_graph(nodes, "graph", [], [], constants)
    model = helper.make_model(graph, producer_name="fmedge", producer_version="1")
    content = model.SerializeToString(deterministic=True)
    reckoned = _reckoned(model, {each.name: len(each.raw_data) for each in constants})
    for each in constants[:3]:
        assert content.startswith(each.raw_data, reckoned[each.name])
