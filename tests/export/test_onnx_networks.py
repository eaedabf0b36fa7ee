"""ONNX networks of the user's own: cut where they say, equal to the file itself, refused with the operator's name."""

import json
from itertools import pairwise

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import fmedge
from fmedge.cli import main
from fmedge.data.images import parity_image
from fmedge.errors import FmedgeError, UsageError, WeightsError
from fmedge.export.onnx_source.activations import activation_after
from fmedge.export.onnx_source.graph import graph_of, layouts_of, shapes_of
from fmedge.export.onnx_source.names import layer_names
from fmedge.export.onnx_source.reading import parse
from fmedge.export.onnx_source.rows import views_of
from fmedge.export.views import tap_view
from fmedge.model.parity import GATES, measure_parity
from fmedge.workflow.artifacts import run_batches
from fmedge.workflow.outputs import first_kernels
from fmedge.workflow.verification import verify_artifact
from support.messages import says
from support.onnx_networks import Writer, activation, channels_last, residual
from support.page_samples import Elements
from support.places import TEST_DATA

TORCH = fmedge.ExportOptions(preprocessing="torch")
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "residual.onnx"
    onnx.save(residual(), path)
    return path


def original(model, tensor, pixels):
    """What the file itself computes for a tensor of it, run whole by ONNX Runtime; pixels as the file takes them."""
    import onnxruntime

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.graph.output.append(helper.make_tensor_value_info(tensor, TensorProto.FLOAT, None))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(copy.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run([tensor], {session.get_inputs()[0].name: pixels.astype(np.float32)})[0]


def torch_pixels(image):
    return ((image / 255 - MEAN) / STD).transpose(2, 0, 1)[np.newaxis]


TAPS = [
    ("stem.conv", "relu", "/stem/conv/Conv_output", "linear"),
    ("stem.bn", "relu", "/stem/act/Relu_output", "relu"),
    ("stem.bn", "none", "/stem/bn/BatchNormalization_output", "relu"),
    ("/stem/act/Relu", "none", "/stem/bn/BatchNormalization_output", "relu"),
    ("layer1.0.conv1", "relu", "/layer1/layer1.0/act/Mul_output", "silu"),
    ("layer1.0.conv1", "none", "/layer1/layer1.0/conv1/Conv_output", "silu"),
    ("layer1.0.conv2", "relu", "/layer1/layer1.0/conv2/Conv_output", "linear"),
    ("/layer1/layer1.0/Add_output", "relu", "/layer1/layer1.0/Add_output", "linear"),
    ("pool", "relu", "/pool/MaxPool_output", "linear"),
    ("head.conv", "relu", "/head/act/LeakyRelu_output", "leaky_relu(negative_slope=0.2)"),
]


@pytest.mark.parametrize(("layer", "shown", "tensor", "function"), TAPS)
def test_a_cut_gives_what_the_file_computes(network, tmp_path, layer, shown, tensor, function):
    artifact = fmedge.export_submodel([layer], shown, onnx=network, options=TORCH, models=tmp_path)
    assert artifact.card.functions == (function,)
    assert artifact.card.parity.snr_db >= 100
    image = parity_image(40, 56)
    found = next(run_batches(artifact, [image[np.newaxis]]))[layer]
    expected = original(onnx.load(network), tensor, torch_pixels(image))
    parity = measure_parity(found, expected, GATES["fp32"])
    assert parity.passed, parity.describe()


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 18, 21])
def test_opsets_old_and_new(opset, tmp_path):
    model = residual(opset)
    artifact = fmedge.export_submodel("head.conv", onnx=model, options=TORCH, models=tmp_path)
    image = parity_image(40, 56)
    found = next(run_batches(artifact, [image[np.newaxis]]))["head.conv"]
    expected = original(model, "/head/act/LeakyRelu_output", torch_pixels(image))
    assert measure_parity(found, expected, GATES["fp32"]).passed


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(
    ("layer", "tensor"), [("first", "first_relu_output"), ("last", "last_output"), ("to_nhwc", "last_output")]
)
def test_channels_last(layer, tensor, layout, tmp_path):
    model = channels_last()
    options = fmedge.ExportOptions(preprocessing="unit", output_layout=layout)
    artifact = fmedge.export_submodel(layer, onnx=model, options=options, models=tmp_path)
    image = parity_image(32, 48)
    found = next(run_batches(artifact, [image[np.newaxis]]))[layer]
    expected = original(model, tensor, image[np.newaxis] / 255)
    assert measure_parity(found, expected, GATES["fp32"]).passed


