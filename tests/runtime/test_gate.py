"""The gate: lets through what fmedge exports, and nothing that means harm."""

import os
from dataclasses import replace

import numpy as np
import pytest

from fmedge.errors import ArtifactError, LimitExceeded
from fmedge.export.calibration import read_calibration
from fmedge.export.exporter import EXPORTERS, build_artifact
from fmedge.model.run_options import RunOptions
from fmedge.model.stock import VGG16
from fmedge.model.submodel import Converter, ExportOptions, Format, Precision, SubModel
from fmedge.runtime.gate import checks
from fmedge.runtime.opening import open_session
from fmedge.workflow.artifacts import run_batches
from fmedge.workflow.model_files import open_model
from support.hostile import (
    backwards,
    body,
    computed,
    constant,
    edit_constant,
    edit_node,
    edited,
    external,
    facts_twice,
    functions,
    huge_shape,
    many_inputs,
    many_nodes,
    mutations,
    other_shape,
    own_output,
    renamed_output,
    sequence_input,
    sparse,
    training,
    twice_defined,
    typed_values,
)
from support.messages import says

ROWS = [
    pytest.param(row, precision, id=f"{row.format}-{row.converter}-{precision}")
    for row in EXPORTERS
    if VGG16 in row.sources
    for precision in row.precisions
]


@pytest.fixture(scope="module")
def calibration(photos_folder):
    return read_calibration(photos_folder)


@pytest.fixture(scope="module")
def small(untrained_network, calibration, tmp_path_factory):
    """Makes small models: block1 with its pool, of 32 x 32 pixels."""
    folder = tmp_path_factory.mktemp("small")

    def make(kind, precision):
        if kind is Format.TFLITE:
            pytest.importorskip("ai_edge_litert", reason="needs LiteRT: pip install 'fmedge[litert]'")
        return build_artifact(
            SubModel(("block1_pool",)),
            untrained_network,
            folder / f"small.{precision}.{kind}",
            options=ExportOptions(format=kind, precision=precision, size=(32, 32)),
            calibration=calibration,
            runner=run_batches,
        )

    return make


@pytest.fixture(scope="module")
def onnx_fp32(small):
    return small(Format.ONNX, Precision.FP32)


@pytest.fixture(scope="module")
def tflite_int8(small):
    return small(Format.TFLITE, Precision.INT8)


@pytest.mark.few(6)
@pytest.mark.parametrize(("row", "precision"), ROWS)
def test_what_we_export_passes_and_says_what_its_card_says(row, precision, untrained_network, calibration, tmp_path):
    for package in {"litert": ["ai_edge_litert"], "export": ["tensorflow", "tf2onnx"]}.get(row.extra, []):
        pytest.importorskip(package, reason=f"needs {package}: pip install 'fmedge[{row.extra}]'")
    forms = [{"size": (32, 32)}, {"size": (32, 48), "batch": 2, "input_dtype": "float32"}]
    if precision is Precision.INT8:
        forms = forms if row.converter is Converter.TENSORFLOW else [{**forms[0], "float_tap": True}, forms[1]]
    else:
        forms += [{"size": None}, {"output_layout": "NHWC" if row.format is Format.ONNX else "NCHW"}]
    for index, form in enumerate(forms):
        path = tmp_path / f"m{index}{row.format.suffixes[0]}"
        artifact = build_artifact(
            SubModel(("block1_conv1", "block1_conv2")),
            untrained_network,
            path,
            options=ExportOptions(row.format, precision, row.converter, **form),
            calibration=calibration,
            runner=None,
        )
        checks.require_artifact(artifact)
        path.with_name(path.name + ".json").unlink()
        assert open_model(path).card == replace(artifact.card, parity=None, predicted_db={})


