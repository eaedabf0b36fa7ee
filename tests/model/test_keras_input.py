"""The input that a Keras model's configuration declares, in the forms of Keras 1, 2 and 3."""

import copy

import pytest

from fmedge.errors import UsageError
from fmedge.model.keras_input import read_input
from fmedge.model.network_input import NetworkInput
from fmedge.model.submodel import OWN_SIZE, ExportOptions
from fmedge.workflow.own_networks import settle_options
from support.messages import says


def layer(kind, name, module="keras.layers", inbound=(), **config):
    return {
        "class_name": kind,
        "module": module,
        "name": name,
        "config": {"name": name, **config},
        "inbound_nodes": inbound,
    }


def first(shape=(None, 32, 48, 3), dtype="float32", name="in"):
    return layer("InputLayer", name, batch_shape=list(shape), dtype=dtype)


def sequential(*layers, name="model"):
    return {"class_name": "Sequential", "name": name, "config": {"name": name, "layers": list(layers)}}


def keras3(name, *extra):
    """Return a call in Keras 3's form."""
    tensor = {"class_name": "__keras_tensor__", "config": {"keras_history": [name, 0, 0]}}
    return [{"args": [tensor, *extra], "kwargs": {}}]


def functional(*layers, outputs, inputs="in"):
    config = {
        "name": "model",
        "layers": list(layers),
        "input_layers": [[inputs, 0, 0]],
        "output_layers": [[outputs, 0, 0]],
    }
    return {"class_name": "Functional", "config": config}


CONV = layer("Conv2D", "conv", inbound=keras3("in"))
RESCALING = layer("Rescaling", "scale", scale=1 / 255, inbound=keras3("in"))
FLIP = layer("RandomFlip", "flip", inbound=keras3("in"))


@pytest.mark.parametrize(
    ("config", "size", "by"),
    [
        (sequential(first(), CONV), (32, 48), None),
        (sequential(first(), RESCALING, CONV), (32, 48), "scale"),
        (sequential(first(), FLIP, layer("Dropout", "drop"), layer("Normalization", "norm"), CONV), (32, 48), "norm"),
        (sequential(first(), CONV, RESCALING), (32, 48), None),
        (sequential(first(), sequential(first(), FLIP, name="aug"), RESCALING, CONV), (32, 48), "scale"),
        (sequential(first(), sequential(first(), FLIP, RESCALING, name="prep"), CONV), (32, 48), "scale"),
        (sequential(sequential(first(), FLIP, name="aug"), RESCALING, CONV), (32, 48), "scale"),
        (sequential(first(), sequential(first(), CONV, name="body"), RESCALING), (32, 48), None),
        (sequential(layer("Conv2D", "conv", batch_input_shape=[None, None, None, 3])), (None, None), None),
        (
            {"class_name": "Sequential", "config": [layer("Conv2D", "c", batch_input_shape=[None, 8, 9, 3])]},
            (8, 9),
            None,
        ),
        (sequential({**CONV, "build_config": {"input_shape": [None, 5, 6, 3]}}), (5, 6), None),
        (functional(first(), CONV, outputs="conv"), (32, 48), None),
        (functional(CONV, RESCALING, first(), outputs="conv"), (32, 48), "scale"),
        (
            functional(
                first(),
                layer("TrueDivide", "divide", "keras.src.ops.numpy", keras3("in", 127.5)),
                layer("Conv2D", "conv", inbound=keras3("divide")),
                outputs="conv",
            ),
            (32, 48),
            "divide",
        ),
        (
            functional(
                first(),
                layer("BatchNormalization", "norm", inbound=keras3("in")),
                layer("Add", "add", inbound=keras3("norm")),
                outputs="add",
            ),
            (32, 48),
            None,
        ),
        (
            functional(
                first(),
                layer("Rescaling", "scale", inbound=[[["in", 0, 0, {}]]]),
                layer("Conv2D", "conv", inbound=[[["scale", 0, 0, {}]]]),
                outputs="conv",
            ),
            (32, 48),
            "scale",
        ),
        (
            functional(
                first(),
                {**sequential(first(name="x"), FLIP, name="aug"), "inbound_nodes": keras3("in")},
                layer("Rescaling", "scale", inbound=keras3("aug")),
                outputs="scale",
            ),
            (32, 48),
            "scale",
        ),
    ],
)
def test_size_and_preparation(config, size, by):
    before = copy.deepcopy(config)
    found = read_input(config)
    assert (found.size, found.channels, found.prepared_by, found.integer) == (size, 3, by, False)
    assert config == before