@pytest.mark.parametrize("way", ["caffe", "tf", "unit", "none"])
def test_preprocessings(network, way, tmp_path):
    artifact = fmedge.export_submodel(
        "stem.conv", "none", onnx=network, options=fmedge.ExportOptions(preprocessing=way), models=tmp_path
    )
    image = parity_image(40, 56).astype(np.float64)
    prepared = {
        "caffe": image[..., ::-1] - [103.939, 116.779, 123.68],
        "tf": image / 127.5 - 1,
        "unit": image / 255,
        "none": image,
    }[way]
    found = next(run_batches(artifact, [image.astype(np.uint8)[np.newaxis]]))["stem.conv"]
    expected = original(onnx.load(network), "/stem/conv/Conv_output", prepared.transpose(2, 0, 1)[np.newaxis])
    assert measure_parity(found, expected, GATES["fp32"]).passed


def test_grey_images_get_the_luma_of_pillow(tmp_path):
    from PIL import Image

    write = Writer()
    write.conv("input", 1, 3, module="conv", name="conv")
    model = write.model((1, 1, 24, 24), "conv_output")
    artifact = fmedge.export_submodel(
        "conv", onnx=model, options=fmedge.ExportOptions(preprocessing="none"), models=tmp_path
    )
    image = parity_image(24, 24)
    luma = np.asarray(Image.fromarray(image).convert("L"), np.float32)
    found = next(run_batches(artifact, [image[np.newaxis]]))["conv"]
    np.testing.assert_allclose(
        found, original(model, "conv_output", luma[np.newaxis, np.newaxis]), rtol=1e-5, atol=1e-3
    )


def test_sizes_batches_and_several_taps(network, tmp_path):
    options = fmedge.ExportOptions(preprocessing="torch", size=None)
    layers = ["head.conv", "stem.conv", "/stem/bn/BatchNormalization", "/stem/act/Relu"]  # two of one tensor
    artifact = fmedge.export_submodel(layers, onnx=network, options=options, models=tmp_path)
    assert artifact.card.submodel.taps == ("stem.conv", "/stem/bn/BatchNormalization", "/stem/act/Relu", "head.conv")
    images = np.stack([parity_image(48, 64), parity_image(48, 64)[::-1]])
    found = next(run_batches(artifact, [images]))
    np.testing.assert_array_equal(found["/stem/act/Relu"], found["/stem/bn/BatchNormalization"])
    alone = next(run_batches(artifact, [images[1:]]))
    np.testing.assert_allclose(found["head.conv"][1:], alone["head.conv"], rtol=1e-4, atol=1e-5)
    assert found["head.conv"].shape == (2, 12, 11, 15)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_engines_and_precisions(network, engine, precision, tmp_path):
    if engine == "openvino":
        pytest.importorskip("openvino", reason="needs OpenVINO: pip install 'fmedge[openvino]'")
    options = fmedge.ExportOptions(preprocessing="torch", precision=precision)
    artifact = fmedge.export_submodel(
        "head.conv", onnx=network, options=options, models=tmp_path, run=fmedge.RunOptions(engine)
    )
    found, parity = verify_artifact(artifact.path, onnx=network, run=fmedge.RunOptions(engine))
    assert parity.passed, parity.describe()
    assert found.card.weights.kind == "onnx"


