"""Files that Keras 2 wrote are cut as Keras 2 computed them, or refused with what it is that Keras 3 lacks."""

import json
import shutil

import numpy as np
import pytest

from fmedge.errors import WeightsError
from fmedge.model.submodel import Activation, SubModel
from fmedge.model.weights import choose_keras_file
from support import keras2
from support.keras2_values import MODELS, image, some
from support.messages import says
from support.places import ROOT, TEST_DATA

pytestmark = pytest.mark.keras
pytest.importorskip("tensorflow", reason="needs TensorFlow: pip install 'fmedge[export]'")
from fmedge.export.tensorflow.keras_calls import find_place  # noqa: E402
from fmedge.export.tensorflow.keras_file import read_keras_model  # noqa: E402
from fmedge.export.tensorflow.keras_import import keras  # noqa: E402
from fmedge.export.tensorflow.keras_network import load_keras_network, network_of_model  # noqa: E402
from fmedge.model.preprocessing import Preprocessing  # noqa: E402

layers = keras.layers
VALUES = json.loads((ROOT / "tests/support/keras2_values.json").read_text())


def network_of(path, scale=1.0, offset=0.0):
    return load_keras_network(choose_keras_file(path), Preprocessing("RGB", (offset,), scale=scale))


def own_output(network, name, pixels):
    """A layer's own output, (N, H, W, C), for an image as it is before preparation."""
    fused = getattr(find_place(network.model, name).node.operation, "activation", None)
    linear = fused is None or fused is keras.activations.linear
    cut = SubModel((name,), Activation.NONE if linear else Activation.RELU, "keras")
    if network.preprocessing.channel_order == "GREY":
        pixels = np.repeat(pixels, 3, axis=3)
    return network.reference(cut, pixels)[name].transpose(0, 2, 3, 1)


@pytest.mark.imagenet
@pytest.mark.parametrize("file", MODELS)
def test_published_models_give_what_keras_2_computes(file):
    scale, offset, names = MODELS[file]
    network = network_of(TEST_DATA / "public_models" / file, scale, offset)
    size = [extent or 40 for extent in network.model.inputs[0].shape[1:]]
    for name in names:
        found = some(own_output(network, name, image(*size).astype(np.uint8)))
        np.testing.assert_allclose(found, VALUES[file][name], rtol=1e-4, atol=1e-4 * np.abs(found).max())


def pixels_for(model):
    return np.random.default_rng(4).integers(0, 256, (1, *(extent or 32 for extent in model.inputs[0].shape[1:])))


