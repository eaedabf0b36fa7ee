"""Keras models that strangers published: cut early, in the middle and at the end, with what their authors feed."""

import pytest

import fmedge
from fmedge.errors import FmedgeError
from support.messages import says
from support.places import TEST_DATA

pytestmark = [pytest.mark.keras, pytest.mark.imagenet, pytest.mark.slow]
pytest.importorskip("tensorflow", reason="needs TensorFlow: pip install 'fmedge[export]'")

MODELS = {
    "gu_cifar10.keras": ("unit", None),
    "unet_model.keras": ("unit", None),
    "mert_cifar10.keras": ("unit", None),
    "vww_96.h5": ("unit", None),
    "tiny_resnet.h5": ("none", None),
    "lane_full_cnn.h5": ("none", None),
    "tm_keras_model.h5": ("tf", None),
    "fer_mini_xception.hdf5": ("tf", None),
    "dl4j_12net.h5": (fmedge.Preprocessing("RGB", (127.5,), std=(128,)), (40, 40)),
}


@pytest.mark.parametrize("model_format", ["onnx", "tflite"])
@pytest.mark.parametrize("activation", ["relu", "none"])
@pytest.mark.parametrize("file", MODELS)
def test_published_models_are_cut_at_parity(file, activation, model_format, tmp_path):
    preprocessing, size = MODELS[file]
    path = TEST_DATA / "public_models" / file
    rows = [row for row in fmedge.list_layers(keras=path) if "Conv2D" in row.kind and not row.obstacle]
    names = [rows[0].name, rows[len(rows) // 2].name, rows[-1].name]
    given = {} if size is None else {"size": size}
    options = fmedge.ExportOptions(format=model_format, preprocessing=preprocessing, **given)
    artifact = fmedge.export_submodel(names, activation, keras=path, options=options, models=tmp_path)
    assert artifact.card.parity.snr_db >= 100
    assert len(artifact.card.functions) == 3


def test_weights_alone_say_so(tmp_path):
    path = TEST_DATA / "public_models" / "MesoInception_DF.h5"
    options = fmedge.ExportOptions(preprocessing="unit")
    with pytest.raises(FmedgeError, check=says(r"holds weights and no model, written by Keras 2\.1\.5")):
        fmedge.export_submodel("any", keras=path, options=options, models=tmp_path)
