"""Models of the user's own: cut where they say, refused where they would run code."""

import json
import zipfile

import numpy as np
import pytest

from fmedge.data.images import parity_image
from fmedge.errors import UsageError, WeightsError
from fmedge.model.parity import GATES, measure_parity
from fmedge.model.submodel import Activation, Format, Precision, SubModel
from fmedge.model.weights import choose_keras_file
from fmedge.workflow.artifacts import run_batches
from support.builds import build, require_parity

pytestmark = pytest.mark.keras
pytest.importorskip("tensorflow", reason="needs TensorFlow: pip install 'fmedge[export]'")
pytest.importorskip("tf2onnx", reason="needs tf2onnx: pip install 'fmedge[export]'")
from fmedge.export.onnx import tf2onnx_route  # noqa: E402
from fmedge.export.tensorflow.keras_import import keras  # noqa: E402
from fmedge.export.tensorflow.keras_network import load_keras_network, network_of_model  # noqa: E402
from fmedge.export.tflite import converter as tflite  # noqa: E402
from support.messages import says  # noqa: E402

layers = keras.layers
CONVERTERS = {"tf2onnx": (tf2onnx_route, {}), "tensorflow": (tflite, {"format": Format.TFLITE})}


@pytest.fixture(params=CONVERTERS)
def converter(request):
    return CONVERTERS[request.param]


@pytest.fixture(scope="module", params=[".keras", ".h5"])
def fine_tuned(request, tmp_path_factory):
    """VGG16 with a head, trained a few steps on random data, and its file."""
    keras.utils.set_random_seed(3)
    base = keras.applications.VGG16(include_top=False, weights=None, input_shape=(32, 32, 3))
    head = layers.Dense(5, activation="softmax", name="head")(layers.Flatten(name="flat")(base.output))
    model = keras.Model(base.input, head)
    model.compile("sgd", "sparse_categorical_crossentropy")
    generator = np.random.default_rng(1)
    pixels = generator.uniform(-100, 100, (8, 32, 32, 3)).astype(np.float32)
    model.fit(pixels, generator.integers(0, 5, 8), epochs=2, batch_size=4, verbose=0)
    path = tmp_path_factory.mktemp("keras") / f"mine{request.param}"
    model.save(path)
    return model, path


@pytest.fixture(scope="module")
def own_network(fine_tuned):
    """That file as a network to cut."""
    return load_keras_network(choose_keras_file(fine_tuned[1]), "caffe")


def keras_outputs(model, layer, images):
    """What Keras' own cut of the model computes for images as VGG16 prepares them, (N, C, H, W)."""
    prepared = keras.applications.vgg16.preprocess_input(images.astype(np.float32))
    cut = keras.Model(model.inputs, model.get_layer(layer).output)
    return cut.predict(prepared, verbose=0).transpose(0, 3, 1, 2)


@pytest.mark.few(4)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("layer", ["block1_conv2", "block3_conv1", "block5_pool"])
def test_fine_tuned_model_agrees_with_keras(fine_tuned, own_network, converter, layer):
    model, _ = fine_tuned
    module, options = converter
    artifact = build(module, own_network, layer, size=(32, 32), **options)
    images = parity_image(32, 32)[np.newaxis]
    found = next(run_batches(artifact, [images]))[layer]
    parity = measure_parity(found, keras_outputs(model, layer, images), GATES["fp32"])
    assert parity.passed, parity.describe()
    require_parity(artifact, own_network)
    assert artifact.card.weights.kind == "keras"


def test_another_size_and_raw_taps(own_network, converter):
    module, options = converter
    artifact = build(module, own_network, "block2_conv1+block1_conv1", "none", size=(48, 64), **options)
    assert artifact.card.submodel.taps == ("block1_conv1", "block2_conv1")
    require_parity(artifact, own_network)
    images = [parity_image(48, 64)[np.newaxis]]
    raw = next(run_batches(artifact, images))
    trunk = next(run_batches(build(module, own_network, "block1_conv1", size=(48, 64), **options), images))
    assert raw["block1_conv1"].min() < 0
    np.testing.assert_allclose(np.maximum(raw["block1_conv1"], 0), trunk["block1_conv1"], rtol=1e-5, atol=1e-3)