FORMS = [
    *("silu", "hard_silu", "hard_silu by HardSigmoid", "mish", "gelu", "gelu, the half first"),
    *("gelu(approximate=True)", "scaled"),
]


@pytest.mark.parametrize("form", FORMS)
def test_activations_of_several_operators(form):
    write = Writer()
    after = activation(write, form, write.conv("input", 3, 4, module="conv", name="conv"))
    graph = graph_of(write.model((1, 3, 16, 16), write.add("Neg", after, name="end")))
    expected = form.partition(",")[0].partition(" by")[0]
    if form == "scaled":
        assert activation_after(graph, "conv_output") == ("conv_output", "linear")
    else:
        assert activation_after(graph, "conv_output") == (after, expected)


@pytest.mark.parametrize(
    ("kind", "settings", "word"),
    [
        ("Relu", {}, "relu"),
        ("LeakyRelu", {"alpha": 0.25}, "leaky_relu(negative_slope=0.25)"),
        ("Elu", {"alpha": 1.0}, "elu"),
        ("Elu", {"alpha": 0.5}, "elu(alpha=0.5)"),
        ("Selu", {}, "selu"),
        ("Sigmoid", {}, "sigmoid"),
        ("HardSigmoid", {"alpha": 1 / 6}, "hard_sigmoid"),
        ("HardSigmoid", {}, "hard_sigmoid(alpha=0.2, beta=0.5)"),
        ("HardSwish", {}, "hard_silu"),
        ("Tanh", {}, "tanh"),
        ("Softplus", {}, "softplus"),
        ("Neg", {}, "linear"),
    ],
)
def test_activations_of_one_operator(kind, settings, word):
    write = Writer()
    after = write.add(kind, write.conv("input", 3, 4, module="conv", name="conv"), name="act", **settings)
    graph = graph_of(write.model((1, 3, 16, 16), write.add("Identity", after, name="end")))
    assert activation_after(graph, "conv_output")[1] == word


def test_an_activation_that_others_read_too_belongs_to_nobody():
    write = Writer()
    before = write.conv("input", 3, 4, module="conv", name="conv")
    both = write.add("Add", write.add("Relu", before, name="relu"), before, name="both")
    graph = graph_of(write.model((1, 3, 16, 16), both))
    assert activation_after(graph, "conv_output") == ("conv_output", "linear")


def test_names_of_modules():
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], "/features/features.3/block/block.0/block.0.0/Conv"),
        helper.make_node("Conv", ["a", "layer1.0.conv1.weight"], ["b"], ""),
        helper.make_node("Pad", ["b"], ["c"], "/stem/Pad"),
        helper.make_node("Conv", ["c", "w"], ["d"], "/stem/Conv"),
        helper.make_node("Relu", ["d"], ["e"], ""),
        helper.make_node("Relu", ["e"], ["f"], "node_relu"),
    ]
    entry = nodes[5].metadata_props.add()
    entry.key, entry.value = "pkg.torch.onnx.name_scopes", "['', 'layer2', 'layer2.relu', 'relu_1']"
    names = layer_names(nodes)
    shown = ["features.3.block.0.0", "layer1.0.conv1", "/stem/Pad", "stem", "e", "layer2.relu"]
    assert [name.shown for name in names] == shown
    assert set(names[5].every) == {"layer2.relu", "node_relu", "f"}
    entry.value = "__import__('os').system('true')"
    assert layer_names(nodes)[5].shown == "node_relu"


