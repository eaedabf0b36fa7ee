"""Networks of keras.applications, and what they are made of: convolutions in groups, gelu, operations, attention."""

import importlib
import json
import re

import numpy as np
import pytest

from fmedge.data.images import parity_image
from fmedge.model.keras_input import read_input
from fmedge.model.preprocessing import PREPROCESSINGS
from fmedge.model.submodel import ExportOptions, Format
from fmedge.workflow.artifacts import run_batches
from fmedge.workflow.exports import export_submodel
from fmedge.workflow.layers import list_layers
from support.places import ROOT

pytestmark = pytest.mark.keras
tf = pytest.importorskip("tensorflow", reason="needs TensorFlow: pip install 'fmedge[export]'")
pytest.importorskip("tf2onnx", reason="needs tf2onnx: pip install 'fmedge[export]'")
from fmedge.export.tensorflow.keras_file import read_keras_model  # noqa: E402
from fmedge.export.tensorflow.keras_import import keras  # noqa: E402
from fmedge.export.tensorflow.keras_layers import keras_rows  # noqa: E402
from fmedge.export.tensorflow.trace import multiplications  # noqa: E402
from support.keras_applications import APPLICATIONS, WAYS, application, in_range, prepared, taps, way_of  # noqa: E402

layers = keras.layers
FORMATS = [Format.ONNX, Format.TFLITE]


def rows_of(model):
    return {row.name: row for row in keras_rows(model, model.inputs[0].shape[1:3])}


def export(model, names, activation, kind, folder, **options):
    options = ExportOptions(format=kind, **{"preprocessing": "tf", **options})
    artifact = export_submodel(names, activation, keras=model, models=folder, options=options)
    assert artifact.card.parity.snr_db >= 100
    return artifact


# What they need done to pixels.


@pytest.mark.parametrize("module", WAYS)
def test_each_network_s_preprocessing(module):
    pixels = np.random.default_rng(3).integers(0, 256, (2, 5, 7, 3)).astype(np.float64)
    way = PREPROCESSINGS[WAYS[module]]
    factors, offsets = way.affine()
    ordered = pixels[..., ::-1] if way.channel_order == "BGR" else pixels
    expected = getattr(keras.applications, module).preprocess_input(pixels.copy())
    np.testing.assert_allclose(ordered * factors - offsets, expected, rtol=1e-6, atol=1e-6)


def test_the_table_in_the_documentation():
    text = (ROOT / "docs/networks.md").read_text()
    listed = re.findall(r"^\| `(\w+)` \|.*\| (.+) \|$", text, re.MULTILINE)
    ways = {name: said.strip("`").removeprefix("--preprocessing ") for name, said in listed}
    assert {name: "none" if way.startswith("nothing") else way for name, way in ways.items()} == WAYS
    modules = {name for name, part in vars(keras.applications).items() if hasattr(part, "preprocess_input")}
    assert set(WAYS) == modules - {"imagenet_utils", "resnet50"}


def small(module, builder, *args, **options):
    """A network of the kind with a few channels."""
    keras.utils.set_random_seed(1)
    found = getattr(importlib.import_module(f"keras.src.applications.{module}"), builder)
    return found(*args, **{"weights": None, "include_top": False, "input_shape": (64, 64, 3), **options})


def two_blocks(values, kernel, activation, se_ratio):
    from keras.src.applications.mobilenet_v3 import _inverted_res_block, relu

    values = _inverted_res_block(values, 1, 16, 3, 2, se_ratio, relu, 0)
    return _inverted_res_block(values, 3, 16, kernel, 1, se_ratio, activation, 1)


_BLOCK = {"kernel_size": 3, "id_skip": True, "se_ratio": 0.25}
SMALL = {
    "mobilenet_v3": lambda: small("mobilenet_v3", "MobileNetV3", two_blocks, 32),
    "efficientnet": lambda: small(
        "efficientnet",
        "EfficientNet",
        *(1.0, 1.0, 64),
        blocks_args=[
            {**_BLOCK, "repeats": 2, "filters_in": 32, "filters_out": 8, "expand_ratio": 1, "strides": 1},
            {**_BLOCK, "repeats": 1, "filters_in": 8, "filters_out": 16, "expand_ratio": 6, "strides": 2},
        ],
    ),
    "efficientnet_v2": lambda: small(
        "efficientnet_v2",
        "EfficientNetV2",
        *(1.0, 1.0, 64),
        blocks_args=[
            {
                "kernel_size": 3,
                "num_repeat": 2,
                "input_filters": 32,
                "output_filters": 8,
                "expand_ratio": 1,
                "se_ratio": 0,
                "strides": 1,
                "conv_type": 1,
            },
            {
                "kernel_size": 3,
                "num_repeat": 1,
                "input_filters": 8,
                "output_filters": 16,
                "expand_ratio": 4,
                "se_ratio": 0.25,
                "strides": 2,
                "conv_type": 0,
            },
        ],
    ),
    "convnext": lambda: small("convnext", "ConvNeXt", [1, 1, 1, 1], [8, 8, 8, 16], 0.1),
}
"""The networks that prepare pixels themselves."""


