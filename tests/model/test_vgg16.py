"""The layer table."""

import pytest

from fmedge.errors import UsageError
from fmedge.model.vgg16 import LAYER_NAMES, VGG16_LAYERS, find_layer, layers_through
from support.messages import says


def test_receptive_field_and_stride_follow_from_the_layers_before():
    field, stride = 1, 1
    for spec in VGG16_LAYERS:
        if spec.kind == "conv":
            field += 2 * stride
        else:
            field += stride
            stride *= 2
        assert (spec.receptive_field, spec.stride) == (field, stride), spec.name


def test_unknown_layer_names_the_closest():
    with pytest.raises(
        UsageError, check=says(r"Unknown layer 'block1_conv3'\. Closest: 'block1_conv2'\. All: fmedge layers")
    ):
        find_layer("block1_conv3")


def test_layers_through_ends_with_the_named_one():
    assert [spec.name for spec in layers_through("block1_pool")] == ["block1_conv1", "block1_conv2", "block1_pool"]


def test_totals_are_those_of_the_paper():
    # Simonyan and Zisserman 2015, table 2: 138 M parameters with the dense layers, which have 123.6 M.
    assert sum(spec.parameters for spec in VGG16_LAYERS) == 14_714_688
    assert sum(spec.macs(224, 224) for spec in VGG16_LAYERS) == 15_346_630_656


@pytest.mark.keras
@pytest.mark.parametrize("size", [(224, 224), (97, 130)])
def test_table_is_keras_model(size):
    keras = pytest.importorskip("keras", reason="needs TensorFlow: pip install 'fmedge[export]'")
    model = keras.applications.VGG16(include_top=False, weights=None, input_shape=(*size, 3))
    layers = model.layers[1:]
    assert tuple(layer.name for layer in layers) == LAYER_NAMES
    for spec, layer in zip(VGG16_LAYERS, layers, strict=True):
        _, height, width, channels = layer.output.shape
        assert spec.output_shape(*size) == (channels, height, width)
        assert spec.parameters == layer.count_params()
        assert spec.in_channels == layer.input.shape[-1]
        assert spec.kind == ("conv" if layer.__class__.__name__ == "Conv2D" else "pool")