@pytest.fixture(scope="module")
def users_network():
    """A Keras model with a bit of everything that convolutional networks are made of."""
    pytest.importorskip("tensorflow", reason="needs TensorFlow: pip install 'fmedge[export]'")
    pytest.importorskip("tf2onnx", reason="needs tf2onnx: pip install 'fmedge[export]'")
    from fmedge.export.tensorflow.keras_import import keras
    from fmedge.export.tensorflow.keras_network import network_of_model

    keras.utils.set_random_seed(9)
    make = keras.layers
    image = make.Input((None, None, 3))
    values = make.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(make.Rescaling(1 / 255)(image))
    values = make.Activation("swish")(make.BatchNormalization()(values))
    gate_values = make.Conv2D(8, 1, activation="sigmoid")(make.GlobalAveragePooling2D(keepdims=True)(values))
    values = make.Multiply()([values, gate_values])
    branch = make.ReLU(6.0)(make.DepthwiseConv2D(3, padding="same")(values))
    branch = make.Conv2D(8, 3, padding="same", dilation_rate=2)(branch)
    values = make.LeakyReLU()(make.Add()([values, branch]))
    values = make.Concatenate()([values, make.PReLU(shared_axes=[1, 2])(branch)])
    values = make.UpSampling2D(2, interpolation="bilinear")(make.AveragePooling2D(2)(values))
    values = make.MaxPooling2D(3, 2, padding="same")(make.ZeroPadding2D(2)(make.UpSampling2D(2)(values)))
    values = make.Conv2DTranspose(6, 3, strides=2, padding="same", activation="tanh")(make.Cropping2D(1)(values))
    values = make.LayerNormalization()(make.SeparableConv2D(4, 3, activation="elu")(values))
    return network_of_model(keras.Model(image, make.Conv2D(4, 1, name="last")(values)), "none")


@pytest.mark.few(3)
@pytest.mark.keras
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "precision"),
    [(kind, precision) for kind in (Format.ONNX, Format.TFLITE) for precision in (Precision.FP32, Precision.FP16)]
    + [(Format.TFLITE, Precision.INT8)],
)
def test_models_of_the_users_own_pass(kind, precision, users_network, calibration, tmp_path):
    artifact = build_artifact(
        SubModel(("last",), source="keras"),
        users_network,
        tmp_path / f"m.{kind}",
        options=ExportOptions(kind, precision, size=(32, 32), preprocessing="none"),
        calibration=calibration,
        runner=None,
    )
    checks.require_artifact(artifact)
    (found,) = next(run_batches(artifact, [np.zeros((1, 32, 32, 3), np.uint8)])).values()
    assert found.shape[:2] == (1, 4)


ARTIFACT, LIMIT = ArtifactError, LimitExceeded
BIG = 1 << 40