@pytest.fixture(scope="module")
def separate_relus():
    """Convolutions whose ReLUs are layers of their own, normalisation between them, branches, odd names."""
    keras.utils.set_random_seed(5)
    image = layers.Input((None, None, 3), name="picture")
    values = layers.ZeroPadding2D(1, name="pad")(image)
    values = layers.Conv2D(8, 3, strides=2, name="first-conv", use_bias=False)(values)
    values = layers.BatchNormalization(name="norm")(values)
    trunk = layers.ReLU(name="norm_relu")(values)
    values = layers.Conv2D(8, 3, padding="same", name="second.conv")(trunk)
    values = layers.Activation("relu", name="second_relu")(values)
    values = layers.DepthwiseConv2D(3, padding="same", name="depth")(values)
    values = layers.Add(name="sum")([trunk, values])
    values = layers.Concatenate(name="both")([values, trunk])
    values = layers.Conv2D(4, 1, activation="relu", name="last")(values)
    model = keras.Model(image, layers.Dense(2, name="head")(layers.GlobalAveragePooling2D(name="mean")(values)))
    generator = np.random.default_rng(2)
    model.get_layer("norm").set_weights([generator.uniform(0.5, 1.5, 8).astype(np.float32) for _ in range(4)])
    return model


@pytest.mark.few(6)
@pytest.mark.parametrize("precision", [Precision.FP32, Precision.FP16])
@pytest.mark.parametrize(
    ("names", "activation"),
    [("last", "relu"), ("norm_relu+sum+both", "relu"), ("norm_relu+second.conv+last", "none"), ("first-conv", "relu")],
)
def test_batch_norm_and_branches(separate_relus, converter, names, activation, precision):
    module, options = converter
    network = network_of_model(separate_relus, "caffe")
    artifact = build(module, network, names, activation, precision=precision, size=(40, 56), **options)
    require_parity(artifact, network)
    if module is tf2onnx_route:
        import onnx

        nodes = onnx.load_model_from_string(artifact.model).graph.node
        assert [node.op_type for node in nodes].count("Transpose") == 1
        assert all(len(node.input) == 3 for node in nodes if node.op_type == "Conv")


def test_a_relu_behind_belongs_to_its_convolution(separate_relus):
    network = network_of_model(separate_relus, "caffe")
    images = parity_image(24, 24)[np.newaxis]

    def reference(name, activation):
        return network.reference(SubModel((name,), Activation(activation), "keras"), images)[name]

    np.testing.assert_array_equal(reference("second.conv", "relu"), reference("second_relu", "relu"))
    np.testing.assert_array_equal(reference("second.conv", "none"), reference("second_relu", "none"))
    np.testing.assert_array_equal(np.maximum(reference("last", "none"), 0), reference("last", "relu"))
    np.testing.assert_allclose(
        reference("both", "relu"), keras_outputs(separate_relus, "both", images), rtol=1e-4, atol=1e-3
    )