def sequential():
    return keras.Sequential(
        [
            layers.Input((32, 32, 3)),
            layers.DepthwiseConv2D(3, activation="relu", name="depthwise"),
            layers.Conv2D(4, 3, name="first"),
            layers.SpatialDropout2D(0.2),
            layers.SeparableConv2D(5, 3, name="separable"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(),
            layers.Conv2DTranspose(3, 3, strides=2, name="up"),
            layers.Conv2D(6, 3, activation="relu", name="last"),
            layers.Flatten(),
            layers.Dense(2),
        ],
        name="plain",
    )


def branches():
    """Names with slashes, operations between layers, several inputs of a layer."""
    image = layers.Input((32, 32, 3), name="image")
    values = layers.Conv2D(4, 3, padding="same", name="conv1|conv")(keras.ops.true_divide(image, 127.5))
    gate = keras.ops.multiply(keras.ops.relu6(keras.ops.add(values, 3.0)), 1 / 6)
    values = keras.ops.multiply(values, gate)
    values = layers.Concatenate(name="both")([values, layers.Conv2D(2, 1, name="conv2|conv")(values)])
    return keras.Model(image, layers.Conv2D(3, 3, name="last")(values), name="branches")


def nested():
    """A model as fine-tuning makes them: augmentation, a network of layers that is called twice, a head."""
    inner = keras.Sequential(
        [layers.Input((16, 16, 3)), layers.Conv2D(3, 3, padding="same", name="deep"), layers.ReLU()]
    )
    base = layers.Input((32, 32, 3))
    trunk = keras.Model(base, layers.MaxPooling2D(name="pool")(layers.Conv2D(3, 3, padding="same", name="stem")(base)))
    image = layers.Input((32, 32, 3), name="image")
    augmented = keras.Sequential([layers.Input((32, 32, 3)), layers.RandomFlip(name="flip")], name="augment")(image)
    values = inner(inner(trunk(augmented)))
    return keras.Model(image, layers.Conv2D(4, 3, name="last")(values), name="nested")


def nested_in_a_row():
    """Teachable Machine's form: a sequential model of sequential models."""
    base = layers.Input((32, 32, 3))
    trunk = keras.Model(base, layers.DepthwiseConv2D(3, name="deep")(layers.Conv2D(3, 3, name="stem")(base)))
    first = keras.Sequential([layers.Input((32, 32, 3)), trunk, layers.GlobalAveragePooling2D()], name="features")
    second = keras.Sequential([layers.Input((3,)), layers.Dense(2)], name="head")
    return keras.Sequential([layers.Input((32, 32, 3)), first, second], name="teachable")


KINDS = {kind.__name__: kind for kind in (sequential, branches, nested, nested_in_a_row)}
TAPS = {
    "sequential": ["depthwise", "first", "separable", "norm", "up", "last"],
    "branches": ["conv1|conv", "both", "conv2|conv", "last"],
    "nested": ["stem", "pool", "deep#1", "deep#2", "last"],
    "nested_in_a_row": ["stem", "deep"],
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("save", [keras2.save_h5, keras2.save_zip])
@pytest.mark.parametrize("kind", KINDS)
def test_forms_of_keras_2(kind, save, tmp_path):
    keras.utils.set_random_seed(8)
    model = KINDS[kind]()
    generator = np.random.default_rng(6)
    model.set_weights([generator.uniform(0.1, 0.9, array.shape) for array in model.get_weights()])
    path = tmp_path / ("model.h5" if save is keras2.save_h5 else "model.keras")
    save(model, path)
    before = path.read_bytes()
    with pytest.raises(Exception, match=r".*"):  # Keras alone does not open it
        keras.saving.load_model(path, compile=False)
    network = network_of(path)
    assert path.read_bytes() == before
    pixels = pixels_for(model)
    for name in TAPS[kind]:
        tensor = find_place(model, name).node.outputs[0]
        found = own_output(network, name.replace("|", "/"), pixels)
        if "#" in name or kind == "nested_in_a_row" or name in ("stem", "pool"):
            expected = own_output(network_of_model(model, "none"), name, pixels)
        else:
            expected = keras.Model(model.inputs, tensor)(pixels.astype(np.float32), training=False).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max(), err_msg=name)


def listed(config):
    """Before Keras 2.2.3: a bare list of layers, the first of which says what it takes."""
    image, first, *others = config["config"]["layers"]
    first["config"]["batch_input_shape"] = image["config"]["batch_input_shape"]
    return {**config, "config": [first, *others]}


@pytest.mark.filterwarnings("ignore")
def test_a_bare_list_of_layers(tmp_path):
    model = sequential()
    keras2.save_h5(model, tmp_path / "model.hdf5", "2.0.8", listed)
    pixels = pixels_for(model)
    expected = keras.Model(model.inputs, model.get_layer("last").output)(pixels.astype(np.float32), training=False)
    found = own_output(network_of(tmp_path / "model.hdf5"), "last", pixels)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def edited(name, **arguments):
    """A change of the arguments of a layer, or with ``class_name`` of its class."""

    def change(config):
        (part,) = (each for each in config["config"]["layers"] if each["config"]["name"] == name)
        part["class_name"] = arguments.pop("class_name", part["class_name"])
        part["config"].update(arguments)
        return config

    return change


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (edited("depthwise", groups=3), "DepthwiseConv2D with groups=3"),
        (edited("last", activation="hard_sigmoid"), r"the activation hard_sigmoid \(0.2 x \+ 0.5\)"),
        (edited("first", class_name="LocallyConnected2D"), "LocallyConnected2D"),
        (edited("norm", class_name="ThresholdedReLU"), "ThresholdedReLU"),
        (edited("norm", class_name="RandomCrop", height=8, width=8), "RandomCrop"),
        (edited("norm", class_name="TFOpLambda", function="image.resize"), "a call of tf.image.resize"),
    ],
)
def test_what_keras_3_lacks_is_named(change, words, tmp_path):
    keras2.save_h5(sequential(), tmp_path / "model.h5", change=change)
    with pytest.raises(WeightsError, check=says(rf"written by Keras 2\.4\.0, .*{words}, which Keras 3 does not have")):
        read_keras_model(tmp_path / "model.h5")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["model.keras", "model.H5", "model.KERAS", "model", "model.bin"])
@pytest.mark.parametrize("kind", [".h5", ".keras"])
def test_the_content_says_what_a_file_is(kind, name, tmp_path):
    model = keras.Sequential([layers.Input((8, 8, 3)), layers.Conv2D(2, 3, name="c")])
    model.save(tmp_path / f"source{kind}")
    shutil.copy(tmp_path / f"source{kind}", tmp_path / name)
    found = read_keras_model(tmp_path / name)
    for mine, theirs in zip(found.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.imagenet
def test_weights_without_a_model_name_their_writer():
    said = says(r"holds weights and no model, written by Keras 2\.1\.5\. .*model\.save")
    with pytest.raises(WeightsError, check=said):
        read_keras_model(TEST_DATA / "public_models" / "MesoInception_DF.h5")
