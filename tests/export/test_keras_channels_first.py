"""Keras models that put the channels first: cut as others, and held against Keras' own computation of the original."""

import json

import numpy as np
import pytest

from fmedge.errors import UsageError
from fmedge.model.keras_input import read_input
from fmedge.model.submodel import ExportOptions, Format
from fmedge.workflow.artifacts import run_batches
from fmedge.workflow.exports import export_submodel
from fmedge.workflow.layers import list_layers
from support.messages import says
from support.places import TEST_DATA

pytestmark = pytest.mark.keras
tf = pytest.importorskip("tensorflow", reason="needs TensorFlow: pip install 'fmedge[export]'")
pytest.importorskip("tf2onnx", reason="needs tf2onnx: pip install 'fmedge[export]'")
from fmedge.export.tensorflow.keras_import import keras  # noqa: E402
from fmedge.export.tensorflow.keras_layout import channels_last  # noqa: E402
from support.keras_models import layers, photo, require_close  # noqa: E402

FIRST = {"data_format": "channels_first"}
SIZE = (24, 28)
FORMATS = [Format.ONNX, Format.TFLITE]


def own_values(model, names, images):
    """What Keras computes in the model as it is, by XLA, which has these convolutions on every processor."""
    piece = keras.Model(model.inputs, [model.get_layer(name).output for name in names])
    pixels = tf.constant(images.transpose(0, 3, 1, 2), tf.float32)
    values = tf.function(piece, jit_compile=True, autograph=False)(pixels, training=False)
    return dict(zip(names, map(np.asarray, keras.tree.flatten(values)), strict=True))


def random_state(model):
    generator = np.random.default_rng(8)
    model.set_weights([generator.uniform(0.2, 1.0, array.shape) for array in model.get_weights()])
    return model


def plain():
    """A classifier as a sequential model."""
    return keras.Sequential(
        [
            layers.Input((3, *SIZE)),
            layers.ZeroPadding2D(((1, 2), (0, 3)), name="pad", **FIRST),
            layers.Conv2D(8, (3, 5), strides=2, activation="relu", name="conv", **FIRST),
            layers.BatchNormalization(axis=1, name="norm"),
            layers.LeakyReLU(name="leaky"),
            layers.MaxPooling2D(2, name="pool", **FIRST),
            layers.SeparableConv2D(6, 3, padding="same", activation="selu", name="separable", **FIRST),
            layers.SpatialDropout2D(0.5, **FIRST),
            layers.Conv2DTranspose(5, 3, strides=2, padding="same", use_bias=False, name="up", **FIRST),
            layers.Flatten(name="flat"),
            layers.Dense(3, activation="softmax", name="head"),
        ]
    ), ["pad", "conv", "norm", "leaky", "pool", "separable", "up"]


def branches():
    """Axes that layers name, weights per channel, attention, numbers, a decoder behind vectors."""
    image = layers.Input((3, *SIZE))
    values = layers.Conv2D(8, 3, padding="same", groups=1, name="one", **FIRST)(image / 255.0 - 0.5)
    values = layers.PReLU(alpha_initializer="random_normal", shared_axes=[2, 3], name="prelu")(values)
    other = layers.DepthwiseConv2D(3, padding="same", dilation_rate=2, name="depth", **FIRST)(values)
    both = layers.Concatenate(axis=1, name="both")([values, layers.AveragePooling2D(1, name="mean", **FIRST)(other)])
    gate = layers.GlobalAveragePooling2D(keepdims=True, name="whole", **FIRST)(both)
    both = layers.Multiply(name="gated")([both, layers.Conv2D(16, 1, activation="sigmoid", name="gate", **FIRST)(gate)])
    small = layers.Conv2D(2, 8, strides=4, name="small", **FIRST)(both)
    vector = layers.Dense(4 * 6 * 7, name="vector")(layers.Flatten(name="flat", **FIRST)(small))
    decoded = layers.Reshape((4, 6, 7), name="shaped")(vector)
    decoded = layers.UpSampling2D((4, 4), name="larger", interpolation="bilinear", **FIRST)(decoded)
    joined = layers.Concatenate(axis=-3, name="joined")([both, decoded])
    spread = layers.Concatenate(axis=2, name="below")([joined, joined])
    return keras.Model(image, layers.Softmax(axis=1, name="classes")(spread)), [
        *("one", "prelu", "depth", "both", "whole", "gated", "gate", "small", "larger", "joined", "below", "classes")
    ]


def nested():
    """A model in a model, called twice; normalisation along every axis; what looks along columns."""
    keras.utils.set_random_seed(3)
    inner_image = layers.Input((8, *SIZE))
    values = layers.Conv2D(8, 3, padding="same", activation="relu", name="deep", **FIRST)(inner_image)
    inner = keras.Model(inner_image, layers.LayerNormalization(axis=1, name="layer_norm")(values), name="inner")
    image = layers.Input((3, *SIZE))
    values = layers.Normalization(axis=1, mean=[120.0, 110.0, 100.0], variance=[900.0, 400.0, 2500.0])(image)
    values = layers.Conv2D(8, 3, padding="same", name="outer", **FIRST)(values)
    values = inner(inner(values))
    shared = layers.BatchNormalization(axis=1, name="shared")
    values = shared(shared(values))
    values = layers.GroupNormalization(2, axis=1, name="group")(values)
    columns = layers.LayerNormalization(axis=-1, name="columns")(values)
    columns = layers.Activation("softmax", name="softmax")(columns)
    values = layers.Conv2D(4, 3, name="last", **FIRST)(layers.Add(name="sum")([values, columns]))
    return keras.Model(image, values), ["outer", "group", "columns", "softmax", "sum", "last"]