def test_the_model_is_left_as_it_was(separate_relus):
    before = [array.copy() for array in separate_relus.get_weights()]
    nodes = [len(layer._inbound_nodes) for layer in separate_relus.layers]
    build(tf2onnx_route, network_of_model(separate_relus, "caffe"), "last", "none", size=(24, 24))
    assert nodes == [len(layer._inbound_nodes) for layer in separate_relus.layers]
    for one, two in zip(before, separate_relus.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_nested_models(converter):
    module, options = converter
    keras.utils.set_random_seed(7)
    inner = keras.Sequential(
        [layers.Input((32, 32, 3)), layers.Conv2D(6, 3, activation="relu", name="deep"), layers.MaxPooling2D(name="p")],
        name="inner",
    )
    image = layers.Input((32, 32, 3))
    outer = layers.Conv2D(4, 3, name="outer")(inner(layers.Rescaling(1 / 255, name="scale")(image)))
    network = network_of_model(keras.Model(image, layers.Flatten()(outer)), "none")
    for names, activation in (("deep+outer", "relu"), ("deep", "none"), ("inner", "relu")):
        require_parity(build(module, network, names, activation, size=(36, 28), **options), network)
    images = parity_image(32, 32)[np.newaxis]
    expected = network.model.get_layer("inner")(images / np.float32(255)).numpy().transpose(0, 3, 1, 2)
    found = network.reference(SubModel(("inner",), source="keras"), images)["inner"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.few(2)
def test_same_bytes_from_one_file(fine_tuned, converter):
    _, path = fine_tuned
    module, options = converter
    one, two = (
        build(module, load_keras_network(choose_keras_file(path), "caffe"), "block2_conv1", size=(32, 32), **options)
        for _ in range(2)
    )
    assert one.model == two.model


@pytest.mark.parametrize(
    ("name", "activation", "message"),
    [
        ("lost", "relu", r"Unknown layer 'lost'.*Closest: 'last'"),
        ("head", "relu", r"Layer 'head' has no feature maps: its output is a tensor of shape \(None, 2\)"),
    ],
)
def test_layers_that_cannot_be_cut(separate_relus, name, activation, message):
    network = network_of_model(separate_relus, "caffe")
    with pytest.raises(UsageError, check=says(message)):
        build(tf2onnx_route, network, name, activation, size=(24, 24))


def test_models_that_are_no_network_of_images():
    with pytest.raises(UsageError, match="Allowed: one image"):
        network_of_model(keras.Sequential([layers.Input((8, 8, 4)), layers.Conv2D(2, 3)]), "none")
    with pytest.raises(UsageError, match="keeps no graph"):
        network_of_model(keras.Sequential([layers.Conv2D(2, 3)]), "none")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_lambda_is_refused_unrun(tmp_path, suffix):
    marker = tmp_path / "ran"
    image = layers.Input((8, 8, 3))
    run = eval(f"lambda x: (open({str(marker)!r}, 'w').close(), x)[1]")
    model = keras.Model(image, layers.Lambda(run, output_shape=(8, 8, 3))(layers.Conv2D(2, 3, name="c")(image)))
    path = tmp_path / f"bad{suffix}"
    model.save(path)
    marker.unlink(missing_ok=True)
    with pytest.raises(WeightsError, match="holds a Lambda layer"):
        load_keras_network(choose_keras_file(path), "caffe")
    assert not marker.exists()


def edited(path, target, change):
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w") as archive:
        for name in source.namelist():
            data = source.read(name)
            archive.writestr(name, change(json.loads(data)) if name == "config.json" else data)
    return target


def test_code_from_elsewhere_is_refused(tmp_path):
    keras.Sequential([layers.Input((8, 8, 3)), layers.Conv2D(2, 3, name="c")]).save(tmp_path / "good.keras")

    def module(config):
        config["config"]["layers"][1].update(module="os", class_name="system", registered_name="x>system")
        return json.dumps(config)

    def function(config):
        wrapped = {"class_name": "function", "module": "builtins", "config": "exec", "registered_name": "exec"}
        config["config"]["layers"][1]["config"]["activation"] = wrapped
        return json.dumps(config)

    for change in (module, function):
        path = edited(tmp_path / "good.keras", tmp_path / "bad.keras", change)
        with pytest.raises(WeightsError, match="needs code of its own"):
            load_keras_network(choose_keras_file(path), "caffe")


def test_files_that_are_no_models(tmp_path):
    good = tmp_path / "good.keras"
    keras.Sequential([layers.Input((8, 8, 3)), layers.Conv2D(2, 3, name="c")]).save(good)
    data = good.read_bytes()
    cut, signature = data[: len(data) // 2], b"\x89HDF\r\n\x1a\n"
    for name, content, words in (
        ("a.keras", b"", "neither HDF5"),
        ("b.keras", cut, "not a readable Keras model"),
        ("c.h5", signature + data, "not a readable Keras model"),
        ("d.h5", signature[:4], "neither HDF5"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(WeightsError, match=words):
            load_keras_network(choose_keras_file(tmp_path / name), "none")
    path = edited(good, tmp_path / "e.keras", lambda config: "{}")
    with pytest.raises(WeightsError, match="Keras cannot load"):
        load_keras_network(choose_keras_file(path), "caffe")


def test_an_external_link_is_not_followed(tmp_path):
    import h5py

    path = tmp_path / "link.h5"
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = "{}"
        file["model_weights"] = h5py.ExternalLink("/etc/other.h5", "/")
    with pytest.raises(WeightsError, match="holds a link, 'model_weights'"):
        load_keras_network(choose_keras_file(path), "caffe")


def test_weights_alone_are_no_model(tmp_path):
    path = tmp_path / "w.weights.h5"
    keras.Sequential([layers.Input((8, 8, 3)), layers.Conv2D(2, 3, name="c")]).save_weights(path)
    with pytest.raises(WeightsError, match="holds weights and no model"):
        load_keras_network(choose_keras_file(path), "caffe")


def test_operations_that_onnx_lacks_are_named():
    image = layers.Input((32, 32, 3))
    values = keras.ops.erfinv(layers.Conv2D(4, 3, name="c")(image))
    model = keras.Model(image, layers.Conv2D(2, 1, name="last")(values))
    with pytest.raises(UsageError, match="ONNX has no operator for Erfinv"):
        build(tf2onnx_route, network_of_model(model, "none"), "last", size=(32, 32))
