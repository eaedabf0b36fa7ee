"""The networks of keras.applications with random weights that keep values in range, and where to cut them."""

import functools
from typing import NamedTuple

import numpy as np
import pytest

from fmedge.data.images import parity_image
from fmedge.export.tensorflow.keras_import import keras
from fmedge.model.preprocessing import NONE, PREPROCESSINGS

APPLICATIONS = {
    "MobileNet": ("mobilenet", {}),
    "MobileNetV2": ("mobilenet_v2", {}),
    "MobileNetV3Small": ("mobilenet_v3", {"include_top": True, "classes": 10}),
    "MobileNetV3Large": ("mobilenet_v3", {}),
    "ResNet50": ("resnet", {"include_top": True, "classes": 10}),
    "ResNet101": ("resnet", {}),
    "ResNet50V2": ("resnet_v2", {}),
    "DenseNet121": ("densenet", {}),
    "InceptionV3": ("inception_v3", {}),
    "InceptionResNetV2": ("inception_resnet_v2", {}),
    "Xception": ("xception", {}),
    "NASNetMobile": ("nasnet", {}),
    "EfficientNetB0": ("efficientnet", {"include_top": True, "classes": 10}),
    "EfficientNetV2B0": ("efficientnet_v2", {}),
    "EfficientNetV2S": ("efficientnet_v2", {}),
    "ConvNeXtTiny": ("convnext", {}),
    "VGG19": ("vgg19", {}),
}
"""One network of each kind: the module of its ``preprocess_input``, and how it is built."""

WAYS = {
    **dict.fromkeys(("resnet", "vgg16", "vgg19"), "caffe"),
    **dict.fromkeys(("inception_resnet_v2", "inception_v3", "mobilenet", "mobilenet_v2", "nasnet"), "tf"),
    **dict.fromkeys(("resnet_v2", "xception"), "tf"),
    "densenet": "torch",
    **dict.fromkeys(("convnext", "efficientnet", "efficientnet_v2", "mobilenet_v3"), NONE),
}
"""The preprocessing that each module's networks need."""

SIDE = 96


def way_of(name):
    """What an export must be told; None where the network prepares pixels itself."""
    way = WAYS[APPLICATIONS[name][0]]
    return None if way == NONE else way


@functools.lru_cache(1)  # some have 200 MB
def application(name):
    module, options = APPLICATIONS[name]
    keras.utils.set_random_seed(1)
    build = getattr(keras.applications, name)
    model = build(**{"include_top": False, "weights": None, "input_shape": (SIDE, SIDE, 3), **options})
    return in_range(model, WAYS[module])


def in_range(model, way=NONE):
    """Random weights with which values neither vanish nor explode; float32 rounding grows slowly with the depth.

    A scale per layer, not per channel: that would blow up channels in which little but rounding is left.
    """
    generator = np.random.default_rng(5)
    for layer in model.layers:
        for variable in layer.weights:
            kind = variable.path.rpartition("/")[2]
            if kind == "gamma":
                variable.assign(generator.uniform(0.5, 1.5, variable.shape))
            elif kind in ("beta", "bias"):
                variable.assign(generator.normal(0, 0.3, variable.shape))
    kind = keras.layers.BatchNormalization
    own = kind.call

    def calibrated(layer, inputs, training=None, mask=None):
        size = float(np.sqrt(np.mean(np.square(inputs))))
        channels = inputs.shape[-1]
        layer.moving_mean.assign(0.1 * size * generator.normal(size=channels))
        layer.moving_variance.assign(size**2 * generator.uniform(0.5, 1.5, channels))
        return own(layer, inputs, training=False)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "call", calibrated)
        model(prepared(way, model.inputs[0].shape[1]), training=False)
    return model


def prepared(way, side=SIDE):
    """Two images as a network takes them."""
    images = np.stack([np.roll(parity_image(side, side), 31 * index, axis=1) for index in range(2)]).astype(np.float64)
    factors, offsets = PREPROCESSINGS[way].affine()
    images = images[..., ::-1] if PREPROCESSINGS[way].channel_order == "BGR" else images
    return (images * factors - offsets).astype(np.float32)


class Taps(NamedTuple):
    early: tuple[str, ...]
    middle: tuple[str, ...]
    last: tuple[str, ...]


def taps(rows):
    """The second, the middle and the last convolution, each with the layer before it and the two after it."""
    places = [index for index, row in enumerate(rows) if "Conv2D" in row.kind and not row.obstacle]
    return Taps(
        *(
            tuple(row.name for row in rows[max(0, index - 1) : index + 3] if not row.obstacle)
            for index in (places[1], places[len(places) // 2], places[-1])
        )
    )
