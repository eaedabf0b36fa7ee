"""How far maps are from each other."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fmedge.errors import UsageError
from fmedge.model.submodel import Activation, SubModel
from fmedge.workflow.difference import Side, compare_maps, parse_side, worst
from fmedge.workflow.pipeline import run_taps
from support.messages import says


@pytest.fixture
def taps(block1, picture):
    return run_taps(block1, picture)


def changed(taps, change):
    return {name: replace(maps, maps=change(maps.maps.copy())) for name, maps in taps.items()}


def test_sides():
    assert parse_side("ncnn") == Side(None, "ncnn")
    assert parse_side("a/b.onnx@openvino") == Side(Path("a/b.onnx"), "openvino")
    assert parse_side("a/b@home.onnx") == Side(Path("a/b@home.onnx"), None)


def test_equal_maps(taps):
    (difference,) = compare_maps(taps, taps)
    assert worst([difference]) == float("inf")
    assert {channel.snr_db for channel in difference.channels} == {float("inf")}
    assert difference.to_dict()["channels"][0]["snr_db"] is None


def test_the_worst_channels_come_first(taps):
    def change(maps):
        maps[0, 7] += 1.0
        maps[0, 12] *= 1.001
        maps[0, 12, 0, 0] += 5.0
        return maps

    (difference,) = compare_maps(taps, changed(taps, change))
    seven, twelve = difference.channels[:2]
    assert (seven.channel, twelve.channel) == (7, 12)
    assert seven.max_error == pytest.approx(1.0, abs=1e-4)
    reference = taps["block1_conv1"].maps[0, 7].astype(float)
    assert seven.snr_db == pytest.approx(10 * np.log10(np.square(reference).mean()), abs=1e-3)
    assert difference.channels[2].snr_db == float("inf")
    assert difference.parity.max_error_over_range == pytest.approx(
        twelve.max_error / np.ptp(taps["block1_conv1"].maps), rel=1e-6
    )


def test_noise_where_the_reference_is_silent(taps):
    silent = changed(taps, lambda maps: maps * 0)
    (difference,) = compare_maps(silent, changed(silent, lambda maps: maps + 1))
    assert difference.channels[0].snr_db == float("-inf")
    assert not difference.parity.passed


def test_what_cannot_be_compared(taps):
    with pytest.raises(UsageError, match="Nothing to compare: A has block1_conv1; B has x"):
        compare_maps(taps, {"x": taps["block1_conv1"]})
    with pytest.raises(UsageError, match="A is 64 x 224 x 224, B is 64 x 10 x 224"):
        compare_maps(taps, changed(taps, lambda maps: maps[:, :, :10]))
    maps = taps["block1_conv1"]
    card = replace(maps.provenance.card, submodel=SubModel(("block1_conv1",), Activation.NONE))
    other = replace(maps, provenance=replace(maps.provenance, card=card))
    with pytest.raises(UsageError, match="A shows activation relu, B shows none"):
        compare_maps(taps, {"block1_conv1": other})


def showing(maps, activation, function):
    """The maps as of a Keras model whose layer ends in an activation; None is a card that does not say in which."""
    card = replace(
        maps.provenance.card,
        submodel=SubModel(("block1_conv1",), activation, "keras"),
        functions=() if function is None else (function,),
    )
    return {"block1_conv1": replace(maps, provenance=replace(maps.provenance, card=card))}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("relu", "sigmoid"), ("relu", "sigmoid")),
        (("none", "sigmoid"), ("none", "relu")),
        (("relu", "linear"), ("none", "linear")),
        (("relu", "linear"), ("none", "relu")),
        (("relu", None), ("relu", "sigmoid")),
    ],
)
def test_the_same_of_a_layer_is_compared(taps, first, second):
    sides = [showing(taps["block1_conv1"], *side) for side in (first, second)]
    assert worst(compare_maps(*sides)) == float("inf")


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (("relu", "sigmoid"), ("relu", "relu"), "A shows activation sigmoid, B shows relu"),
        (("relu", "linear"), ("relu", "relu"), "A shows activation linear, B shows relu"),
        (("relu", "leaky_relu(negative_slope=0.2)"), ("relu", "leaky_relu(negative_slope=0.3)"), "A shows activation"),
        (("relu", "relu6"), ("none", "relu6"), "A shows activation relu6, B shows none"),
        (("relu", None), ("none", "relu"), "A shows activation activation, B shows none"),
    ],
)
def test_sides_of_other_activations_are_not_compared(taps, first, second, said):
    sides = [showing(taps["block1_conv1"], *side) for side in (first, second)]
    with pytest.raises(UsageError, check=says(said)):
        compare_maps(*sides)