HOSTILE_ONNX = {
    "external data": (ARTIFACT, "another file", external("weights.bin")),
    "external data above": (ARTIFACT, "another file", external("../../../../etc/passwd")),
    "external data at a root": (ARTIFACT, "another file", external("/etc/passwd")),
    "external data unflagged": (ARTIFACT, "another file", external("weights.bin", flagged=False)),
    "external data flag alone": (ARTIFACT, "another file", edit_constant(data_location=1)),
    "a function": (ARTIFACT, "functions of its own", functions(1)),
    "a chain of functions": (ARTIFACT, "functions of its own", functions(3000)),
    "ConstantOfShape": (ARTIFACT, "'ConstantOfShape'", computed("ConstantOfShape", ["s"], [constant("s", [BIG])])),
    "Expand": (ARTIFACT, "'Expand'", computed("Expand", ["image", "s"], [constant("s", [BIG])])),
    "Range": (ARTIFACT, "'Range'", computed("Range", ["a", "a", "a"], [constant("a", 1)])),
    "OneHot": (ARTIFACT, "'OneHot'", computed("OneHot", ["a", "a", "a"], [constant("a", 1)])),
    "RandomNormal": (ARTIFACT, "'RandomNormal'", computed("RandomNormal", shape=[BIG])),
    "If": (ARTIFACT, "'If'", computed("If", ["image"], then_branch=body(), else_branch=body())),
    "Loop": (ARTIFACT, "'Loop'", computed("Loop", ["", "", "image"], body=body())),
    "Scan": (ARTIFACT, "'Scan'", computed("Scan", ["image"], body=body(), num_scan_inputs=1)),
    "a graph in an attribute": (ARTIFACT, "a graph inside an operator", computed("Relu", ["image"], body=body())),
    "graphs in an attribute": (ARTIFACT, "graphs inside an operator", computed("Relu", ["image"], body=[body()])),
    "an unknown operator": (ARTIFACT, "'Nonsense'", computed("Nonsense", ["image"])),
    "another domain": (ARTIFACT, "of 'com.microsoft'", computed("Gelu", ["image"], domain="com.microsoft")),
    "strings": (ARTIFACT, "'StringNormalizer'", computed("StringNormalizer", ["image"])),
    "a sparse constant": (ARTIFACT, "sparse constants", sparse),
    "training": (ARTIFACT, "training steps", training),
    "Tile": (LIMIT, "Tile by 1,000,000", computed("Tile", ["image", "s"], [constant("s", [10**6])])),
    "Tile, computed": (ARTIFACT, "size computed from values", computed("Tile", ["image", "image"])),
    "Pad": (LIMIT, "Pad by 1,000,000,000", computed("Pad", ["image", "s"], [constant("s", [10**9] * 8)])),
    "Pad of many": (
        ARTIFACT,
        "Pad cannot take",
        computed("Pad", ["image", "s"], [constant("s", [0] * 99)]),
    ),
    "Resize": (LIMIT, "Resize by 1,000", computed("Resize", ["image", "", "s"], [constant("s", [1e9], np.float32)])),
    "Resize to": (LIMIT, "Resize by", computed("Resize", ["image", "", "", "s"], [constant("s", [BIG])])),
    "a huge window": (LIMIT, "'kernel_shape' of MaxPool", edit_node("MaxPool", kernel_shape=[BIG, BIG])),
    "a stride of 0": (LIMIT, "'strides' of MaxPool is 0", edit_node("MaxPool", strides=[0, 0])),
    "a negative pad": (LIMIT, "'pads' of Conv is -1", edit_node("Conv", pads=[-1, -1, -1, -1])),
    "a huge dilation": (LIMIT, "'dilations' of Conv", edit_node("Conv", dilations=[10**9, 1])),
    "an endless attribute": (LIMIT, "100,000 values in 'pads'", edit_node("Conv", pads=[1] * 100_000)),
    "a huge axis": (LIMIT, "'axis' of Softmax", computed("Softmax", ["image"], axis=BIG)),
    "a short constant": (ARTIFACT, "where its shape says", edit_constant(dims=[1, 3, 2, 1])),
    "a huge constant": (LIMIT, "an extent of", edit_constant(dims=[BIG])),
    "a large constant": (LIMIT, "takes [0-9,]+ bytes", edit_constant(dims=[1 << 20, 1 << 20])),
    "a negative extent": (LIMIT, "an extent of -3", edit_constant(dims=[1, -3, 1, -1])),
    "a constant of many axes": (LIMIT, "9 axes", edit_constant(dims=[1] * 9)),
    "a constant of text": (ARTIFACT, "type 8", edit_constant(data_type=8)),
    "a constant of nothing known": (ARTIFACT, "type 999", edit_constant(data_type=999)),
    "values of another type": (ARTIFACT, "where its shape says", typed_values),
    "backwards": (ARTIFACT, "which nothing before it computes", backwards),
    "a circle": (ARTIFACT, "which nothing before it computes", own_output),
    "a name twice": (ARTIFACT, "two values are called", twice_defined),
    "very many operators": (LIMIT, "operators. Allowed", many_nodes),
    "one more input": (ARTIFACT, "inputs or outputs other", many_inputs),
    "another output": (ARTIFACT, "inputs or outputs other", renamed_output),
    "another shape": (ARTIFACT, "inputs or outputs other", other_shape),
    "a huge input": (LIMIT, "an extent of", huge_shape),
    "a sequence": (ARTIFACT, "a sequence", sequence_input),
    "facts twice": (ARTIFACT, "two metadata entries", facts_twice),
}


@pytest.mark.cases("models")
@pytest.mark.parametrize(("kind", "message", "change"), HOSTILE_ONNX.values(), ids=HOSTILE_ONNX)
def test_hostile_onnx_is_refused_in_one_line(onnx_fp32, kind, message, change):
    """No engine gets it: the gate stands before it."""
    hostile = replace(onnx_fp32, model=edited(onnx_fp32.model, change))
    with pytest.raises(kind, match=message) as caught:
        open_session(hostile)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 200
    assert str(onnx_fp32.path.name) in str(caught.value)


@pytest.mark.skipif(os.name != "posix", reason="POSIX links")
@pytest.mark.parametrize("link", [os.symlink, os.link], ids=["symbolic", "hard"])
def test_linked_external_data_is_refused_and_never_opened(onnx_fp32, tmp_path, link):
    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes(12))
    os.utime(secret, ns=(1, 1))
    link(secret, tmp_path / "weights.bin")
    path = tmp_path / "m.onnx"
    path.write_bytes(edited(onnx_fp32.model, external("weights.bin")))
    with pytest.raises(ArtifactError, match="constants in another file"):
        open_model(path)
    assert secret.stat().st_atime_ns == 1


def test_two_models_in_one_file(onnx_fp32):
    with pytest.raises(ArtifactError, match="occurs twice in the model"):
        open_session(replace(onnx_fp32, model=onnx_fp32.model * 2))


def test_names_are_quoted_short_and_printable(onnx_fp32):
    hostile = edited(onnx_fp32.model, computed("\x1b[31m\n" + "x" * 500, ["image"]))
    with pytest.raises(ArtifactError, check=says(r"the operator '\?\[31m\?x+…'")) as caught:
        open_session(replace(onnx_fp32, model=hostile))
    assert str(caught.value).isprintable()


