"""How far maps are from each other."""

import json
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fmedge.errors import ImageError, UsageError
from fmedge.model.run_options import RunOptions
from fmedge.model.submodel import Activation, SubModel
from fmedge.model.tap_codes import TapCodes
from fmedge.workflow.difference import Comparison, Side, compare_maps, parse_side, worst
from fmedge.workflow.difference_runs import compare_photos
from fmedge.workflow.extraction import Extraction
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


def test_figures_of_channels_for_json(taps):
    def change(maps):
        maps[0, 3] += np.float32(0.25)
        return maps

    codes = {"block1_conv1": TapCodes(np.array([0.5], np.float32), np.array([3]), 0, 255)}
    comparison = Comparison(codes)
    comparison.add(taps, changed(taps, change))
    (difference,) = comparison.differences()
    found = difference.to_dict()["channels"][0]
    assert found["channel"] == 3
    assert found["bias"] == pytest.approx(0.25, abs=1e-4)
    assert (found["scale"], found["zero_point"]) == (0.5, 3)
    assert isinstance(found["zero_point"], int)
    (plain,) = compare_maps(taps, taps)
    assert plain.to_dict()["channels"][0]["scale"] is None
    json.dumps(difference.to_dict(), allow_nan=False)


def test_over_photos(block1, picture, photos_folder, tmp_path):
    """Photos that cannot be used are told and left out."""
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    photos = [broken, picture, *sorted(photos_folder.iterdir())[:2]]
    run = RunOptions("onnxruntime", threads=1)
    sides = ((block1, run), (block1, run))
    told = []
    compared = compare_photos(sides, photos, lambda *words: told.append(words))
    assert [(number, type(error)) for number, error in told] == [(1, ImageError), *((n, type(None)) for n in (2, 3, 4))]
    assert list(compared.errors) == [broken]
    assert list(compared.parities) == photos[1:]
    assert compared.differences[0].errors.photos == 3
    assert compared.shown[0]["block1_conv1"].provenance.image_name == picture.name
    with pytest.raises(ImageError, match="None of the 2 images"):
        compare_photos(sides, [broken, tmp_path / "missing.png"])


def test_maps_of_one_photo_at_a_time_are_held(block1, photos_folder, monkeypatch):
    maps_of = Extraction.maps
    made, held = [], []

    def maps(self, session, photo):
        held.append(sum(each() is not None for each in made))
        found = maps_of(self, session, photo)
        made.append(weakref.ref(found["block1_conv1"].maps))
        return found

    monkeypatch.setattr(Extraction, "maps", maps)
    side = (block1, RunOptions("onnxruntime", threads=1))
    compare_photos((side, side), sorted(photos_folder.iterdir())[:4])
    assert held == [
        0,
        1,
        2,
        3,
        2,
        3,
        2,
        3,
    ]  # those of the first photo, which a page shows, and the other side's of this one


def test_sums_over_photos_are_those_of_all_values(taps):
    one = changed(taps, lambda maps: maps + 1)
    comparison = Comparison()
    assert [worst(comparison.add(taps, each)) for each in (taps, one)] == [float("inf"), worst(compare_maps(taps, one))]
    (difference,) = comparison.differences()
    assert difference.parity.snr_db == pytest.approx(worst(compare_maps(taps, one)) + 10 * np.log10(2))
    assert difference.errors.bias == pytest.approx(0.5, abs=1e-4)


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