def test_layers(network, capsys):
    assert main(["layers", "--onnx", str(network), "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    conv = rows["head.conv"]
    assert (conv["kind"], conv["activation"]) == ("Conv", "leaky_relu(negative_slope=0.2)")
    assert (conv["shape"], conv["stride"], conv["receptive_field"]) == ([12, 9, 13], [4, 4], [19, 19])
    assert (conv["parameters"], conv["macs"]) == (8 * 12 * 9 + 12, 9 * 13 * 12 * 72)
    assert rows["layer1.0.conv1"]["macs"] == 20 * 28 * 8 * 9
    assert rows["/Flatten"]["obstacle"] == "its output is a tensor of shape (1, 12)"


def test_layers_behind_attention(tmp_path):
    write = Writer()
    values = write.conv("input", 3, 8, module="conv", name="/conv/Conv", strides=[2, 2])
    gate = write.conv(write.add("GlobalAveragePool", values, name="/mean"), 8, 8, 1, module="gate", name="/gate/Conv")
    values = write.add("Mul", values, write.add("Sigmoid", gate, name="/sigmoid"), name="/gated")
    last = write.conv(values, 8, 4, module="last", name="/last/Conv")
    onnx.save(write.model((1, 3, 40, 56), last), tmp_path / "network.onnx")
    rows = {row.name: row for row in fmedge.list_layers(onnx=tmp_path / "network.onnx")}
    seen = {name: (row.stride, row.receptive_field) for name, row in rows.items()}
    assert seen["conv"] == ((2, 2), (3, 3))
    assert seen["/mean"] == seen["gate"] == seen["/sigmoid"] == (None, None)
    assert seen["/gated"] == seen["last"] == ((2, 2), None)


def test_a_page_and_a_second_run(network, picture, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = ["run", str(picture), "--onnx", str(network), "--layer", "layer1.0.conv1", "--preprocessing", "torch"]
    assert main(command) == 0
    assert "Exporting" in capsys.readouterr().err
    assert main(command) == 0
    assert "Exporting" not in capsys.readouterr().err
    (page,) = tmp_path.glob("*.html")
    assert "silu" in page.read_text()
    facts = Elements(page.read_bytes()).header["layers"][0]
    assert (facts["step"], facts["field"], facts.get("start")) == ([2, 2], 7, [-0.5, -0.5])


def test_the_kernels_of_the_first_layer(network, tmp_path):
    weights = {each.name: numpy_helper.to_array(each) for each in residual().graph.initializer}
    for preprocessing, order in (("torch", slice(None)), ("caffe", slice(None, None, -1))):
        options = fmedge.ExportOptions(preprocessing=preprocessing)
        artifact = fmedge.export_submodel("stem.conv+stem.bn", onnx=network, models=tmp_path, options=options)
        (found,) = first_kernels(artifact).values()
        np.testing.assert_array_equal(found.weights, weights["stem.conv.weight"][:, order].transpose(0, 2, 3, 1))


def custom_operator():
    model = residual()
    model.graph.node[3].domain = "com.example"
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    return model


def control_flow():
    model = residual()
    branch = helper.make_graph([], "branch", [], [])
    model.graph.node[3].CopyFrom(
        helper.make_node(
            "If", ["input"], [model.graph.node[3].output[0]], "either", then_branch=branch, else_branch=branch
        )
    )
    return model


def two_inputs():
    model = residual()
    model.graph.input.append(helper.make_tensor_value_info("other", TensorProto.FLOAT, [1]))
    return model


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (custom_operator, r"'/layer1/layer1.0/conv1/Conv' \(Conv\) is a custom operator of com\.example"),
        (control_flow, r"'either' \(If\) contains a graph of its own"),
        (two_inputs, r"takes 2 inputs: 'input', 'other'"),
        (lambda: residual(shape=(1, 4, 40, 56)), r"float, 1 x 4 x 40 x 56\. Allowed: one image of float32"),
    ],
)
def test_what_cannot_be_cut_is_named(make, words, tmp_path):
    with pytest.raises(UsageError, check=says(words)):
        fmedge.export_submodel("head.conv", onnx=make(), options=TORCH, models=tmp_path)
    assert not list(tmp_path.iterdir())


def test_cutting_before_what_cannot_be_cut(tmp_path):
    artifact = fmedge.export_submodel("stem.bn", onnx=custom_operator(), options=TORCH, models=tmp_path)
    assert artifact.card.parity.snr_db >= 100


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--layer", "lost"], "Unknown layer 'lost' in the ONNX model"),
        (["--layer", "/Flatten"], "has no feature maps: its output is a tensor of shape"),
        (["--layer", "pool", "--format", "tflite"], "Cannot write tflite fp32 .*Nearest possible: --format onnx"),
        (["--layer", "pool", "--size", "2"], "--size 2x2 is too small for pool"),
        (
            ["--layer", "pool", "--weights", "untrained"],
            "--weights cannot be given with a network of your own: its onnx file has them",
        ),
        (["--layer", "pool", "--keras", "m.keras"], "--keras and --onnx exclude each other"),
    ],
)
def test_requests_that_cannot_be_met(network, arguments, words, capsys, tmp_path):
    command = ["export", "--onnx", str(network), "--preprocessing", "torch", "--models", str(tmp_path), *arguments]
    assert main(command) == 2
    says(words)(_Said(capsys.readouterr().err))