def test_integers():
    assert read_input(sequential(first(dtype="uint8"), CONV)).integer
    policy = {"class_name": "DTypePolicy", "config": {"name": "uint8"}}
    assert read_input(sequential(first(dtype=policy), CONV)).integer


@pytest.mark.parametrize(
    "config", [None, [], {}, {"config": 3}, {"config": {"layers": [3]}}, sequential(), sequential(CONV)]
)
def test_what_says_nothing(config):
    assert read_input(config) is None


RGB = ((None, 32, 48, 3),)


@pytest.mark.parametrize(
    ("own", "asked", "size", "preprocessing", "note"),
    [
        (NetworkInput(RGB), {"preprocessing": "vgg16"}, (32, 48), "caffe", None),
        (NetworkInput(RGB), {"preprocessing": "tf", "size": (224, 224)}, (224, 224), "tf", None),
        (NetworkInput(RGB), {"preprocessing": "tf", "size": None}, None, "tf", None),
        (NetworkInput(((None, None, None, 3),)), {"preprocessing": "none"}, None, "none", None),
        (
            NetworkInput(RGB, "scale"),
            {},
            (32, 48),
            "none",
            "'scale' in the model prepares the pixels: nothing is added",
        ),
        (NetworkInput(RGB, "scale"), {"preprocessing": "none"}, (32, 48), "none", None),
        (
            NetworkInput(RGB, "scale"),
            {"preprocessing": "unit"},
            (32, 48),
            "unit",
            "too, after the preprocessing asked for",
        ),
        (NetworkInput(RGB, integer=True), {}, (32, 48), "none", "The model takes integers"),
        (NetworkInput(((None, 8, 8, 1),)), {"preprocessing": "unit"}, (8, 8), "unit", None),
        (None, {"preprocessing": "unit", "size": (9, 9)}, (9, 9), "unit", None),
    ],
)
def test_options_are_settled(own, asked, size, preprocessing, note):
    options, notes = settle_options(ExportOptions(**asked), own)
    assert (options.size, options.preprocessing) == (size, preprocessing)
    assert type(options.size) is not type(OWN_SIZE)
    assert [note in text for text in notes] == [True] if note else not notes


@pytest.mark.parametrize(
    ("own", "asked", "message"),
    [
        (NetworkInput(RGB), {}, "needs --preprocessing. Allowed: caffe .*tf, torch, unit .*none; or --scale"),
        (None, {"preprocessing": "unit"}, "file does not tell its size. Say which: --size"),
        (None, {"size": (9, 9)}, "needs --preprocessing"),
        (NetworkInput(((None, None, 48, 3),)), {"preprocessing": "unit"}, "any x 48 pixels. Say which: --size"),
        (NetworkInput(RGB, integer=True), {"preprocessing": "unit"}, "Use --preprocessing none"),
        (NetworkInput(((None, 8, 8, 1),)), {"preprocessing": "caffe"}, "this model takes grey"),
        (NetworkInput(((None, 8, 8, 4),)), {}, r"takes \(None, 8, 8, 4\). Allowed: one image"),
        (NetworkInput(((None, 3, 8, 8),)), {}, r"takes \(None, 3, 8, 8\). Allowed: one image"),
        (NetworkInput((*RGB, (None, 4))), {}, r"takes \(None, 32, 48, 3\), \(None, 4\). Allowed: one image"),
        (NetworkInput(((None, 784),)), {}, r"takes \(None, 784\). Allowed: one image"),
    ],
)
def test_what_is_not_settled_is_asked(own, asked, message):
    with pytest.raises(UsageError, check=says(message)):
        settle_options(ExportOptions(**asked), own)