@pytest.fixture(scope="module", params=SMALL)
def small_one(request, tmp_path_factory):
    """Such a network, its kind, and the folder of its two files."""
    model = in_range(SMALL[request.param]())
    folder = tmp_path_factory.mktemp(request.param)
    for suffix in ("keras", "h5"):
        model.save(folder / f"model.{suffix}")
    return request.param, model, folder


@pytest.mark.few(2)
@pytest.mark.filterwarnings("ignore")
def test_networks_that_prepare_pixels_need_nothing(small_one):
    _, model, folder = small_one
    takes = read_input(json.loads(model.to_json()))
    assert takes.prepared_by
    rows = list_layers(keras=folder / "model.keras")
    kinds = [next(row.kind for row in rows if row.name == takes.prepared_by), *(row.kind for row in rows[:1])]
    assert {"Rescaling", "Normalization"} & set(kinds)
    assert list_layers(keras=folder / "model.h5") == rows


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    "small_one",
    ["mobilenet_v3", *(pytest.param(name, marks=pytest.mark.slow) for name in SMALL if name != "mobilenet_v3")],
    indirect=True,
)
def test_small_networks(small_one, kind, tmp_path):
    _, model, folder = small_one
    convolutions = [row.name for row in rows_of(model).values() if "Conv2D" in row.kind]
    names = [convolutions[1], convolutions[-1], list(rows_of(model))[-1]]
    source, activation = (model, "none") if kind == Format.ONNX else (folder / "model.h5", "relu")
    artifact = export(source, names, activation, kind, tmp_path, preprocessing=None)
    assert artifact.card.options.preprocessing == "none"


# What they are made of.


def grouped():
    """Convolutions in groups: Keras has XLA compile them."""
    image = layers.Input((32, 32, 3))
    values = layers.Conv2D(6, 3, groups=3, padding="same", name="first")(image)
    values = layers.Conv2D(12, 3, groups=2, strides=2, padding="same", activation="relu", name="second")(values)
    values = layers.Conv2D(12, 3, groups=12, dilation_rate=2, name="each")(values)
    return keras.Model(image, layers.Conv2D(4, 1, name="joined")(values)), ["first", "second", "each", "joined"]


def with_gelu():
    """The exact gelu, by erfc: an activation, a layer and an operation, behind a convolution and a dense layer."""
    image = layers.Input((24, 24, 3))
    values = layers.Conv2D(8, 3, activation="gelu", name="fused")(image)
    values = layers.Activation("gelu", name="apart")(layers.Dense(6, name="dense")(values))
    values = keras.ops.gelu(layers.Conv2D(6, 3, name="plain")(values))
    return keras.Model(image, layers.Conv2D(4, 3, name="end")(values)), ["fused", "apart", "dense", "plain", "end"]


def the_same_twice():
    """Layers of which two names show the same values, with their activation or without it."""
    image = layers.Input((24, 24, 3))
    values = layers.BatchNormalization(name="norm")(layers.Conv2D(8, 3, name="conv", use_bias=False)(image))
    values = layers.ReLU(6, name="relu")(values)
    values = layers.Activation("swish", name="swish")(layers.DepthwiseConv2D(3, name="depth")(values))
    return keras.Model(image, layers.Conv2D(4, 1, name="end")(values)), ["norm", "relu", "depth", "swish"]


def attentive():
    """Squeeze and excitation: once with axes kept and an operation as its gate, once through a reshape."""
    image = layers.Input((32, 32, 3))
    values = layers.Conv2D(8, 3, strides=2, activation="swish", name="conv")(image)
    gate = layers.Conv2D(8, 1, name="gate")(layers.GlobalAveragePooling2D(keepdims=True, name="kept")(values))
    values = layers.Multiply(name="one")([values, keras.ops.relu6(gate + 3.0) * (1 / 6)])
    vector = layers.GlobalMaxPooling2D(name="vector")(values)
    gate = layers.Conv2D(8, 1, activation="sigmoid", name="after")(layers.Reshape((1, 1, 8), name="shaped")(vector))
    values = layers.Multiply(name="two")([values, gate])
    return keras.Model(image, layers.Conv2D(4, 3, name="end")(values)), ["conv", "gate", "one", "after", "two", "end"]


def scaled():
    """Layers that keras.layers does not have, within nested models too."""
    from keras.src.applications.convnext import LayerScale, StochasticDepth
    from keras.src.applications.inception_resnet_v2 import CustomScaleLayer

    inner_image = layers.Input((32, 32, 8))
    inner = keras.Model(inner_image, LayerScale(0.5, 8, name="scale")(inner_image + 2.0), name="inner")
    image = layers.Input((32, 32, 3))
    values = layers.Conv2D(8, 3, padding="same", activation="relu", name="conv")(image)
    branch = StochasticDepth(0.5, name="depth")(inner(values))
    values = CustomScaleLayer(0.2, name="sum")([values, branch])
    return keras.Model(image, layers.Conv2D(4, 3, name="end")(values)), ["conv", "scale", "depth", "sum", "end"]


MODELS = {"grouped": grouped, "gelu": with_gelu, "same": the_same_twice, "attentive": attentive, "scaled": scaled}