def test_no_tensor_is_copied(untrained_network, tmp_path):
    import tracemalloc

    artifact = build_artifact(SubModel(("block3_conv3",)), untrained_network, tmp_path / "m.onnx", runner=None)
    assert len(artifact.model) > 6_000_000
    checks.require_artifact(artifact)
    tracemalloc.start()
    checks.require_artifact(artifact)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000


def test_too_many_fields(onnx_fp32):
    empty_entry = b"\x72\x00"  # metadata_props, of length 0
    with pytest.raises(LimitExceeded, match="fields"):
        open_session(replace(onnx_fp32, model=onnx_fp32.model + empty_entry * (1 << 19)))


def conv(graph):
    return next(op for op in graph.operators if getattr(op.builtinOptions, "strideW", None) and len(op.inputs) == 3)


def set_code(number):
    def change(model, graph):
        model.operatorCodes[0].builtinCode = number
        model.operatorCodes[0].deprecatedBuiltinCode = min(number, 127)

    return change


def set_options(**values):
    def change(model, graph):
        for name, value in values.items():
            setattr(conv(graph).builtinOptions, name, value)

    return change


def set_tensor(**values):
    def change(model, graph):
        for name, value in values.items():
            setattr(graph.tensors[conv(graph).inputs[1]], name, value)

    return change


def other_options(model, graph):
    conv(graph).builtinOptionsType = 5


def pads(model, graph):
    tensor = next(tensor for tensor in graph.tensors if tensor.name == b"pads")
    model.buffers[tensor.buffer].data = np.full(8, 10**9, np.int32).view(np.uint8)


def outside(model, graph):
    model.buffers[1].data, model.buffers[1].offset, model.buffers[1].size = None, 4096, 1 << 40


def no_signature(model, graph):
    model.signatureDefs = []


def two_graphs(model, graph):
    model.subgraphs.append(graph)


def no_such_tensor(model, graph):
    conv(graph).inputs = [9999, *conv(graph).inputs[1:]]


def tflite_circle(model, graph):
    conv(graph).inputs = [conv(graph).outputs[0], *conv(graph).inputs[1:]]


def constant_output(model, graph):
    conv(graph).outputs = [conv(graph).inputs[1]]


def scales(model, graph):
    graph.tensors[conv(graph).inputs[1]].quantization.scale = np.ones(7, np.float32)


def custom_options(model, graph):
    conv(graph).customOptions = np.ones(4, np.uint8)


HOSTILE_TFLITE = {
    "CUSTOM": (ARTIFACT, "the operator 32", set_code(32)),
    "DELEGATE": (ARTIFACT, "the operator 51", set_code(51)),
    "FILL": (ARTIFACT, "the operator 94", set_code(94)),
    "RANGE": (ARTIFACT, "the operator 96", set_code(96)),
    "IF": (ARTIFACT, "the operator 118", set_code(118)),
    "WHILE": (ARTIFACT, "the operator 119", set_code(119)),
    "CALL_ONCE": (ARTIFACT, "the operator 129", set_code(129)),
    "VAR_HANDLE": (ARTIFACT, "the operator 142", set_code(142)),
    "an unknown operator": (ARTIFACT, "the operator 999", set_code(999)),
    "a stride of 0": (LIMIT, "an option of CONV_2D is 0", set_options(strideW=0)),
    "a huge stride": (LIMIT, "an option of CONV_2D is", set_options(strideH=1 << 30)),
    "a huge dilation": (LIMIT, "an option of CONV_2D is", set_options(dilationWFactor=1 << 30)),
    "options of a pool": (ARTIFACT, "options of another operator", other_options),
    "custom options": (ARTIFACT, "custom options", custom_options),
    "a huge pad": (LIMIT, "PADV2 by 1,000,000,000", pads),
    "constants after the model": (ARTIFACT, "constants after the model", outside),
    "a huge shape": (LIMIT, "an extent of", set_tensor(shape=[1 << 30, 1, 1, 1])),
    "a large shape": (LIMIT, "takes [0-9,]+ bytes", set_tensor(shape=[1 << 20, 1 << 20])),
    "a negative shape": (LIMIT, "an extent of -5", set_tensor(shape=[-5, 3, 3, 4])),
    "many axes": (LIMIT, "a list of 9 numbers", set_tensor(shape=[1] * 9)),
    "a short constant": (ARTIFACT, "where its shape says", set_tensor(shape=[64, 3, 3, 5])),
    "two shapes": (ARTIFACT, "has two shapes", set_tensor(shapeSignature=[-2, 3, 3, 4])),
    "text": (ARTIFACT, "type 5", set_tensor(type=5)),
    "a variable": (ARTIFACT, "which is variable", set_tensor(isVariable=True)),
    "no such buffer": (ARTIFACT, "in buffer 9999", set_tensor(buffer=9999)),
    "no such tensor": (ARTIFACT, "no tensor 9999", no_such_tensor),
    "too few scales": (ARTIFACT, "7 scales", scales),
    "a circle": (ARTIFACT, "nothing before it computes", tflite_circle),
    "an output that is a constant": (ARTIFACT, "or is a constant", constant_output),
    "no signature": (ARTIFACT, "0 signatures", no_signature),
    "two subgraphs": (ARTIFACT, "2 subgraphs", two_graphs),
}


