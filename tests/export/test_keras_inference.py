"""Keras models are cut as they are at inference, and held against Keras' own computation of the whole model."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from fmedge.errors import ParityError, UsageError
from fmedge.model.parity import GATES, measure_parity
from fmedge.model.preprocessing import Preprocessing
from fmedge.model.submodel import ExportOptions, Format, Precision
from fmedge.workflow.artifacts import run_batches
from fmedge.workflow.exports import export_submodel
from support.places import ROOT, TEST_DATA

pytestmark = pytest.mark.keras
pytest.importorskip("tensorflow", reason="needs TensorFlow: pip install 'fmedge[export]'")
pytest.importorskip("tf2onnx", reason="needs tf2onnx: pip install 'fmedge[export]'")
from fmedge.export.tensorflow import keras_cut  # noqa: E402
from fmedge.export.tensorflow.keras_import import keras  # noqa: E402
from support.keras_models import chain, conv, export, layers, photo, require_close, run  # noqa: E402
from support.messages import says  # noqa: E402

FORMATS = [Format.ONNX, Format.TFLITE]


def shaken(*parts):
    """A functional model whose layers before the convolution were called for training."""
    keras.utils.set_random_seed(11)
    image = values = layers.Input((32, 32, 3))
    for part in parts:
        values = part(values, training=True)
    return keras.Model(image, conv(activation="relu")(values))


AUGMENTED = {
    "brightness": lambda: chain(layers.RandomBrightness(0.5), conv(activation="relu")),
    "invert": lambda: chain(layers.RandomInvert(1.0, value_range=(0, 255)), conv(activation="relu")),
    "nested": lambda: chain(
        keras.Sequential([layers.RandomFlip(), layers.RandomTranslation(0.2, 0.2)], name="augment"),
        layers.Rescaling(1 / 255),
        conv(activation="relu"),
    ),
    "dropout called for training": lambda: shaken(layers.Dropout(0.5), layers.GaussianNoise(1.0)),
    "batch statistics": lambda: shaken(layers.BatchNormalization()),
    "pipeline": lambda: chain(layers.Pipeline([layers.RandomContrast(0.5), layers.RandomFlip()]), conv()),
}


@pytest.mark.few(6)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("model", AUGMENTED.values(), ids=AUGMENTED)
def test_what_is_for_training_is_off(model, kind, tmp_path):
    model, images = model(), photo()
    one, two = (export(model, tmp_path / name, format=kind, preprocessing="none") for name in "ab")
    require_close(run(one, images), model.predict(images.astype(np.float32), verbose=0))
    assert one.model == two.model


@pytest.mark.filterwarnings("ignore")
def test_several_images_are_treated_alike(tmp_path):
    model = AUGMENTED["brightness"]()
    images = np.repeat(photo(), 3, axis=0)
    found = run(export(model, tmp_path, preprocessing="none", batch=3), images)
    np.testing.assert_array_equal(found[0], found[2])
    require_close(found, model.predict(images.astype(np.float32), verbose=0))


@pytest.mark.filterwarnings("ignore")
def test_the_judge_does_not_share_the_walk(tmp_path, monkeypatch):
    """Were the walk in training mode, its own replay would agree with it."""
    monkeypatch.setattr(keras_cut, "_at_inference", lambda operation, args, kwargs: operation(*args, **kwargs))
    with pytest.raises(ParityError, match="does not compute what its weights define"):
        export(AUGMENTED["batch statistics"](), tmp_path, preprocessing="none")


class Shy(layers.Layer):
    """A composite that takes no ``training`` and holds what does."""

    def __init__(self):
        super().__init__()
        self.noise = layers.GaussianNoise(1.0)

    def call(self, inputs):
        return self.noise(inputs)


def test_a_composite_without_the_argument(tmp_path):
    model, images = shaken(Shy()), photo()
    require_close(run(export(model, tmp_path, preprocessing="none"), images), model.predict(images, verbose=0))


@pytest.fixture(scope="module")
def reused():
    """A convolution called twice, and two nested models whose layers have the same name."""
    keras.utils.set_random_seed(12)
    image = layers.Input((24, 24, 3))
    twins = [
        keras.Sequential([layers.Input((24, 24, 3)), conv(channels=3, padding="same", activation="relu")], name=name)
        for name in ("left", "right")
    ]
    shared = layers.Conv2D(3, 3, padding="same", activation="relu", name="twice")
    values = shared(shared(twins[1](twins[0](image))))
    return keras.Model(image, layers.Add(name="sum")([values, image]))


@pytest.mark.parametrize("size", [(24, 24), (20, 28)])
def test_each_call_of_a_layer_has_a_name(reused, size, tmp_path):
    images = photo(size)
    left, right, twice = (reused.get_layer(name) for name in ("left", "right", "twice"))
    values, expected = images.astype(np.float32), {}
    for name, layer in (
        ("left/conv", left.layers[0]),
        ("right/conv", right.layers[0]),
        ("twice#1", twice),
        ("twice#2", twice),
    ):
        values = expected[name] = layer(values).numpy()
    artifact = export(reused, tmp_path, "+".join(reversed(expected)), preprocessing="none", size=size)
    assert artifact.card.submodel.taps == tuple(expected)
    found = next(run_batches(artifact, [images]))
    for name, values in expected.items():
        require_close(found[name].transpose(0, 2, 3, 1), values)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("conv", r"Layer 'conv' is called 2 times. Name one call: 'left/conv' to 'right/conv'"),
        ("twice", r"Layer 'twice' is called 2 times. Name one call: 'twice#1' to 'twice#2'"),
        ("twice#3", "Unknown layer 'twice#3'"),
        ("middle/conv", "Unknown layer 'middle/conv'"),
    ],
)
def test_a_name_of_several_calls_asks_which(reused, layer, message, tmp_path):
    with pytest.raises(UsageError, check=says(message)):
        export(reused, tmp_path, layer, preprocessing="none")


ODD_NAMES = ["a b", "свёртка", "c:0", "a+b", "a,b", "all", "image", "q'\"", ".x", "back\\slash", "y" * 200]


@pytest.mark.parametrize("kind", FORMATS)
def test_layers_of_any_name(kind, tmp_path):
    model = chain(*(conv(name, 3, padding="same", activation="relu") for name in ODD_NAMES), shape=(12, 12, 3))
    asked = "+".join(name.replace("\\", "\\\\").replace("+", r"\+") for name in ODD_NAMES)
    artifact = export(model, tmp_path, asked, format=kind, preprocessing="none")
    assert artifact.card.submodel.taps == tuple(ODD_NAMES)
    found = next(run_batches(artifact, [photo((12, 12))]))
    values = photo((12, 12)).astype(np.float32)
    for layer in model.layers:
        values = layer(values)
        require_close(found[layer.name].transpose(0, 2, 3, 1), values)


def test_a_layer_called_all(tmp_path):
    model = chain(conv("all"))
    for written in ("all", r"\all"):
        require_close(run(export(model, tmp_path, written, preprocessing="none"), photo(), "all"), model(photo()))
    with pytest.raises(UsageError, check=says("--layer all knows stock networks alone")):
        export(chain(conv("another")), tmp_path, "all", preprocessing="none")


WAYS = [
    ("caffe", lambda pixels: pixels[..., ::-1] - [103.939, 116.779, 123.68]),
    ("tf", lambda pixels: pixels / 127.5 - 1),
    ("torch", lambda pixels: (pixels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]),
    ("unit", lambda pixels: pixels / 255),
    ("none", lambda pixels: pixels),
    (
        Preprocessing("BGR", (0.1, 0.2, 0.3), scale=1 / 128, std=(1.5, 2.0, 3.0)),
        lambda pixels: (pixels[..., ::-1] / 128 - [0.1, 0.2, 0.3]) / [1.5, 2.0, 3.0],
    ),
]


@pytest.mark.few(6)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(("way", "prepare"), WAYS, ids=["caffe", "tf", "torch", "unit", "none", "formula"])
def test_preprocessing_is_in_the_file(way, prepare, kind, tmp_path):
    """The padding shows whether it is done before the first convolution pads with zeros."""
    model, images = chain(conv(padding="same", activation="relu")), photo()
    artifact = export(model, tmp_path, format=kind, preprocessing=way)
    require_close(run(artifact, images), model.predict(prepare(images.astype(np.float64)), verbose=0))
    assert artifact.card.inputs[0].shape == (None, 32, 32, 3)
    assert artifact.card.preprocessing.channel_order == ("BGR" if way not in ("tf", "torch", "unit", "none") else "RGB")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("way", ["unit", "none"])
def test_grey_is_the_luma_that_pillow_gives(way, kind, tmp_path):
    model, images = chain(conv(padding="same"), shape=(32, 32, 1)), photo()
    artifact = export(model, tmp_path, format=kind, preprocessing=way)
    grey = np.array([np.asarray(Image.fromarray(image).convert("L")) for image in images], np.float32)[..., np.newaxis]
    require_close(run(artifact, images), model.predict(grey / (255 if way == "unit" else 1), verbose=0))
    assert artifact.card.inputs[0].shape == (None, 32, 32, 3)


def test_grey_in_float16(tmp_path):
    """Pillow's weights have more digits than float16."""
    model, images = chain(conv(padding="same"), shape=(32, 32, 1)), photo()
    grey = np.asarray(Image.fromarray(images[0]).convert("L"), np.float32)[np.newaxis, ..., np.newaxis]
    for kind in FORMATS:
        artifact = export(model, tmp_path, format=kind, preprocessing="unit", precision=Precision.FP16)
        require_close(run(artifact, images), model(grey / 255), "fp16")


