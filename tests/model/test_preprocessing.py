"""What is done to pixels: the names, the formula, and how cards, file names and the command line write them."""

import json
from dataclasses import asdict, replace

import pytest

from fmedge.cli.parsing import parse_preprocessing
from fmedge.errors import ArtifactError, UsageError
from fmedge.export.exporter import describe
from fmedge.export.stock_network import StockNetwork
from fmedge.model.card import ModelCard
from fmedge.model.preprocessing import PREPROCESSINGS, Preprocessing, for_channels
from fmedge.model.submodel import ExportOptions, SubModel, artifact_name
from fmedge.model.weights import UNTRAINED


def test_words_and_synonym():
    assert ExportOptions(preprocessing="vgg16") == ExportOptions(preprocessing="caffe")
    with pytest.raises(
        UsageError, match=r"Unknown preprocessing 'uint'.*Closest: 'unit'.*caffe, tf, torch, unit, none"
    ):
        ExportOptions(preprocessing="uint")
    for wrong in (5, True, {"scale": 2}, ("unit",)):
        with pytest.raises(UsageError, match=r"Unknown preprocessing .*Allowed: caffe, tf"):
            ExportOptions(preprocessing=wrong)


@pytest.mark.parametrize(
    ("word", "x", "prepared"),
    [
        ("caffe", (255, 128, 0), (0 - 103.939, 128 - 116.779, 255 - 123.68)),
        ("tf", (255, 127.5, 0), (1, 0, -1)),
        ("torch", (255, 255, 0), ((1 - 0.485) / 0.229, (1 - 0.456) / 0.224, -0.406 / 0.225)),
        ("unit", (255, 51, 0), (1, 0.2, 0)),
        ("none", (255, 51, 0), (255, 51, 0)),
    ],
)
def test_formula(word, x, prepared):
    found = PREPROCESSINGS[word]
    ordered = x[::-1] if found.channel_order == "BGR" else x
    factors, offsets = found.affine()
    assert [v * f - o for v, f, o in zip(ordered, factors, offsets, strict=True)] == pytest.approx(prepared)
    assert found.is_plain == (word == "none")


def test_each_way_has_its_name_and_stock_keeps_its_own():
    own = SubModel(("conv",), source="keras")
    ways = [*PREPROCESSINGS, Preprocessing("RGB", (0.5,)), Preprocessing("BGR", (0.5,)), Preprocessing("RGB", (0.25,))]
    names = {artifact_name(own, ExportOptions(size=(8, 8), preprocessing=way)) for way in ways}
    assert len(names) == len(ways)
    assert {f"conv.relu.fp32.8x8.{word}.onnx" for word in ("caffe", "tf", "torch", "unit", "plain")} < names
    stock = SubModel(("block1_conv1",))
    assert artifact_name(stock, ExportOptions(preprocessing="vgg16")) == "block1_conv1.relu.fp32.onnx"


def test_one_formula_has_one_form():
    assert repr(Preprocessing("RGB", [1, 2, 3], scale=1)) == repr(Preprocessing("RGB", (1.0, 2.0, 3.0)))  # names use it


@pytest.mark.parametrize(
    "wrong",
    [
        {"channel_order": "rgb"},
        {"mean": "1"},
        {"mean": (True,)},
        {"mean": ()},
        {"mean": (1, 2)},
        {"std": None},
        {"std": (1, 0, 1)},
        {"scale": "1/255"},
        {"scale": float("inf")},
        {"in_model": 1},
    ],
)
def test_a_formula_of_something_else(wrong):
    with pytest.raises(UsageError):
        Preprocessing(**{"channel_order": "RGB", "mean": (0.0,), **wrong})


def test_described():
    assert PREPROCESSINGS["caffe"].describe() == "BGR minus 103.939, 116.779, 123.68, inside the model"
    assert PREPROCESSINGS["none"].describe() == "RGB, 0 to 255, as it is"
    assert (
        Preprocessing("RGB", (0.5,), scale=0.25, std=(2.0,)).describe()
        == "RGB, (x * 0.25 - (0.5)) / (2), inside the model"
    )


