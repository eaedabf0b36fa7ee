"""Names of layers in what a user writes: whole where the network has them, split elsewhere."""

import pytest

from fmedge.errors import UsageError
from fmedge.model.keras_input import layer_names
from fmedge.model.submodel import Activation
from fmedge.workflow.layer_names import split_list, tap_names
from support.strangers import convolution, image_layer, sequential

ODD = frozenset({"a", "b", "a+b", "a,b", "all", "a,b+c", "conv 1", "x+"})


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a", ["a"]),
        ("a+b", ["a+b"]),
        ("b+a", ["b", "a"]),
        (r"a\+b", ["a+b"]),
        ("a+b+a", ["a+b", "a"]),
        ("b+a+b", ["b", "a+b"]),
        ("a,b+c", ["a,b+c"]),
        ("all", ["all"]),
        ("conv 1 + a", ["conv 1", "a"]),
        ("x++a", ["x+", "a"]),
        ("new+a", ["new", "a"]),
        (r"\all", ["all"]),
    ],
)
def test_one_model(text, names):
    assert tap_names(text, Activation.RELU, ODD) == tuple(names)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a,b", ["a,b"]),
        ("b,a", ["b", "a"]),
        ("b,a,b", ["b", "a,b"]),
        ("a,b+a", ["a,b+a"]),
        ("a,b+c,a", ["a,b+c", "a"]),
        (r"a\,b,b", [r"a\,b", "b"]),
        ("b,b,a", ["b", "a"]),
        ("new,b", ["new", "b"]),
    ],
)
def test_an_artifact_each(text, parts):
    assert split_list(text, ODD) == parts


def test_stock_networks_split_everywhere():
    assert split_list("block1_conv1,block2_pool+block1_conv2") == ["block1_conv1", "block2_pool+block1_conv2"]
    assert len(tap_names("all", Activation.RELU)) == 18
    assert len(tap_names("all", Activation.NONE)) == 13
    assert len(tap_names("all", Activation.RELU, source="vgg19")) == 21


def test_nothing_and_all_of_another_network():
    with pytest.raises(UsageError, match="is empty"):
        split_list(" , ")
    with pytest.raises(UsageError, match="knows stock networks alone"):
        tap_names("all", Activation.RELU, frozenset({"a"}))


def test_names_in_a_configuration():
    inner = sequential(image_layer(), convolution("deep"), name="inner")
    found = layer_names(sequential(image_layer(), inner, convolution("a+b")))
    assert found == {"image", "inner", "inner/image", "deep", "inner/deep", "a+b"}
    assert layer_names({"config": {"layers": [None, {"config": 3}, convolution("a")]}}) <= {"a"}
    assert layer_names([]) == frozenset()