INSIDE = {
    "rescaling": lambda: layers.Rescaling(1 / 127.5, -1),
    "normalization": lambda: layers.Normalization(mean=[120.0, 110.0, 100.0], variance=[900.0, 400.0, 2500.0]),
    "large normalization": lambda: layers.Normalization(axis=(1, 2, 3), mean=photo()[0], variance=2.0 + photo()[0]),
}


@pytest.mark.few(3)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("inside", INSIDE.values(), ids=INSIDE)
def test_models_that_prepare_pixels_themselves(inside, kind, tmp_path):
    model, images = chain(inside(), conv()), photo()
    artifact, again = (export(model, tmp_path / name, format=kind) for name in "ab")
    assert artifact.card.options.preprocessing == "none"
    assert artifact.model == again.model
    require_close(run(artifact, images), model.predict(images.astype(np.float32), verbose=0))


@pytest.mark.filterwarnings("ignore")
def test_adapted_normalization_at_another_size(tmp_path):
    norm = layers.Normalization()
    norm.adapt(photo().astype(np.float32))
    model, images = chain(norm, conv()), photo((20, 44))
    found = run(export(model, tmp_path, size=(20, 44)), images)
    require_close(found, model.layers[-1](norm(images.astype(np.float32))))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", FORMATS)
def test_integers_stay_integers(kind, tmp_path):
    model = chain(layers.Rescaling(1 / 255), conv(), dtype="uint8")
    artifact = export(model, tmp_path, format=kind)
    require_close(run(artifact, photo()), model.predict(photo(), verbose=0))
    with pytest.raises(UsageError, check=says("Use --preprocessing none")):
        export(model, tmp_path, format=kind, preprocessing="unit")