@pytest.fixture(scope="module", params=MODELS)
def made(request, tmp_path_factory):
    """A model, what to cut it at, and its .h5 file."""
    keras.utils.set_random_seed(4)
    model, names = MODELS[request.param]()
    path = tmp_path_factory.mktemp(request.param) / "model.h5"
    model.save(path)
    return model, names, path


@pytest.mark.few(5)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "source"),
    [
        (Format.ONNX, "object"),
        (Format.TFLITE, "file"),
        pytest.param(Format.ONNX, "file", marks=pytest.mark.slow),
        pytest.param(Format.TFLITE, "object", marks=pytest.mark.slow),
    ],
)
def test_parts_are_cut_at_parity(made, kind, source, tmp_path):
    model, names, path = made
    if source == "object":
        artifact = export(model, names, "relu", kind, tmp_path)
    else:
        artifact = export(path, names, "none", kind, tmp_path, preprocessing="caffe", size=(40, 48))
    assert sorted(artifact.card.submodel.taps) == sorted(names)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_the_same_values_by_two_names(kind, layout, tmp_path):
    model, names = the_same_twice()
    for activation in ("relu", "none"):
        artifact = export(model, names, activation, kind, tmp_path, output_layout=layout)
        found = next(run_batches(artifact, [parity_image(24, 24)[np.newaxis]]))
        pairs = ("depth", "swish"), ("norm", "relu")
        for one, other in pairs:
            np.testing.assert_array_equal(found[one], found[other])


@pytest.mark.filterwarnings("ignore")
def test_an_h5_file_is_the_model_that_was_saved(made):
    model, _, path = made
    again = read_keras_model(path)
    pixels = prepared("tf", model.inputs[0].shape[1])
    np.testing.assert_array_equal(again.predict(pixels, verbose=0), model.predict(pixels, verbose=0))


def test_the_work_is_what_tensorflow_does(made):
    """Counted in the graph that is traced, in which Keras' convolutions in groups are functions."""
    model, _, _ = made
    image = tf.TensorSpec((1, *model.inputs[0].shape[1:]), tf.float32)
    traced = tf.function(lambda pixels: model(pixels, training=False), autograph=False).get_concrete_function(image)
    assert sum(row.macs for row in rows_of(model).values()) == multiplications(traced.graph)


def test_what_attention_sees():
    rows = rows_of(attentive()[0])
    seen = {name: (row.stride, row.receptive_field) for name, row in rows.items()}
    assert seen["conv"] == ((2, 2), (3, 3))
    assert {name for name, row in rows.items() if row.stride is None} >= {"kept", "gate", "vector", "shaped", "after"}
    assert {seen[name] for name in ("one", "two", "end")} == {((2, 2), None)}
    assert rows["vector"].obstacle == "a tensor of shape (None, 8)"


def test_rows_of_layers_along_channels():
    image = layers.Input((32, 32, 3))
    values = layers.LayerNormalization(name="norm")(layers.Conv2D(8, 4, strides=4, name="stem")(image))
    values = layers.Dense(16, name="dense")(values)
    values = layers.Conv2D(16, 7, padding="same", groups=16, name="wide")(values)
    spread = layers.LayerNormalization(axis=(1, 2, 3), name="spread")(values)
    rows = rows_of(keras.Model(image, spread))
    assert {rows[name].receptive_field for name in ("stem", "norm", "dense")} == {(4, 4)}
    assert (rows["wide"].stride, rows["wide"].receptive_field) == ((4, 4), (28, 28))
    assert (rows["dense"].macs, rows["wide"].macs) == (64 * 16 * 8, 64 * 16 * 49)
    assert (rows["spread"].stride, rows["spread"].receptive_field) == (None, None)


# The networks themselves.


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("source", "kind", "activation"),
    [
        (".keras", Format.ONNX, "relu"),
        (".keras", Format.TFLITE, "none"),
        (".h5", Format.TFLITE, "relu"),
        ("object", Format.ONNX, "none"),
    ],
    ids=lambda value: str(value).strip("."),
)
@pytest.mark.parametrize("name", APPLICATIONS)
def test_every_network(name, source, kind, activation, tmp_path):
    model = application(name)
    where = taps(list(rows_of(model).values()))
    if source != "object":
        model.save(tmp_path / f"model{source}")
        model = tmp_path / f"model{source}"
    every = [tap for part in where for tap in part]
    artifact = export(model, every, activation, kind, tmp_path, preprocessing=way_of(name))
    assert set(artifact.card.submodel.taps) == set(every)
    export(model, where.last[1], activation, kind, tmp_path, preprocessing=way_of(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", APPLICATIONS)
def test_every_network_s_layers(name):
    model = application(name)
    rows = rows_of(model)
    assert len(rows) >= len(model.layers) - 1
    assert sum(row.parameters for row in rows.values()) == model.count_params()
    maps = [row for row in rows.values() if not row.obstacle and row.shape[1:] != (1, 1)]
    assert all(row.stride is not None for row in maps)
    assert not any(None in row.shape for row in maps)
    assert all(len(row.shape) != 3 for row in rows.values() if row.obstacle)