MODELS = {"plain": plain, "branches": branches, "nested": nested}
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("branches", "nested")]


@pytest.fixture(scope="module", params=MODELS)
def made(request, tmp_path_factory):
    """A model, layers to cut it at, its own values there, and its file."""
    model, names = MODELS[request.param]()
    random_state(model)
    path = tmp_path_factory.mktemp(request.param) / ("model.h5" if request.param == "plain" else "model.keras")
    model.save(path)
    return model, names, own_values(model, names, photo(SIZE)), path


def as_maps(values):
    return values.transpose(0, 2, 3, 1)


@pytest.mark.filterwarnings("ignore")
def test_the_copy_computes_what_the_model_does(made):
    model, names, expected, _ = made
    copy = channels_last(model)
    piece = keras.Model(copy.inputs, [copy.get_layer(name).output for name in names])
    found = keras.tree.flatten(piece(photo(SIZE).astype(np.float32), training=False))
    for name, values in zip(names, found, strict=True):
        require_close(np.asarray(values), as_maps(expected[name]))
    whole = own_values(model, [model.layers[-1].name], photo(SIZE))[model.layers[-1].name]
    require_close(copy.predict(photo(SIZE), verbose=0), as_maps(whole) if whole.ndim == 4 else whole)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("made", ["plain", *SLOW], indirect=True)
def test_models_are_cut_as_keras_computes_them(made, kind, tmp_path):
    _, names, expected, path = made
    options = ExportOptions(format=kind, preprocessing="none")
    shown = [name for name in names if name not in ("norm", "one", "below")]  # an activation follows these
    artifact = export_submodel(shown, "relu", keras=path, models=tmp_path, options=options)
    assert artifact.card.inputs[0].shape == (None, *SIZE, 3)
    found = next(run_batches(artifact, [photo(SIZE)]))
    for name in shown:
        require_close(found[name], expected[name])


def test_layers_are_listed_with_the_channels_first_in_their_shape(made):
    model, names, expected, path = made
    rows = {row.name: row for row in list_layers(keras=path)}
    assert {name: rows[name].shape for name in names} == {name: expected[name].shape[1:] for name in names}
    assert {layer.name for layer in model.layers[1:]} <= {name.partition("#")[0] for name in rows}
    takes = read_input(json.loads(model.to_json()))
    assert takes.shapes == ((None, *SIZE, 3),)


@pytest.mark.parametrize(
    ("shape", "data_format", "expected"),
    [
        ((3, 20, 24), "channels_first", (20, 24, 3)),
        ((1, None, None), "channels_first", (None, None, 1)),
        ((3, 3, 3), "channels_first", (3, 3, 3)),
        ((20, 24, 3), "channels_last", (20, 24, 3)),
        ((1, 24, 3), "channels_last", (1, 24, 3)),
        ((None, None, 3), "channels_last", (None, None, 3)),
    ],
)
def test_which_axis_is_the_channels_(shape, data_format, expected):
    image = layers.Input(shape)
    model = keras.Model(image, layers.Conv2D(2, 1, name="conv", data_format=data_format)(image))
    assert read_input(json.loads(model.to_json())).shapes == ((None, *expected),)
    assert channels_last(model).inputs[0].shape == (None, *expected)


@pytest.mark.parametrize("kind", FORMATS)
def test_other_sizes_and_colours(kind, tmp_path):
    image = layers.Input((3, None, None))
    model = random_state(keras.Model(image, layers.Conv2D(4, 3, padding="same", name="conv", **FIRST)(image)))
    options = ExportOptions(format=kind, preprocessing="caffe", size=(20, 32))
    artifact = export_submodel("conv", keras=model, models=tmp_path, options=options)
    pixels = photo((20, 32))[..., ::-1] - np.array([103.939, 116.779, 123.68])
    expected = own_values(model, ["conv"], pixels)["conv"]
    require_close(next(run_batches(artifact, [photo((20, 32))]))["conv"], expected)


def test_a_model_with_the_channels_last_stays_what_it_is():
    image = layers.Input((8, 8, 3))
    model = keras.Model(image, layers.Conv2D(2, 3)(image))
    assert channels_last(model) is model


def their_own(values):
    return values


@pytest.mark.parametrize(
    ("activation", "name"),
    [
        ("softmax", "softmax"),
        (layers.Softmax(), "softmax"),
        (layers.PReLU(), "prelu"),
        (their_own, "custom_their_own"),
    ],
)
def test_what_cannot_be_brought_over_is_named(activation, name, tmp_path):
    image = layers.Input((3, 6, 4))
    model = keras.Model(image, layers.Conv2D(4, 3, activation=activation, name="odd", **FIRST)(image))
    words = f"'odd' puts the channels first and applies {name} itself: not brought to channels last"
    with pytest.raises(UsageError, check=says(words)):
        export_submodel("odd", keras=model, models=tmp_path, options=ExportOptions(preprocessing="none"))


@pytest.mark.imagenet
def test_a_published_model(tmp_path):
    path = TEST_DATA / "public_models" / "dl4j_simpleconv2d_model.hdf5"
    options = ExportOptions(preprocessing="unit")
    for activation in ("relu", "none"):
        artifact = export_submodel("conv2d_1", activation, keras=path, models=tmp_path, options=options)
        assert artifact.card.outputs[0].shape == (None, 30, 26, 26)
