"""Files that hold only the weights of a network of keras.applications."""

import h5py
import numpy as np
import pytest

from fmedge.errors import UsageError, WeightsError
from support.messages import says

pytestmark = pytest.mark.keras
pytest.importorskip("tensorflow", reason="needs TensorFlow: pip install 'fmedge[export]'")
from fmedge.export.tensorflow.keras_applications import application_names, model_of_application  # noqa: E402
from fmedge.export.tensorflow.keras_import import keras  # noqa: E402
from fmedge.export.tensorflow.keras_network import network_of_model  # noqa: E402
from support.keras_applications import APPLICATIONS  # noqa: E402

CASES = {
    "MobileNetV3Small": {"include_top": True, "classes": 7},
    "EfficientNetB0": {"include_top": True, "classes": 1280},
}


def save(model, folder, kind):
    path = folder / f"weights{kind}"
    if kind == ".weights.h5":
        model.save_weights(path)
        return path
    from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

    with h5py.File(path, "w") as file:
        save_weights_to_hdf5_group(file, model)
    return path


@pytest.fixture(scope="module", params=["MobileNetV3Small", pytest.param("EfficientNetB0", marks=pytest.mark.slow)])
def saved(request, tmp_path_factory):
    """A network, its name, and its two files."""
    keras.utils.set_random_seed(6)
    model = getattr(keras.applications, request.param)(weights=None, **CASES[request.param])
    folder = tmp_path_factory.mktemp(request.param)
    kinds = [".weights.h5", ".h5"] if model.count_params() < 4e6 else [".weights.h5"]
    return model, request.param, [save(model, folder, kind) for kind in kinds]


@pytest.mark.filterwarnings("ignore")
def test_weights_find_their_places(saved):
    model, name, paths = saved
    for written, path in zip((name, name.lower()), paths, strict=False):
        found = model_of_application(written, path)
        assert [layer.__class__ for layer in found.layers] == [layer.__class__ for layer in model.layers]
        for one, two in zip(found.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_array_equal(one, two)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("kind", "called"), [(".weights.h5", "w.hdf5"), (".h5", "w.weights.h5")])
def test_a_file_s_name_tells_nothing_and_a_size_may_be_given(kind, called, tmp_path):
    written = save(
        keras.applications.MobileNet(weights=None, include_top=False, input_shape=(32, 32, 3)), tmp_path, kind
    )
    written.rename(tmp_path / called)
    model = model_of_application("MobileNet", tmp_path / called, (96, 128))
    assert network_of_model(model, "tf").output_shape("conv_pw_13", (96, 128)) == (1024, 3, 4)


@pytest.mark.filterwarnings("ignore")
def test_weights_of_another_network_are_refused(saved):
    _, _, paths = saved
    other = "MobileNet"
    for path in paths:
        with pytest.raises(WeightsError, check=says(f"does not hold the weights of {other}, as Keras builds it: it ")):
            model_of_application(other, path)


def test_what_is_no_file_of_weights(tmp_path):
    small = keras.Sequential([keras.layers.Input((8, 8, 3)), keras.layers.Conv2D(2, 3)])
    path = save(small, tmp_path, ".weights.h5")
    data = path.read_bytes()
    (tmp_path / "cut.h5").write_bytes(data[: len(data) // 2])
    (tmp_path / "text.h5").write_text("weights")
    for name in ("cut.h5", "text.h5"):
        with pytest.raises(WeightsError, check=says("is not a readable file of weights")):
            model_of_application("ResNet50", tmp_path / name)
    with pytest.raises(WeightsError, check=says("There is no file")):
        model_of_application("ResNet50", tmp_path / "lost.h5")
    with h5py.File(tmp_path / "whole.h5", "w") as file:
        file.create_group("model_weights")
    with pytest.raises(WeightsError, check=says("holds a whole model")):
        model_of_application("ResNet50", tmp_path / "whole.h5")
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["layers"] = h5py.ExternalLink("/etc/other.h5", "/")
    with pytest.raises(WeightsError, check=says("holds a link, 'layers'")):
        model_of_application("ResNet50", tmp_path / "link.h5")


def test_names_are_those_of_keras(tmp_path):
    assert set(APPLICATIONS) <= set(application_names())
    assert all(callable(getattr(keras.applications, name)) for name in application_names())
    with pytest.raises(UsageError, check=says("Unknown network 'Resnet51'. Closest: 'ResNet5")):
        model_of_application("Resnet51", tmp_path / "w.h5")
