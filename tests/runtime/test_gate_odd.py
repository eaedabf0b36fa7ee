"""The gate's rarer ways: files that are odd rather than hostile, and what only a crafted file can hold."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from onnx import TensorProto, helper

from fmedge.errors import ArtifactError, LimitExceeded
from fmedge.export.calibration import read_calibration
from fmedge.export.exporter import build_artifact
from fmedge.model import known_models
from fmedge.model.artifact import card_path, read_artifact
from fmedge.model.card import WeightsFacts
from fmedge.model.submodel import ExportOptions, Format, Precision, SubModel
from fmedge.runtime.gate import checks
from fmedge.runtime.gate.bounds import MAX_NODES
from fmedge.runtime.gate.flatbuffer import MAX_NAME as LONGEST_TFLITE_NAME
from fmedge.runtime.gate.onnx_kernels import first_kernels
from fmedge.runtime.gate.onnx_reader import TENSOR
from fmedge.runtime.gate.protobuf import MAX_FIELDS, MAX_NAME, Reader
from fmedge.workflow.model_files import open_model
from support.hostile import computed, constant, edited

ARTIFACT, LIMIT = ArtifactError, LimitExceeded


@pytest.fixture(scope="module")
def build(untrained_network, photos_folder, tmp_path_factory):
    """Makes block1_conv1 for 32 x 32 pixels."""
    folder = tmp_path_factory.mktemp("odd")

    def make(kind, precision):
        return build_artifact(
            SubModel(("block1_conv1",)),
            untrained_network,
            folder / f"m{kind.suffixes[0]}",
            options=ExportOptions(format=kind, precision=precision, size=(32, 32)),
            calibration=read_calibration(photos_folder) if precision is Precision.INT8 else None,
            runner=None,
        )

    return make


@pytest.fixture(scope="module")
def onnx_fp32(build):
    return build(Format.ONNX, Precision.FP32)


@pytest.fixture(scope="module")
def tflite_int8(build):
    pytest.importorskip("ai_edge_litert", reason="needs LiteRT: pip install 'fmedge[litert]'")
    return build(Format.TFLITE, Precision.INT8)


@pytest.fixture(scope="module")
def ncnn_fp32(build):
    return build(Format.NCNN, Precision.FP32)


def tiled(*before, constants=()):
    """A change that puts these nodes, then a Tile by ``s``, before all others."""

    def change(model):
        tile = helper.make_node("Tile", ["image", "s"], ["tiled"])
        for place, node in enumerate([*before, tile]):
            model.graph.node.insert(place, node)
        model.graph.initializer.extend(constants)

    return change


def constant_node(**value):
    return tiled(helper.make_node("Constant", [], ["s"], **value))


def elsewhere():
    """A constant that says it is in another file."""
    tensor = constant("inner", [1.0], np.float32)
    tensor.data_location = TensorProto.EXTERNAL
    return tensor


def nobody_computes(model):
    model.graph.output[0].name = "nothing"


HOSTILE_ONNX = {
    "a size by a Constant": (LIMIT, "Tile by 1,000,000", constant_node(value=constant("inner", [10**6] * 4))),
    "a size by numbers of a Constant": (LIMIT, "Tile by 1,000,000", constant_node(value_ints=[10**6] * 4)),
    "a size below nothing": (LIMIT, "Tile by", constant_node(value_int=-7)),
    "a size in typed values": (
        LIMIT,
        "Tile by 1,000,000",
        tiled(constants=[helper.make_tensor("s", TensorProto.INT64, [1], [10**6])]),
    ),
    "floats in typed values": (
        LIMIT,
        "Tile by 1,000,000",
        tiled(constants=[helper.make_tensor("s", TensorProto.FLOAT, [1], [1e6])]),
    ),
    "another file in an attribute": (ARTIFACT, "another file", computed("Relu", ["image"], value=elsewhere())),
    "an output that nobody computes": (ARTIFACT, "nothing computes the output", nobody_computes),
    "numbers without end": (LIMIT, "fields. Allowed", computed("Relu", ["image"], pads=[1] * (MAX_FIELDS + 1))),
    "a long name": (ARTIFACT, "a name of", computed("R" * (MAX_NAME + 1), ["image"])),
}


@pytest.mark.cases("models")
@pytest.mark.parametrize(("kind", "message", "change"), HOSTILE_ONNX.values(), ids=HOSTILE_ONNX)
def test_hostile_onnx(onnx_fp32, kind, message, change):
    with pytest.raises(kind, match=message) as caught:
        checks.require_artifact(replace(onnx_fp32, model=edited(onnx_fp32.model, change)))
    assert len(str(caught.value).splitlines()) == 1


def other_facts(model):
    model.metadata_props.add(key="author", value="somebody")


def output_left_out(model):
    model.graph.node.append(helper.make_node("MaxPool", ["image"], ["", "extra"], kernel_shape=[1, 1]))


@pytest.mark.cases("models")
@pytest.mark.parametrize(
    "change",
    [
        other_facts,
        output_left_out,
        constant_node(value_ints=[1, 1, 1, 1]),
        computed("Relu", ["image"], x=constant("c", 1)),
    ],
)
def test_odd_onnx_passes(onnx_fp32, change):
    checks.require_artifact(replace(onnx_fp32, model=edited(onnx_fp32.model, change)))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x22\x03abc", "in the middle of a number"),
        (b"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "does not end"),
        (b"\x10\x80", "does not end"),
        (b"\x42\x05ab", "reaches beyond its end"),
        (b"\x10\x01\x10\x01", "twice"),
    ],
)
@pytest.mark.cases("models")
def test_bytes_that_are_no_protobuf(data, message):
    with pytest.raises(ArtifactError, match=message):
        Reader(data).read(TENSOR, 0, len(data))


@pytest.mark.cases("models")
def test_very_many_packed_numbers():
    count = MAX_FIELDS + 1
    length = bytes([count & 0x7F | 0x80, count >> 7 & 0x7F | 0x80, count >> 14])
    data = b"\x0a" + length + bytes(count)
    with pytest.raises(LimitExceeded, match="fields"):
        Reader(data).read(TENSOR, 0, len(data))


@pytest.mark.cases("models")
def test_a_name_that_is_no_text():
    reader = Reader(b"\x42\x02\xff\xfe")
    with pytest.raises(ArtifactError, match="a name that is not text"):
        reader.text(reader.read(TENSOR, 0, 4), 8)


def test_the_first_kernels(onnx_fp32):
    assert first_kernels(onnx_fp32.model, ["block1_conv1"])["block1_conv1"].weights.shape == (64, 3, 3, 3)
    assert first_kernels(onnx_fp32.model, ["nothing"]) == {}

    def replaced(values):
        def change(model):
            constant = next(each for each in model.graph.initializer if each.name == values.name)
            constant.CopyFrom(values)

        return first_kernels(edited(onnx_fp32.model, change), ["block1_conv1"])

    name = "block1_conv1_kernel"
    assert replaced(constant(name, np.ones((64, 3, 7, 5)), np.float32))["block1_conv1"].weights.shape == (64, 7, 5, 3)
    biases = constant("block1_conv1_bias", np.arange(64), np.float32)
    np.testing.assert_array_equal(replaced(biases)["block1_conv1"].bias, np.arange(64))
    for values in (
        constant(name, np.ones((64, 3, 3, 3))),
        constant(name, np.ones((64, 1, 3, 3)), np.float32),
        constant(name, np.ones((64, 3, 13, 3)), np.float32),
        constant(name, np.full((64, 3, 3, 3), np.nan), np.float32),
        helper.make_tensor(name, TensorProto.FLOAT, [1], [1.0]),
        constant("block1_conv1_bias", np.arange(63), np.float32),
        constant("block1_conv1_bias", np.full(64, np.inf), np.float32),
    ):
        assert replaced(values) == {}


def tflite(content, change):
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content))
    change(model, model.subgraphs[0], schema)
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def convolution(graph):
    return next(op for op in graph.operators if getattr(op.builtinOptions, "strideW", None) and len(op.inputs) == 3)


def own_quantization(model, graph, schema):
    quantization = graph.tensors[convolution(graph).inputs[1]].quantization
    quantization.detailsType, quantization.details = 1, schema.CustomQuantizationT()


def memory(model, graph, schema):
    convolution(graph).mutatingVariableInputs = [True, False, False]


def computed_pads(model, graph, schema):
    names = [each.name for each in graph.tensors]
    node = next(op for op in graph.operators if len(op.inputs) > 1 and names[op.inputs[1]] == b"pads")
    node.inputs = [node.inputs[0], node.inputs[0], *node.inputs[2:]]


def signature_elsewhere(model, graph, schema):
    model.signatureDefs[0].inputs[0].tensorIndex = convolution(graph).inputs[1]


def signature_twice(model, graph, schema):
    model.signatureDefs[0].inputs *= 2


def metadata_nowhere(model, graph, schema):
    model.metadata[0].buffer = 9999


def metadata_twice(model, graph, schema):
    model.metadata *= 2


def many_codes(model, graph, schema):
    model.operatorCodes *= MAX_NODES + 1


def long_name(model, graph, schema):
    graph.tensors[0].name = b"x" * (LONGEST_TFLITE_NAME + 1)


def no_text(model, graph, schema):
    graph.tensors[0].name = b"\xff\xfe"


def no_operator(model, graph, schema):
    convolution(graph).opcodeIndex = 999


def another_file(model, graph, schema):
    model.externalBuffers = [schema.ExternalBufferT()]


HOSTILE_TFLITE = {
    "constants in another file": (ARTIFACT, "constants in another file", another_file),
    "custom quantization": (ARTIFACT, "custom quantization", own_quantization),
    "a memory": (ARTIFACT, "with state", memory),
    "a size computed from values": (ARTIFACT, "size computed from values", computed_pads),
    "a signature of another tensor": (ARTIFACT, "which is neither an input nor an output", signature_elsewhere),
    "a signature that says it twice": (ARTIFACT, "every input and output once", signature_twice),
    "facts in no buffer": (ARTIFACT, "no buffer 9999", metadata_nowhere),
    "facts twice": (ARTIFACT, "two metadata entries", metadata_twice),
    "very many operators": (LIMIT, "tables. Allowed", many_codes),
    "a long name": (ARTIFACT, "a name of", long_name),
    "a name that is not text": (ARTIFACT, "not text", no_text),
    "no such operator": (ARTIFACT, "no operator 999", no_operator),
}


@pytest.mark.cases("models")
@pytest.mark.parametrize(("kind", "message", "change"), HOSTILE_TFLITE.values(), ids=HOSTILE_TFLITE)
def test_hostile_tflite(tflite_int8, kind, message, change):
    with pytest.raises(kind, match=message) as caught:
        checks.require_artifact(replace(tflite_int8, model=tflite(tflite_int8.model, change)))
    assert len(str(caught.value).splitlines()) == 1


def left_out(model, graph, schema):
    convolution(graph).inputs = [*convolution(graph).inputs[:2], -1]


def other_metadata(model, graph, schema):
    extra = schema.MetadataT()
    extra.name, extra.buffer = b"author", model.metadata[0].buffer
    model.metadata.append(extra)


@pytest.mark.cases("models")
@pytest.mark.parametrize("change", [left_out, other_metadata])
def test_odd_tflite_passes(tflite_int8, change):
    checks.require_artifact(replace(tflite_int8, model=tflite(tflite_int8.model, change)))


@pytest.mark.cases("models")
def test_a_file_that_is_too_large(onnx_fp32, monkeypatch):
    monkeypatch.setattr(checks, "MAX_MODEL_BYTES", 100)
    with pytest.raises(LimitExceeded, match=r"bytes\. Allowed: 100"):
        checks.require_artifact(onnx_fp32)


@pytest.mark.cases("models")
def test_facts_of_another_format(onnx_fp32, tmp_path):
    def lie(model):
        (entry,) = model.metadata_props
        entry.value = replace(
            onnx_fp32.card, options=replace(onnx_fp32.card.options, format=Format.NCNN), file_sha256=None, parity=None
        ).to_json()

    path = tmp_path / "m.onnx"
    path.write_bytes(edited(onnx_fp32.model, lie))
    with pytest.raises(ArtifactError, match="says inside that"):
        open_model(path)


@pytest.mark.cases("models")
def test_a_pair_that_is_no_pair(ncnn_fp32, tmp_path):
    model = tmp_path / "m.ncnn.param"
    weights = tmp_path / "m.ncnn.bin"
    card_path(model).write_bytes(card_path(ncnn_fp32.path).read_bytes())
    model.write_bytes(ncnn_fp32.model)
    with pytest.raises(ArtifactError, match=r"No weights 'm\.ncnn\.bin' beside"):
        read_artifact(model)
    weights.write_bytes(ncnn_fp32.weights[:-1] + b"x")
    with pytest.raises(ArtifactError, match=r"or 'm\.ncnn\.bin' is not what the card describes"):
        read_artifact(model)
    with pytest.raises(ArtifactError, match="holds only weights"):
        read_artifact(weights)
    card_path(model).write_bytes(b"\xff\xfe")
    with pytest.raises(ArtifactError, match="is not text"):
        read_artifact(model)


def test_what_cannot_be_remembered_is_not_known(monkeypatch, tmp_path, onnx_fp32):
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("FMEDGE_STATE", str(file))
    monkeypatch.setattr(known_models, "_made_here", set())
    known_models.remember(onnx_fp32.card)
    monkeypatch.setattr(known_models, "_made_here", set())
    assert not known_models.is_known(onnx_fp32.card)
    monkeypatch.setenv("FMEDGE_STATE", "x" * 5000)
    assert not known_models.is_known(onnx_fp32.card)


@pytest.mark.parametrize(
    ("order", "code", "told"),
    [
        (b"", 0, ""),
        (b'{"bytes": 4000000000, "path": "m", "options": {"backend": "b", "x": 1}}\n', 0, "b cannot run 'm'"),
    ],
    ids=["nothing", "nonsense"],
)
def test_a_child_that_is_told_nonsense(order, code, told):
    words = [sys.executable, "-P", "-m", "fmedge.runtime.isolated_child"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(each for each in sys.path if each)}
    ran = subprocess.run(words, input=order, capture_output=True, env=environment, timeout=60)
    assert ran.returncode == code, ran.stderr
    assert told in ran.stdout.decode()


def test_which_weights_in_words():
    assert WeightsFacts("file", "0123456789ab").describe() == "weights 01234567"
    assert WeightsFacts("keras", "0123456789ab").describe() == "Keras model 01234567"


def test_where_it_is_remembered_on_other_systems(monkeypatch):
    monkeypatch.delenv("FMEDGE_STATE")
    monkeypatch.setattr("sys.platform", "darwin")
    assert known_models.state_folder().name == "fmedge"
