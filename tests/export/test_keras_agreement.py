"""fmedge against Keras itself, to 100 dB: the network, the preprocessing, the resizing."""

import numpy as np
import pytest

from fmedge.data.images import load_photo
from fmedge.model.parity import GATES, measure_parity
from fmedge.model.stock import STOCK, VGG16, VGG16_LAYERS, VGG19
from fmedge.model.weights import UNTRAINED, choose_weights, load_weights
from fmedge.runtime.opening import open_session
from fmedge.workflow import pipeline
from fmedge.workflow.artifacts import create_artifact
from fmedge.workflow.request import request_artifact

pytestmark = pytest.mark.keras
keras = pytest.importorskip("keras", reason="needs TensorFlow: pip install 'fmedge[export]'")

CASES = [
    (spec.name, activation)
    for spec in VGG16_LAYERS
    for activation in (("relu", "none") if spec.kind == "conv" else ("relu",))
]


def keras_outputs(weights, photo, network="VGG16"):
    """Every layer's output for a photo as the tutorial program computes it, and that before ReLU. (C, H, W) each."""
    model = getattr(keras.applications, network)(include_top=False, weights=None, input_shape=(224, 224, 3))
    for name, arrays in weights.items():
        model.get_layer(name).set_weights(list(arrays))
    pixels = keras.utils.img_to_array(keras.utils.load_img(photo, target_size=(224, 224)))[np.newaxis]
    values = keras.applications.vgg16.preprocess_input(pixels)
    outputs = {}
    deepest = list(weights)[-1]
    for layer in model.layers[1 : model.layers.index(model.get_layer(deepest)) + 2]:
        if layer.name in weights:
            raw = keras.ops.conv(values, layer.kernel, padding="same") + layer.bias
            outputs[layer.name, "none"] = np.asarray(raw)[0].transpose(2, 0, 1)
        values = layer(values)
        outputs[layer.name, "relu"] = np.asarray(values)[0].transpose(2, 0, 1)
    return outputs


@pytest.fixture(scope="module")
def untrained_outputs(untrained_weights, picture):
    return keras_outputs(untrained_weights, picture)


@pytest.mark.few(9)
@pytest.mark.parametrize(("layer", "activation"), CASES)
def test_every_layer_with_untrained_weights(untrained_outputs, picture, tmp_path, layer, activation):
    request = request_artifact(layer, activation, weights="untrained", models=tmp_path)
    maps = pipeline.run_artifact(create_artifact(request, verify=False), picture)
    parity = measure_parity(maps.maps[0], untrained_outputs[layer, activation], GATES["fp32"])
    assert parity.passed, parity.describe()
    if activation == "none":
        assert maps.maps.min() < 0


@pytest.mark.few(1)
@pytest.mark.parametrize("activation", ["relu", "none"])
def test_every_layer_of_vgg19(picture, tmp_path, activation):
    weights, _ = load_weights(UNTRAINED, "block5_pool", source=VGG19)
    expected = keras_outputs(weights, picture, "VGG19")
    request = request_artifact("all", activation, network=VGG19, weights="untrained", models=tmp_path)
    taps = pipeline.run_taps(create_artifact(request, verify=False), picture)
    assert len(taps) == {"relu": 21, "none": 16}[activation]
    for layer, maps in taps.items():
        parity = measure_parity(maps.maps[0], expected[layer, activation], GATES["fp32"])
        assert parity.passed, f"{layer}: {parity.describe()}"


@pytest.mark.imagenet
def test_real_weights_on_real_photos(real_weights, photos, tmp_path):
    choice = choose_weights(str(real_weights))
    weights, _ = load_weights(choice, "block3_pool")
    cases = [case for case in CASES if case[0] in {spec.name for spec in STOCK[VGG16].through("block3_pool")}]
    expected = {photo: keras_outputs(weights, photo) for photo in (photos[0], photos[-1])}
    for layer, activation in cases:
        request = request_artifact(layer, activation, weights=str(real_weights), models=tmp_path)
        with open_session(create_artifact(request, verify=False)) as session:
            for photo, outputs in expected.items():
                pixels = load_photo(photo, (224, 224)).pixels[np.newaxis]
                parity = measure_parity(session.run(pixels)[layer][0], outputs[layer, activation], GATES["fp32"])
                assert parity.passed, f"{layer} {activation} {photo.name}: {parity.describe()}"