class _Said(FmedgeError):
    def in_full(self):
        return str(self)


def test_weights_in_another_file(network, tmp_path):
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "model.onnx"
    onnx.save(onnx.load(network), path, save_as_external_data=True, location="model.data", size_threshold=0)
    expected = fmedge.export_submodel("pool", onnx=network, options=TORCH, models=tmp_path / "a")
    found = fmedge.export_submodel("pool", onnx=path, options=TORCH, models=tmp_path / "b")
    image = [parity_image(40, 56)[np.newaxis]]
    np.testing.assert_array_equal(next(run_batches(found, image))["pool"], next(run_batches(expected, image))["pool"])
    (tmp_path / "in" / "model.data").rename(tmp_path / "model.data")
    for location in ("../model.data", str(tmp_path / "model.data"), "model.data", ""):
        model = onnx.load(path, load_external_data=False)
        for tensor in model.graph.initializer:
            tensor.external_data[0].value = location
        onnx.save(model, tmp_path / "in" / "moved.onnx")
        with pytest.raises(WeightsError, match="not in its folder"):
            fmedge.export_submodel("pool", onnx=tmp_path / "in" / "moved.onnx", options=TORCH, models=tmp_path)


def test_paddings_computed_from_constants(tmp_path):
    """As PyTorch writes F.pad: ConstantOfShape, Concat, Reshape, Slice, Transpose on constants."""
    write = Writer()
    zeros = write.add(
        "ConstantOfShape",
        write.constant(np.array([4], np.int64), "four"),
        name="zeros",
        value=numpy_helper.from_array(np.array([0], np.int64)),
    )
    edges = write.add("Concat", write.constant(np.array([0, 0, 1, 1], np.int64), "edge"), zeros, axis=0, name="edges")
    start, end = (write.constant(np.array([place], np.int64), f"place_{place}") for place in (0, 4))
    first = write.add("Slice", edges, start, end)
    pads = write.add("Concat", first, first, axis=0, name="pads")
    padded = write.add("Pad", "input", pads, name="pad")
    model = write.model((1, 3, 16, 16), write.conv(padded, 3, 4, module="conv", name="conv"))
    artifact = fmedge.export_submodel("conv", onnx=model, options=TORCH, models=tmp_path)
    assert artifact.card.outputs[0].shape == (None, 4, 18, 18)
    kinds = {node.op_type for node in onnx.load(artifact.path).graph.node}
    assert not kinds & {"ConstantOfShape", "Concat", "Slice"}


def test_a_huge_constant_is_not_worked_out():
    write = Writer()
    shape = write.constant(np.array([1 << 20, 1 << 20], np.int64), "shape")
    write.add("ConstantOfShape", shape, name="huge")
    model = write.model((1, 3, 16, 16), write.conv("input", 3, 4, module="conv", name="conv"))
    assert [node.op_type for node in graph_of(model).nodes] == ["ConstantOfShape", "Conv"]