@pytest.mark.cases("models")
@pytest.mark.parametrize(("kind", "message", "change"), HOSTILE_TFLITE.values(), ids=HOSTILE_TFLITE)
def test_hostile_tflite_is_refused_in_one_line(tflite_int8, kind, message, change):
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(tflite_int8.model))
    change(model, model.subgraphs[0])
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    with pytest.raises(kind, match=message) as caught:
        open_session(replace(tflite_int8, model=bytes(builder.Output())))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 200


@pytest.mark.parametrize("kind", ["onnx_fp32", "tflite_int8"])
def test_truncated_files_are_refused(kind, request, cases):
    artifact = request.getfixturevalue(kind)
    for length in np.linspace(0, len(artifact.model) - 1, 50, dtype=int):
        with pytest.raises((ArtifactError, LimitExceeded)):
            checks.require_artifact(replace(artifact, model=artifact.model[:length]))
    cases("models", 50)


@pytest.mark.parametrize("kind", ["onnx_fp32", "tflite_int8"])
def test_the_gate_itself_never_falls_over_mutated_bytes(kind, request, cases):
    artifact = request.getfixturevalue(kind)
    refused = 0
    for content in mutations(artifact.model, range(len(artifact.model)), 500, seed=1):
        try:
            checks.require_artifact(replace(artifact, model=content))
        except (ArtifactError, LimitExceeded):
            refused += 1
    print(f"{kind}: 500 mutated, {refused} refused by the gate, {500 - refused} left to the child")
    assert 0 < refused < 500
    cases("models, mutated", 500)


@pytest.mark.parametrize("kind", ["onnx_fp32", "tflite_int8"])
@pytest.mark.parametrize("how", ["replaced", "truncated"])
def test_a_file_that_changes_under_an_open_session_changes_nothing(kind, how, request, tmp_path):
    made = request.getfixturevalue(kind)
    path = tmp_path / made.path.name
    path.write_bytes(made.model)
    images = np.random.default_rng(4).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    with open_session(open_model(path), RunOptions(threads=1)) as session:
        before = session.run(images)["block1_pool"]
        if how == "truncated":
            os.truncate(path, 10)
        else:
            path.write_bytes(b"x" * len(made.model))
        np.testing.assert_array_equal(session.run(images)["block1_pool"], before)
    with pytest.raises(ArtifactError):
        open_model(path)


def test_a_bare_file_runs_by_the_facts_inside_it(onnx_fp32, tmp_path):
    path = tmp_path / "bare.onnx"
    path.write_bytes(onnx_fp32.model)
    artifact = open_model(path)
    assert artifact.card == replace(onnx_fp32.card, parity=None)
    images = [np.full((1, 32, 32, 3), 99, np.uint8)]
    found, expected = (next(run_batches(one, images))["block1_pool"] for one in (artifact, onnx_fp32))
    np.testing.assert_array_equal(found, expected)


def test_bare_files_of_others(onnx_fp32, tmp_path):
    path = tmp_path / "foreign.onnx"
    path.write_bytes(edited(onnx_fp32.model, lambda model: model.ClearField("metadata_props")))
    with pytest.raises(ArtifactError, check=says(r"no fmedge facts inside.*Make a model: fmedge export")):
        open_model(path)
    path = tmp_path / "m.pt"
    path.write_bytes(b"PK")
    with pytest.raises(ArtifactError, check=says(r"Allowed: a name that ends in \.onnx, \.tflite, \.ncnn")):
        open_model(path)
    path = tmp_path / "m.tflite"
    path.write_bytes(onnx_fp32.model)
    with pytest.raises(ArtifactError, check=says("TFL3")):
        open_model(path)