@pytest.mark.few(2)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("kind", FORMATS)
def test_mixed_precision_is_computed_in_float32(kind, policy, tmp_path):
    keras.config.set_dtype_policy(policy)
    try:
        model = chain(conv("first", 8, activation="relu"), layers.BatchNormalization(), conv())
    finally:
        keras.config.set_dtype_policy("float32")
    artifact, images = export(model, tmp_path, format=kind, preprocessing="unit"), photo()
    full = chain(conv("first", 8, activation="relu"), layers.BatchNormalization(), conv())
    full.set_weights(model.get_weights())
    require_close(run(artifact, images), full.predict(images / 255, verbose=0))
    if policy == "mixed_float16":
        require_close(run(artifact, images), model.predict(images / 255, verbose=0), "fp16")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", FORMATS)
def test_any_size_with_valid_padding(kind, tmp_path):
    model = chain(conv("first", 4, activation="relu"), layers.MaxPooling2D(), conv())
    artifact = export(model, tmp_path, format=kind, preprocessing="unit", size=None)
    for size in ((32, 32), (40, 26), (99, 130)):
        values = photo(size) / 255
        for layer in model.layers:
            values = layer(values)
        require_close(run(artifact, photo(size)), values)


def test_a_fixed_batch_is_no_bound(tmp_path):
    keras.utils.set_random_seed(11)
    model = keras.Sequential([layers.Input(batch_shape=(2, 16, 16, 3)), conv()])
    images = np.concatenate([photo((16, 16))] * 3)
    found = run(export(model, tmp_path, preprocessing="none"), images)
    require_close(found, model.layers[-1](images.astype(np.float32)))


def test_an_open_model_is_exported_open(tmp_path):
    model = chain(conv(), shape=(None, None, 3))
    assert export(model, tmp_path, preprocessing="unit").card.options.size is None


