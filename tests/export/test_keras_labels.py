"""What is shown of a layer of a Keras model bears the name of what it is: in file name, card, page and messages."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from fmedge.data.images import parity_image
from fmedge.errors import ArtifactError
from fmedge.model.card import ModelCard
from fmedge.model.parity import GATES, measure_parity
from fmedge.model.submodel import Activation, ExportOptions
from fmedge.workflow.artifacts import run_batches
from fmedge.workflow.exports import export_submodel
from fmedge.workflow.request import find_artifact, request_artifact
from support.places import TEST_DATA

pytestmark = [pytest.mark.keras, pytest.mark.filterwarnings("ignore")]
keras = pytest.importorskip("keras", reason="needs TensorFlow: pip install 'fmedge[export]'")
pytest.importorskip("tf2onnx", reason="needs tf2onnx: pip install 'fmedge[export]'")
from fmedge.export.tensorflow import keras_taps  # noqa: E402

layers, ops = keras.layers, keras.ops
PLAIN = ExportOptions(preprocessing="none")


def fused(activation):
    return lambda values: (layers.Conv2D(4, 3, name="conv", activation=activation)(values), None)


def followed(after):
    """A bare convolution, and what reads its output."""

    def make(values):
        bare = layers.Conv2D(4, 3, name="conv")(values)
        return layers.Conv2D(2, 1, name="last")(after(bare)), None

    return make


def two_readers(values):
    bare = layers.Conv2D(4, 3, name="conv")(values)
    return layers.Add()([layers.ReLU()(bare), layers.Conv2D(4, 1)(bare)]), None


def output_and_activation(values):
    bare = layers.Conv2D(4, 3, name="conv")(values)
    return layers.ReLU()(bare), bare


def gated_by_another(values):
    """The product with a sigmoid of something else is no activation."""
    bare = layers.Conv2D(4, 3, name="conv")(values)
    return layers.Multiply()([bare, layers.Activation("sigmoid")(layers.Conv2D(4, 1)(bare))]), None


def own_relu(values):
    return ops.maximum(values, -1.0)


own_relu.__name__ = "relu"

MODELS = {
    "relu": (fused("relu"), "relu"),
    "relu6": (fused("relu6"), "relu6"),
    "sigmoid": (fused("sigmoid"), "sigmoid"),
    "softmax": (fused("softmax"), "softmax"),
    "leaky": (fused("leaky_relu"), "leaky_relu(negative_slope=0.2)"),
    "swish": (fused("swish"), "silu"),
    "tanh": (fused("tanh"), "tanh"),
    "elu": (fused("elu"), "elu"),
    "gelu": (fused("gelu"), "gelu"),
    "none": (fused(None), "linear"),
    "a layer inside": (fused(layers.LeakyReLU(negative_slope=0.1)), "leaky_relu(negative_slope=0.1)"),
    "somebody's own": (fused(own_relu), "custom_relu"),
    "ReLU layer": (followed(layers.ReLU()), "relu"),
    "ReLU of 6": (followed(layers.ReLU(6.0)), "relu6"),
    "ReLU of 4": (followed(layers.ReLU(4.0)), "bounded_relu(max_value=4)"),
    "ReLU with a slope": (followed(layers.ReLU(negative_slope=0.25)), "leaky_relu(negative_slope=0.25)"),
    "LeakyReLU": (followed(layers.LeakyReLU(negative_slope=0.3)), "leaky_relu(negative_slope=0.3)"),
    "PReLU": (followed(layers.PReLU(shared_axes=[1, 2], alpha_initializer="random_uniform")), "prelu"),
    "ELU": (followed(layers.ELU(0.5)), "elu(alpha=0.5)"),
    "Softmax": (followed(layers.Softmax()), "softmax"),
    "Activation": (followed(layers.Activation("hard_sigmoid")), "hard_sigmoid"),
    "Activation linear": (followed(layers.Activation("linear")), "linear"),
    "ops.relu": (followed(ops.relu), "relu"),
    "ops.sigmoid": (followed(ops.sigmoid), "sigmoid"),
    "ops.leaky_relu": (followed(lambda x: ops.leaky_relu(x, 0.3)), "leaky_relu(negative_slope=0.3)"),
    "x * sigmoid(x)": (followed(lambda x: layers.Multiply()([layers.Activation("sigmoid")(x), x])), "silu"),
    "ops.multiply": (followed(lambda x: x * ops.sigmoid(x)), "silu"),
    "normalised before it": (followed(lambda x: layers.ReLU()(layers.BatchNormalization()(x))), "linear"),
    "two readers": (two_readers, "linear"),
    "an output, too": (output_and_activation, "linear"),
    "a product with another": (gated_by_another, "linear"),
}


def build(make):
    keras.utils.set_random_seed(21)
    image = layers.Input((16, 16, 3))
    outputs = [tensor for tensor in make(layers.Rescaling(1 / 64, offset=-2)(image)) if tensor is not None]
    return keras.Model(image, outputs)


NONLINEAR = {
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "bounded_relu(max_value=4)": lambda x: np.clip(x, 0, 4),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softmax": lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "elu": lambda x: np.where(x < 0, np.expm1(x), x),
    "elu(alpha=0.5)": lambda x: np.where(x < 0, 0.5 * np.expm1(x), x),
    "hard_sigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "custom_relu": lambda x: np.maximum(x, -1),
    "linear": lambda x: x,
    **{f"leaky_relu(negative_slope={a})": lambda x, a=a: np.where(x < 0, a * x, x) for a in (0.1, 0.2, 0.25, 0.3)},
}
"""In NumPy: what the names stand for."""


@pytest.mark.parametrize("label", MODELS)
@pytest.mark.parametrize("activation", Activation)
def test_the_activation_that_belongs_to_a_layer(label, activation):
    make, function = MODELS[label]
    assert keras_taps.find_tap(build(make), "conv", activation).function == function


FEW = ("relu6", "none", "ReLU of 4", "LeakyReLU", "ops.sigmoid", "x * sigmoid(x)", "an output, too")


@pytest.mark.parametrize("label", [pytest.param(name, marks=[pytest.mark.slow] * (name not in FEW)) for name in MODELS])
def test_the_name_is_that_of_what_is_shown(label, tmp_path):
    make, function = MODELS[label]
    model = build(make)
    images = parity_image(16, 16)[np.newaxis]
    shown, bare = (
        export_submodel("conv", activation, keras=model, models=tmp_path, options=PLAIN)
        for activation in ("relu", "none")
    )
    assert shown.card.functions == bare.card.functions == (function,)
    word = function.partition("(")[0]
    assert shown.path.name.startswith(f"conv.{word}.fp32.")
    assert bare.path.name.startswith("conv.none.fp32.")
    assert ModelCard.from_json(shown.card.to_json()) == shown.card
    kernel, bias = model.get_layer("conv").get_weights()
    before = keras.ops.conv(images.astype(np.float32) / 64 - 2, kernel).numpy().astype(np.float64) + bias
    outputs = [next(run_batches(artifact, [images]))["conv"].transpose(0, 2, 3, 1) for artifact in (shown, bare)]
    assert measure_parity(outputs[1], before, GATES["fp32"]).passed
    if function in NONLINEAR:
        assert measure_parity(outputs[0], NONLINEAR[function](before), GATES["fp32"]).passed
    if word not in ("linear", "gelu", "custom_relu"):
        assert not np.allclose(*outputs, atol=1e-3)


@pytest.mark.parametrize(
    ("layer", "function"), [("conv", "linear"), ("bn", "relu"), ("act", "relu"), ("pool", "linear")]
)
def test_every_kind_of_layer_has_a_name(layer, function, tmp_path):
    keras.utils.set_random_seed(3)
    parts = [
        layers.Input((16, 16, 3)),
        layers.Conv2D(4, 3, name="conv"),
        layers.BatchNormalization(name="bn"),
        layers.ReLU(name="act"),
        layers.MaxPooling2D(name="pool"),
    ]
    card = export_submodel(layer, keras=keras.Sequential(parts), models=tmp_path, options=PLAIN).card
    assert card.functions == (function,)


def test_several_taps_have_a_name_each(tmp_path):
    model = build(followed(layers.LeakyReLU(negative_slope=0.1)))
    artifact = export_submodel("last+conv", keras=model, models=tmp_path, options=PLAIN)
    assert artifact.card.submodel.taps == ("conv", "last")
    assert artifact.card.functions == ("leaky_relu(negative_slope=0.1)", "linear")
    assert artifact.path.name.startswith("last+conv.linear+leaky_relu.fp32.")
    assert artifact.card.describe_activation() == "conv after leaky_relu(negative_slope=0.1), last no activation"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labels")
    for name, label in (("leaky", "LeakyReLU"), ("sigmoid", "sigmoid"), ("linear", "none"), ("relu", "ReLU layer")):
        build(MODELS[label][0]).save(folder / f"{name}.keras")
    return folder


@pytest.fixture(autouse=True)
def _photo(tmp_path):
    Image.fromarray(parity_image(16, 16)).save(tmp_path / "photo.png")


def header_of(page):
    return json.loads(page.partition(b'id="header">')[2].partition(b"</script>")[0])


def words_for(files, name):
    return ("--keras", files / f"{name}.keras", "--layer", "conv", "--preprocessing", "none")


def test_a_run_finds_what_was_exported_under_its_true_name(fmedge_inprocess, files, tmp_path):
    said = fmedge_inprocess("export", *words_for(files, "sigmoid"))
    assert said.stdout.startswith("models/conv.sigmoid.fp32.")
    assert "after sigmoid" in said.stderr
    assert (
        "Exporting"
        not in fmedge_inprocess("run", "photo.png", *words_for(files, "sigmoid"), "--save-maps", "maps.npz").stderr
    )
    assert np.load(tmp_path / "maps.npz")["activation"] == "sigmoid"
    assert header_of((tmp_path / "photo.conv.html").read_bytes())["captions"]["title"] == "conv, after sigmoid"
    model = said.stdout.strip()
    assert "activation     after sigmoid\n" in fmedge_inprocess("info", model).stdout
    assert json.loads(fmedge_inprocess("info", model, "--json").stdout)["functions"] == ["sigmoid"]
    line = fmedge_inprocess("run", "photo.png", "--model", model, "--activation", "both", code=2).stderr
    assert "'conv' ends in sigmoid; a page can compute only ReLU" in line


def test_both_of_a_model_without_an_activation_is_one_side(fmedge_inprocess, files, tmp_path):
    model = fmedge_inprocess("export", *words_for(files, "linear")).stdout.strip()
    fmedge_inprocess("run", "photo.png", "--model", model, "--activation", "both")
    page = header_of((tmp_path / "photo.conv.both.html").read_bytes())
    assert page["views"] == ["relu"]
    assert page["captions"]["title"] == "conv, no activation"


def test_values_before_an_activation_and_without_one(fmedge_inprocess, files, tmp_path):
    said = fmedge_inprocess("run", "photo.png", *words_for(files, "sigmoid"), "--activation", "none").stderr
    assert "conv.none.fp32" in said
    title = header_of((tmp_path / "photo.conv.none.html").read_bytes())["captions"]["title"]
    assert title == "conv, before sigmoid"
    said = fmedge_inprocess("run", "photo.png", *words_for(files, "linear")).stderr
    assert "Exporting 'conv' of" in said
    assert header_of((tmp_path / "photo.conv.html").read_bytes())["captions"]["title"] == "conv, no activation"


@pytest.mark.parametrize("name", ["sigmoid", "leaky"])
def test_both_is_refused_where_the_page_would_need_another_function(fmedge_inprocess, files, name, tmp_path):
    line = fmedge_inprocess(
        "run", "photo.png", *words_for(files, name), "--activation", "both", code=2
    ).stderr.splitlines()[-1]
    assert name in line
    assert "a page can compute only ReLU" in line
    assert len(line) <= 200
    assert list(tmp_path.glob("*.html")) == []


@pytest.mark.parametrize(("name", "views"), [("relu", ["relu", "raw"]), ("linear", ["raw"])])
def test_both_where_the_page_has_the_function(fmedge_inprocess, files, name, views, tmp_path):
    fmedge_inprocess("run", "photo.png", *words_for(files, name), "--activation", "both")
    page = header_of((tmp_path / "photo.conv.both.html").read_bytes())
    assert page["views"] == views
    assert page["captions"]["title"] == {"relu": "conv, before and after ReLU", "linear": "conv, no activation"}[name]


def test_a_card_without_names_is_not_taken(files, tmp_path):
    """As they were written before cards had names: what they show is not known."""
    request = request_artifact("conv", keras=files / "relu.keras", models=tmp_path, options=PLAIN)
    made = export_submodel("conv", keras=files / "relu.keras", models=tmp_path, options=PLAIN)
    found = find_artifact(request)
    assert found is not None
    assert found.path == made.path
    old = replace(made.card, functions=())
    assert not request.accepts(old)
    assert old.shown("conv") == "activation"
    assert old.describe_activation() == "after its activation"


@pytest.mark.parametrize("wrong", [["relu", "relu"], ["<b>"], [3], ["relu\u001b[31m"], ["a" * 60], "relu", [""]])
def test_names_in_a_card_are_checked(files, tmp_path, wrong):
    made = export_submodel("conv", keras=files / "relu.keras", models=tmp_path, options=PLAIN, verify=False)
    data = json.loads(made.card.to_json())
    with pytest.raises(ArtifactError):
        ModelCard.from_json(json.dumps({**data, "functions": wrong}))


def test_verify_holds_the_names_against_the_model(fmedge_inprocess, files):
    model = fmedge_inprocess("export", *words_for(files, "leaky")).stdout.strip()
    fmedge_inprocess("verify", model, "--keras", files / "leaky.keras")
    true, said = "leaky_relu(negative_slope=0.3)", "relu"
    inside = onnx.load(model)
    for entry in inside.metadata_props:
        entry.value = entry.value.replace(true, said)
    onnx.save(inside, model)
    card = json.loads(Path(f"{model}.json").read_text().replace(true, said))
    card["file_sha256"] = hashlib.sha256(Path(model).read_bytes()).hexdigest()
    Path(f"{model}.json").write_text(json.dumps(card))
    line = fmedge_inprocess("verify", model, "--keras", files / "leaky.keras", code=4).stderr
    assert "is 'after ReLU' by its card and 'after leaky_relu(negative_slope=0.3)' by its network" in line


def test_every_word_of_keras_is_known():
    """Keras' own functions by their names; what it gains later is named, too."""
    for name in ("relu", "relu6", "sigmoid", "softmax", "tanh", "elu", "selu", "gelu", "silu", "mish", "softplus"):
        assert keras_taps.describe(keras.activations.get(name)) == name
    assert keras_taps.describe(keras.activations.get("swish")) == "silu"
    assert keras_taps.describe(lambda x: x) == "custom"