@pytest.mark.parametrize("content", [b"", b"\x08", b"PK\3\4", b"\x89HDF\r\n\x1a\n", b"\x08\x08:\x00", b"text\n" * 50])
def test_files_that_are_no_models(content, tmp_path):
    (tmp_path / "bad.onnx").write_bytes(content)
    with pytest.raises(WeightsError, match="not an ONNX model"):
        fmedge.export_submodel("conv", onnx=tmp_path / "bad.onnx", options=TORCH, models=tmp_path)


def test_cut_and_flipped_bytes(network, tmp_path):
    """Damage gives an error of ours or a model, never a traceback or a signal."""
    content = network.read_bytes()
    generator = np.random.default_rng(11)
    for _ in range(60):
        damaged = bytearray(content)
        for place in generator.integers(0, len(content), 3):
            damaged[place] = int(generator.integers(0, 256))
        try:
            graph = graph_of(parse("damaged", bytes(damaged[: len(content) - int(generator.integers(0, 40))])))
            assert graph.nodes
        except FmedgeError as error:
            assert len(str(error)) < 400


@pytest.mark.imagenet
@pytest.mark.parametrize(
    ("file", "layers", "options"),
    [
        ("super_resolution.onnx", ("conv1", "conv2", "conv4"), {"preprocessing": "unit"}),
        (
            "version-slim-320_simplified.onnx",
            ("185", "264", "regression_headers.3"),
            {"preprocessing": fmedge.Preprocessing("RGB", (127,), std=(128,))},
        ),
    ],
)
@pytest.mark.parametrize("shown", ["relu", "none"])
def test_published_networks(file, layers, options, shown, tmp_path):
    path = TEST_DATA / "public_models" / file
    names = [row.name for row in fmedge.list_layers(onnx=path) if row.kind == "Conv"]
    assert set(layers) <= set(names)
    artifact = fmedge.export_submodel(
        layers, shown, onnx=path, options=fmedge.ExportOptions(**options), models=tmp_path
    )
    assert artifact.card.parity.snr_db >= 100


@pytest.mark.imagenet
def test_a_published_network_of_custom_operators():
    path = TEST_DATA / "public_models" / "tiny_unet_ch_last.onnx"
    with pytest.raises(UsageError, check=says(r"'Quant_\d+' \(Quant\) is a custom operator of qonnx")):
        fmedge.export_submodel("Conv_16", onnx=path, options=fmedge.ExportOptions(preprocessing="unit"))
    assert len(fmedge.list_layers(onnx=path)) == 184


def shuffled(last):
    """ShuffleNet's shuffle of channels, as PyTorch writes it for one image; ``last``: the shape at the end."""
    write = Writer()
    values = write.conv("input", 3, 8, module="conv1", name="conv1")
    halves = write.add("Reshape", values, write.constant(np.array([1, 2, 4, 24, 24], np.int64), "halves"), allowzero=0)
    mixed = write.add("Transpose", halves, perm=[0, 2, 1, 3, 4])
    values = write.add("Reshape", mixed, write.constant(np.array(last, np.int64), "whole"))
    return write.model((1, 3, 24, 24), write.conv(values, 8, 4, module="conv2", name="conv2"))


@pytest.mark.parametrize("last", [[1, 8, 24, 24], [1, -1, 24, 24]])
def test_shapes_written_for_one_image_take_any_number(last, tmp_path):
    model = shuffled(last)
    artifact = fmedge.export_submodel("conv2", onnx=model, options=TORCH, models=tmp_path)
    images = np.stack([parity_image(24, 24), parity_image(24, 24)[::-1]])
    found = next(run_batches(artifact, [images]))["conv2"]
    for image, maps in zip(images, found, strict=True):
        expected = original(model, "conv2_output", torch_pixels(image))
        assert measure_parity(maps[np.newaxis], expected, GATES["fp32"]).passed


