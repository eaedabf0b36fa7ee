"""The layer tables."""

import pytest

from fmedge.errors import UsageError
from fmedge.model.stock import STOCK, VGG16, VGG16_LAYERS, VGG19, find_network
from support.messages import says


@pytest.mark.parametrize("network", STOCK)
def test_receptive_field_and_stride_follow_from_the_layers_before(network):
    field, stride = 1, 1
    for spec in STOCK[network].layers:
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
        STOCK[VGG16].find("block1_conv3")
    with pytest.raises(UsageError, check=says(r"Closest: 'block3_conv4'\. All: fmedge layers --network vgg19")):
        STOCK[VGG19].find("block3_conv5")


def test_the_layers_of_each_network():
    assert len(VGG16_LAYERS) == 18
    assert VGG16_LAYERS[9].name == "block3_pool"
    assert len(STOCK[VGG19].layers) == 21
    assert [spec.name for spec in STOCK[VGG19].layers if spec.name.endswith("conv4")] == [
        f"block{block}_conv4" for block in (3, 4, 5)
    ]


def test_unknown_networks_and_several_at_once_are_refused():
    assert find_network(None) == VGG16
    with pytest.raises(
        UsageError, check=says(r"Unknown network 'vgg18'\. Closest: 'vgg1[69]'.* Allowed: vgg16, vgg19")
    ):
        find_network("vgg18")
    with pytest.raises(UsageError, match="network, keras and onnx exclude each other"):
        find_network(VGG19, "model.keras")


def test_layers_through_ends_with_the_named_one():
    assert [spec.name for spec in STOCK[VGG16].through("block1_pool")] == [
        "block1_conv1",
        "block1_conv2",
        "block1_pool",
    ]


def test_totals_are_those_of_the_paper():
    # Simonyan and Zisserman 2015, table 2: 138 M parameters with the dense layers, which have 123.6 M.
    assert sum(spec.parameters for spec in VGG16_LAYERS) == 14_714_688
    assert sum(spec.macs(224, 224) for spec in VGG16_LAYERS) == 15_346_630_656
    assert sum(spec.parameters for spec in STOCK[VGG19].layers) == 20_024_384  # 144 M in the table


@pytest.mark.keras
@pytest.mark.parametrize("network", STOCK)
@pytest.mark.parametrize("size", [(224, 224), (97, 130)])
def test_table_is_keras_model(size, network):
    keras = pytest.importorskip("keras", reason="needs TensorFlow: pip install 'fmedge[export]'")
    model = getattr(keras.applications, network.upper())(include_top=False, weights=None, input_shape=(*size, 3))
    layers = model.layers[1:]
    assert tuple(layer.name for layer in layers) == STOCK[network].names
    for spec, layer in zip(STOCK[network].layers, layers, strict=True):
        _, height, width, channels = layer.output.shape
        assert spec.output_shape(*size) == (channels, height, width)
        assert spec.parameters == layer.count_params()
        assert spec.in_channels == layer.input.shape[-1]
        assert spec.kind == ("conv" if layer.__class__.__name__ == "Conv2D" else "pool")
