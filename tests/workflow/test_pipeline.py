"""The main job, from a photo to maps."""

import json

import numpy as np
import pytest

import fmedge
from fmedge.errors import UsageError
from fmedge.model.submodel import Activation, SubModel
from fmedge.workflow import pages
from fmedge.workflow.output_paths import page_name
from fmedge.workflow.outputs import first_kernels
from fmedge.workflow.request import find_artifact, models_folder, request_artifact
from support.models import artifact_for, name_of_run


def test_what_is_missing_is_exported_once(picture, tmp_path):
    options = {"weights": "untrained", "models": tmp_path / "models"}
    one = fmedge.extract(picture, "block1_conv2", **options)
    written = tmp_path / "models" / name_of_run("block1_conv2")
    stamp = written.stat().st_mtime_ns
    two = fmedge.extract(picture, "block1_conv2", **options)
    assert written.stat().st_mtime_ns == stamp
    assert one.maps.shape == (1, 64, 224, 224)
    np.testing.assert_array_equal(one.maps, two.maps)


def test_artifact_of_other_weights_or_damaged_is_not_taken(untrained_models, block1, tmp_path):
    request = request_artifact("block1_conv1", weights="untrained", models=tmp_path)
    assert find_artifact(request) is None
    for suffix in ("", ".json"):
        source = block1.path.with_name(block1.path.name + suffix)
        (tmp_path / source.name).write_bytes(source.read_bytes())
    assert find_artifact(request) is not None
    card = json.loads((tmp_path / (block1.path.name + ".json")).read_text())
    card["weights"] = {"kind": "imagenet", "sha256": "0" * 64, "recipe": None}
    (tmp_path / (block1.path.name + ".json")).write_text(json.dumps(card))
    assert find_artifact(request) is None


def test_models_folder(monkeypatch):
    assert str(models_folder()) == "models"
    monkeypatch.setenv("FMEDGE_MODELS", "elsewhere")
    assert str(models_folder()) == "elsewhere"
    assert str(models_folder("here")) == "here"


def test_wrong_channel_is_told_before_any_work(tmp_path):
    with pytest.raises(UsageError, match=r"No channel 64 in block1_conv1\. Allowed: 0 to 63"):
        request_artifact("block1_conv1", channel=64, weights="untrained", models=tmp_path)


def test_saved_maps(picture, untrained_models, tmp_path):
    maps = fmedge.extract(picture, "block2_pool", weights="untrained", models=untrained_models)
    maps.save(tmp_path / "maps.npz")
    with np.load(tmp_path / "maps.npz") as archive:
        np.testing.assert_array_equal(archive["maps"], maps.maps[0])
        assert archive["maps"].dtype == np.float32
        assert str(archive["layer"]) == "block2_pool"
        assert str(archive["activation"]) == "relu"
        assert json.loads(str(archive["card"]))["submodel"]["taps"] == ["block2_pool"]


def test_provenance(picture, untrained_models):
    maps = fmedge.extract(
        picture,
        weights="untrained",
        models=untrained_models,
        run=fmedge.RunOptions("onnxruntime", threads=1),
        resize="bicubic",
    )
    assert maps.provenance.facts() == {
        "image_name": "picture.png",
        "image_size": (90, 60),
        "resize": "bicubic",
        "backend": "onnxruntime",
        "active_provider": "CPUExecutionProvider",
        "threads": 1,
        "device": "cpu",
        "math": "fp32",
        "placement": "1/1 Conv on CPUExecutionProvider",
    }
    assert maps.pixels.shape == (1, 224, 224, 3)
    np.testing.assert_array_equal(maps.channel(5), maps.maps[0, 5])
    with pytest.raises(UsageError, match="No channel -1"):
        maps.channel(-1)


def test_page_and_maps_are_written(picture, block1, tmp_path):
    page = tmp_path / "page.html"
    maps = pages.make_page(block1, picture, page, channel=5, save_maps=tmp_path / "maps.npz")
    assert page.read_bytes() == fmedge.render_page(maps, channel=5, kernels=first_kernels(block1))
    assert (tmp_path / "maps.npz").is_file()


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((SubModel(("block1_conv1",)), None), "photo.block1_conv1.html"),
        ((SubModel(("block1_conv1",), Activation.NONE), 5), "photo.block1_conv1.none.channel5.html"),
    ],
)
def test_page_name(arguments, name, tmp_path):
    assert page_name(tmp_path / "photo.jpg", *arguments) == name


@pytest.mark.imagenet
@pytest.mark.parametrize("layer", ["block1_conv1", "block3_conv3"])
def test_real_weights_find_structure(real_weights, photos, untrained_models, layer):
    maps = fmedge.extract(photos[0], layer, weights=str(real_weights), models=untrained_models)
    assert maps.provenance.card.weights.kind == "file"
    assert maps.provenance.card.parity.snr_db > 110
    assert (maps.maps.max(axis=(0, 2, 3)) > 0).mean() > 0.9


def test_the_kernels_are_those_of_the_weights(block1, untrained_weights, picture, untrained_models):
    (found,) = first_kernels(block1).values()
    keras, bias = untrained_weights["block1_conv1"]  # rows, columns, blue green red, channels
    np.testing.assert_array_equal(found.weights, keras[:, :, ::-1].transpose(3, 0, 1, 2))
    np.testing.assert_array_equal(found.bias, bias)
    deep = request_artifact("block1_pool", weights="untrained", models=untrained_models)
    assert first_kernels(artifact_for(deep)) == {}