CASES = TEST_DATA / "cases" / "keras"


@pytest.mark.skipif(not CASES.is_dir(), reason=f"needs the small Keras models in {CASES}")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("conv_bn_relu", "linear"),
        ("fused_leaky_relu", "leaky_relu(negative_slope=0.2)"),
        ("fused_relu6", "relu6"),
        ("fused_sigmoid", "sigmoid"),
        ("fused_softmax", "softmax"),
        ("ops_leaky", "leaky_relu(negative_slope=0.3)"),
        ("ops_relu", "relu"),
        ("out_and_act", "linear"),
        ("sep_LeakyReLU", "leaky_relu(negative_slope=0.2)"),
        ("sep_PReLU", "prelu"),
        ("sep_ReLU6", "relu6"),
        ("sep_Softmax", "softmax"),
        ("sep_Swish", "silu"),
        ("sep_sigmoid", "sigmoid"),
        ("swish_mul", "silu"),
        ("two_readers", "linear"),
    ],
)
def test_models_of_others(name, function, tmp_path):
    path = CASES / f"{name}.keras"
    artifact = export_submodel("conv", keras=path, models=tmp_path, options=PLAIN)
    assert artifact.card.functions == (function,)
    assert artifact.card.parity is not None
    assert artifact.card.parity.passed