def test_grey():
    assert for_channels("unit", 1) == replace(PREPROCESSINGS["unit"], channel_order="GREY")
    assert for_channels("unit", 3) == for_channels("unit", None) == PREPROCESSINGS["unit"]
    for chosen in ("torch", "caffe", Preprocessing("RGB", (1.0, 2.0, 3.0))):
        with pytest.raises(UsageError, match=r"this model takes grey. Allowed: tf, unit, none"):
            for_channels(chosen, 1)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((None,) * 5, None),
        (("torch", None, None, None, None), "torch"),
        ((None, "1/255", None, None, None), Preprocessing("RGB", (0.0,), scale=1 / 255)),
        ((None, "1/128", "0.5", None, "bgr"), Preprocessing("BGR", (0.5,), scale=1 / 128)),
        ((None, None, "1, 2,3", "4,5,6e1", None), Preprocessing("RGB", (1.0, 2.0, 3.0), std=(4.0, 5.0, 60.0))),
        ((None, None, None, None, "bgr"), Preprocessing("BGR", (0.0,))),
    ],
)
def test_command_line(words, expected):
    assert parse_preprocessing(*words) == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("unit", "2", None, None, None), "--preprocessing unit excludes"),
        ((None, "x", None, None, None), "--scale x: not a number"),
        ((None, "1/0", None, None, None), "--scale 1/0: not a number"),
        ((None, "1,2,3", None, None, None), "--scale 1,2,3: 3 numbers. Allowed: 1"),
        ((None, None, "1,2", None, None), "--mean 1,2: 2 numbers. Allowed: 1 or 3"),
        ((None, None, None, "0", None), "neither scale nor std may be 0"),
        ((None, "0", None, None, None), "neither scale nor std may be 0"),
        ((None, None, "nan", None, None), "--mean nan: not a number"),
        ((None, None, "1e999", None, None), "--mean 1e999: not a number"),
    ],
)
def test_wrong_words(words, message):
    with pytest.raises(UsageError, match=message):
        parse_preprocessing(*words)


@pytest.fixture
def stock():
    """Return a card of stock VGG16."""
    return describe(SubModel(("block1_conv1",)), StockNetwork({}, UNTRAINED.facts), ExportOptions())


def changed(card, **fields):
    data = json.loads(card.to_json())
    for path, value in fields.items():
        part, _, name = path.partition("__")
        if name:
            data[part][name] = value
        else:
            data[part] = value
    return json.dumps(data)


def test_cards_tell_it_and_old_ones_are_read(stock):
    formula = Preprocessing("BGR", (0.485, 0.456, 0.406), scale=1 / 255, std=(0.229, 0.224, 0.225))
    own = replace(
        stock,
        submodel=SubModel(stock.submodel.taps, source="keras"),
        options=replace(stock.options, preprocessing=formula),
        preprocessing=formula,
    )
    assert ModelCard.from_json(own.to_json()) == own
    old = {"channel_order": "BGR", "mean": [103.939, 116.779, 123.68], "in_model": True}
    read = ModelCard.from_json(changed(stock, options__preprocessing="vgg16", preprocessing=old))
    assert read == replace(stock, preprocessing=PREPROCESSINGS["caffe"])
    read = ModelCard.from_json(changed(own, options__preprocessing="vgg16", preprocessing=old))
    assert read.options.preprocessing == "caffe"


@pytest.mark.parametrize(
    "value",
    [
        {"channel_order": "BGR", "mean": [1, 2], "in_model": True},
        {"channel_order": "YUV", "mean": [1], "in_model": True},
        {"channel_order": "RGB", "mean": [1], "in_model": True, "std": [0]},
        {"channel_order": "RGB", "mean": ["x"], "in_model": True},
        {"mean": [1], "in_model": True},
        "unit",
    ],
)
def test_cards_without_sense(stock, value):
    with pytest.raises(ArtifactError):
        ModelCard.from_json(changed(stock, preprocessing=value))


@pytest.mark.keras
def test_the_first_three_are_keras_own():
    import numpy as np

    utils = pytest.importorskip("keras", reason="needs TensorFlow: pip install 'fmedge[export]'").applications
    image = np.random.default_rng(5).integers(0, 256, (1, 6, 5, 3)).astype(np.float32)
    for word in ("caffe", "tf", "torch"):
        expected = utils.imagenet_utils.preprocess_input(image.copy(), mode=word)
        found = PREPROCESSINGS[word]
        factors, offsets = map(np.array, found.affine())
        ordered = image[..., ::-1] if found.channel_order == "BGR" else image
        np.testing.assert_allclose(ordered * factors - offsets, expected, rtol=1e-5, atol=1e-5)
    assert asdict(PREPROCESSINGS["unit"])["scale"] == 1 / 255