@pytest.mark.parametrize("kind", FORMATS)
def test_what_needs_a_size_says_so(kind, tmp_path):
    model = chain(layers.UpSampling2D(name="up", interpolation="bilinear"), conv(), shape=(None, None, 3))
    with pytest.raises(
        UsageError, check=says(r"'up' cannot be computed for images of any size. Name one: --size HEIGHTxWIDTH")
    ):
        export(model, tmp_path, format=kind, preprocessing="unit")
    export(model, tmp_path, format=kind, preprocessing="unit", size=(16, 16))


class Shapeless(layers.Layer):
    """A layer that cannot be traced, at any size."""

    def compute_output_shape(self, shape):
        return shape

    def call(self, inputs):
        raise ValueError("It is not meant to be.")


def test_no_other_size_is_advised_where_none_helps(tmp_path):
    image = layers.Input((32, 32, 3))
    model = keras.Model(image, conv()(Shapeless(name="odd")(image)))
    with pytest.raises(UsageError, match=r"Keras cannot compute 'odd': It is not meant to be\. Cut before it\.$"):
        export(model, tmp_path, preprocessing="none")
    with pytest.raises(UsageError, check=says(r"The model's own size: --size 32x32\.$")):
        export(model, tmp_path, preprocessing="none", size=(16, 16))


CHANNELS_FIRST = """
import sys, numpy as np
from fmedge.model.submodel import Format
from support.keras_models import chain, conv, export, layers, photo, require_close, run
model = chain(layers.Permute((3, 1, 2)), conv(data_format="channels_first"), layers.Permute((2, 3, 1), name="back"))
twin = chain(conv())
twin.set_weights(model.get_weights())
for kind in Format.ONNX, Format.TFLITE:
    for activation in "relu", "none":
        artifact = export(model, sys.argv[1], format=kind, preprocessing="unit", layer="back")
        require_close(run(artifact, photo(), "back"), twin.predict(photo() / 255, verbose=0))
"""


def test_channels_first_where_tensorflow_has_no_such_convolution(tmp_path):
    """Without oneDNN, as on processors without its instructions, TensorFlow's own is for channels last alone."""
    paths = [str(ROOT), str(ROOT / "tests")]
    process = subprocess.run(
        [sys.executable, "-c", CHANNELS_FIRST, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "TF_ENABLE_ONEDNN_OPTS": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-2000:]


CASES = TEST_DATA / "cases" / "keras"


@pytest.mark.slow
@pytest.mark.imagenet
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", FORMATS)
def test_small_models_of_all_kinds(kind, tmp_path):
    """Every file with a layer called ``conv`` and an image as its input: as Keras computes it on prepared pixels."""
    if not CASES.is_dir():
        pytest.skip(f"no small Keras models in {CASES}: set FMEDGE_TEST_DATA")
    done = 0
    for path in sorted(CASES.glob("*.*")):
        model = keras.saving.load_model(path, compile=False) if path.suffix in (".keras", ".h5") else None
        shape = model and [tuple(entry.shape) for entry in model.inputs]
        named = model and [layer for layer in model.layers if layer.name == "conv"]
        if not named or len(shape) > 1 or shape[0][3] not in (1, 3) or len(named[0]._inbound_nodes) > 1:
            continue
        options = ExportOptions(format=kind)
        try:
            artifact = export_submodel("conv", keras=path, models=tmp_path, options=options)
            factor = 1.0
        except UsageError:
            options = ExportOptions(format=kind, preprocessing="unit")
            artifact = export_submodel("conv", keras=path, models=tmp_path, options=options)
            factor = 255.0
        assert artifact.card.parity.passed, path
        images = photo(artifact.card.options.size or (40, 48))
        if shape[0][3] == 1:
            pixels = np.asarray(Image.fromarray(images[0]).convert("L"))[np.newaxis, ..., np.newaxis]
        else:
            pixels = images
        if model.inputs[0].dtype != "uint8":
            pixels = (pixels / factor).astype(np.float32)
        every = getattr(model, "operations", model.layers)
        follower = every[every.index(named[0]) + 1 :][:2]  # x * sigmoid(x) is two
        tensors = [named[0].output, *(operation.output for operation in follower)]
        own = [keras.Model(model.inputs, tensor).predict(pixels, verbose=0) for tensor in tensors]
        found = run(artifact, images)
        gate = GATES["fp16" if "mixed" in path.name else "fp32"]
        assert any(o.shape == found.shape and measure_parity(found, o, gate).passed for o in own), path
        done += 1
    assert done > 25