def test_a_network_for_one_image_alone_says_so(tmp_path):
    write = Writer()
    values = write.conv("input", 3, 8, module="conv1", name="conv1")
    moved = write.add("Reshape", values, write.constant(np.array([4, 2, 24, 24], np.int64), "moved"))
    values = write.add("Concat", moved, moved, axis=1)
    values = write.add("Reshape", values, write.constant(np.array([2, 8, 24, 24], np.int64), "two"))
    axis = write.constant(np.array([0], np.int64), "axis")
    places = [write.constant(np.array([place], np.int64), f"place_{place}") for place in range(3)]
    halves = [write.add("Slice", values, *pair, axis) for pair in pairwise(places)]
    values = write.add("Concat", *halves, axis=1)
    model = write.model((1, 3, 24, 24), write.conv(values, 16, 4, module="conv2", name="conv2"))
    said = says(r"one image at a time: it has sizes for one\. Use --batch 1|does not compute")
    with pytest.raises(FmedgeError, check=said):
        fmedge.export_submodel("conv2", onnx=model, options=TORCH, models=tmp_path)
    options = fmedge.ExportOptions(preprocessing="torch", batch=1)
    assert fmedge.export_submodel("conv2", onnx=model, options=options, models=tmp_path).card.parity.passed


def test_extracting_in_python(network, picture, tmp_path):
    given = {"onnx": network, "preprocessing": "torch", "models": tmp_path}
    maps = fmedge.extract(picture, "layer1.0.conv1", **given)
    ((image, taps),) = fmedge.extract_many([picture], ["layer1.0.conv1", "pool"], **given)
    assert list(taps) == ["layer1.0.conv1", "pool"]
    np.testing.assert_array_equal(taps["layer1.0.conv1"], maps)
    assert image.name == picture.name
    with pytest.raises(UsageError, match="needs preprocessing"):
        fmedge.extract(picture, "pool", onnx=network, models=tmp_path)
    with pytest.raises(UsageError, match="VGG16 always uses caffe"):
        fmedge.extract(picture, preprocessing="torch", weights="untrained", models=tmp_path)


@pytest.mark.parametrize("form", ["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"])
@pytest.mark.parametrize("axis", [0, 1])
def test_what_a_value_sees_of_the_image(form, axis):
    """Seen from outside: which rows and columns change a value in the middle of the map."""
    write = Writer(opset=17)
    padding = {"pads": [1, 2, 0, 3]} if form == "NOTSET" else {"auto_pad": form}
    write.add("Pad", "input", write.constant(np.array([0, 0, 2, 1, 0, 0, 1, 3]), "pads"), name="pad")
    kernel = write.constant(np.ones((1, 1, 4, 3), np.float32), "kernel")
    settings = {
        "kernel_shape": [4, 3],
        "strides": [2, 3],
        "dilations": [1, 1 if form.startswith("SAME") else 2],
        **padding,
    }
    values = write.add("Conv", "pad_output", kernel, name="conv", **settings)
    values = write.add("AveragePool", values, name="mean", kernel_shape=[3, 2], pads=[1, 0, 1, 1])
    model = write.model(("batch", 1, 40, 56), values)
    graph = graph_of(model)
    shapes = shapes_of(graph, (40, 56))
    view = tap_view(views_of(graph, shapes, layouts_of(graph, shapes))[values])
    extent = (40, 56)[axis]
    images = np.zeros((extent, 1, 40, 56), np.float32)
    for place in range(extent):
        images[place, 0][(slice(None), place) if axis else place] = 1
    found = original(model, values, images)
    row, column = found.shape[2] // 2, found.shape[3] // 2
    (seen,) = np.nonzero(found[:, 0, row, column])
    centre = view.centre[axis] + (row, column)[axis] * view.stride[axis]
    assert (seen.min() + seen.max() + 1) / 2 == centre
    assert seen.max() - seen.min() + 1 == view.receptive_field[axis]
