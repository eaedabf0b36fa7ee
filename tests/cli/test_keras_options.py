"""Keras models of one's own on the command line: size and preprocessing are the model's, or asked for."""

import json

import numpy as np
import pytest
from PIL import Image

pytestmark = [pytest.mark.keras, pytest.mark.filterwarnings("ignore")]
keras = pytest.importorskip("keras", reason="needs TensorFlow: pip install 'fmedge[export]'")
pytest.importorskip("tf2onnx", reason="needs tf2onnx: pip install 'fmedge[export]'")

layers = keras.layers
SIZE = (24, 40)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder of models: one that wants to be asked, and one that prepares the pixels itself."""
    folder = tmp_path_factory.mktemp("own")
    keras.utils.set_random_seed(4)
    for suffix in (".keras", ".h5"):
        parts = [layers.Input((*SIZE, 3)), layers.Conv2D(4, 3, name="conv", activation="relu")]
        keras.Sequential(parts).save(folder / f"asks{suffix}")
    scaled = keras.Sequential([layers.Input((*SIZE, 3)), layers.RandomFlip(), layers.Rescaling(1 / 255, name="scale")])
    scaled.add(layers.Conv2D(4, 3, name="conv"))
    scaled.save(folder / "scales.keras")
    keras.Sequential([layers.Input((*SIZE, 4)), layers.Conv2D(4, 3, name="conv")]).save(folder / "rgba.keras")
    return folder


def predicted(model, picture, prepare):
    """(C, H, W)."""
    pixels = np.asarray(Image.open(picture).resize(SIZE[::-1], Image.Resampling.NEAREST), np.float64)
    return keras.saving.load_model(model).predict(prepare(pixels)[np.newaxis], verbose=0)[0].transpose(2, 0, 1)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize(
    "words", [("export", "--keras", "{}"), ("run", "gone.jpg", "--keras", "{}")], ids=["export", "run"]
)
def test_a_model_that_does_not_say_is_asked(fmedge_inprocess, models, picture, words, suffix):
    words = [word.format(models / f"asks{suffix}").replace("gone.jpg", str(picture)) for word in words]
    line = fmedge_inprocess(*words, "--layer", "conv", code=2).stderr
    assert line.startswith("Error: This Keras model needs --preprocessing. Allowed: caffe")
    assert all(word in line for word in ("tf", "torch", "unit", "none", "--scale", "--mean", "--std", "--order"))
    assert len(line) <= 201


@pytest.mark.parametrize(
    ("words", "token", "prepare"),
    [
        (["--preprocessing", "unit"], "unit", lambda pixels: pixels / 255),
        (["--preprocessing", "vgg16"], "caffe", lambda pixels: pixels[..., ::-1] - [103.939, 116.779, 123.68]),
        (
            ["--scale", "1/255", "--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225", "--order", "bgr"],
            "own-",
            lambda pixels: (pixels[..., ::-1] / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225],
        ),
    ],
    ids=["word", "synonym", "formula"],
)
def test_export_run_info_and_verify_follow_it(fmedge_inprocess, models, picture, words, token, prepare):
    own = models / "asks.keras"
    model = fmedge_inprocess("export", "--keras", own, "--layer", "conv", "--format", "onnx", *words).stdout.strip()
    assert f".24x40.{token}" in model
    card = json.loads(fmedge_inprocess("info", model, "--json").stdout)
    assert card["inputs"][0]["shape"] == [None, *SIZE, 3]
    assert "inside the model" in fmedge_inprocess("info", model).stdout
    fmedge_inprocess("verify", model, "--keras", own)
    fmedge_inprocess("run", picture, "--model", model, "--no-page", "--save-maps", "by_model.npz")
    said = fmedge_inprocess(
        *("run", picture, "--keras", own, "--layer", "conv", "--format", "onnx", "--no-page"),
        *("--save-maps", "by_keras.npz", *words),
    ).stderr
    assert "Exporting" not in said
    expected = predicted(own, picture, prepare)
    for name in ("by_model.npz", "by_keras.npz"):
        with np.load(name) as archive:
            found = archive["maps"]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_a_model_that_prepares_pixels_itself_says_so(fmedge_inprocess, models, picture):
    own = models / "scales.keras"
    said = fmedge_inprocess(
        "run", picture, "--keras", own, "--layer", "conv", "--no-page", "--save-maps", "maps.npz"
    ).stderr
    assert "Note: 'scale' in the model prepares the pixels: nothing is added to it (--preprocessing none)." in said
    expected = predicted(own, picture, lambda pixels: pixels)
    with np.load("maps.npz") as archive:
        np.testing.assert_allclose(archive["maps"], expected, rtol=1e-4, atol=1e-5)
    again = fmedge_inprocess(
        "run", picture, "--keras", own, "--layer", "conv", "--no-page", "--save-maps", "maps.npz"
    ).stderr
    assert "Exporting" not in again
    said = fmedge_inprocess("export", "--keras", own, "--layer", "conv", "--preprocessing", "unit").stderr
    assert "Note: 'scale' in the model prepares the pixels, too, after the preprocessing asked for." in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--keras", "rgba.keras", "--preprocessing", "unit"], "takes (None, 24, 40, 4). Allowed: one image"),
        (["--keras", "asks.keras", "--preprocessing", "imagenet"], "Unknown preprocessing 'imagenet'"),
        (["--keras", "asks.keras", "--preprocessing", "unit", "--order", "bgr"], "--preprocessing unit excludes"),
        (["--keras", "asks.keras", "--std", "0"], "neither scale nor std may be 0"),
        (["--preprocessing", "unit"], "--preprocessing applies only to --keras"),
        (["--scale", "1/255"], "--preprocessing applies only to --keras"),
    ],
)
def test_what_cannot_be_meant(fmedge_inprocess, models, monkeypatch, words, message):
    monkeypatch.setenv("FMEDGE_WEIGHTS", "untrained")
    words = [str(models / word) if word.endswith(".keras") else word for word in words]
    assert (
        message
        in fmedge_inprocess(
            "export", "--layer", "conv" if "--keras" in words else "block1_conv1", *words, code=2
        ).stderr
    )


def test_a_model_file_knows_it(fmedge_inprocess, models, picture):
    model = fmedge_inprocess(
        "export", "--keras", models / "scales.keras", "--layer", "conv", "--format", "onnx"
    ).stdout.strip()
    said = fmedge_inprocess("run", picture, "--model", model, "--preprocessing", "unit", code=2).stderr
    assert "--model determines layer" in said
