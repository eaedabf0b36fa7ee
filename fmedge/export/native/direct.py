"""Write a sub-model of a stock network for fmedge's own kernels, without using them."""

from __future__ import annotations

import numpy as np

from fmedge.export.built import Built
from fmedge.export.calibration import Calibration
from fmedge.export.native.file import Layer, convolution, flags_of, pooling, write_chain
from fmedge.export.stock_network import StockNetwork
from fmedge.model.card import ModelCard
from fmedge.model.stock import LayerSpec
from fmedge.model.submodel import Activation

_IMAGE_CHANNELS = 3


def build_model(card: ModelCard, network: StockNetwork, calibration: Calibration | None = None) -> Built:
    """Build the model that a card describes.

    Images are RGB, 0 to 255; the mean is subtracted before the first convolution pads with zeros, as in Keras. The
    order blue, green, red is folded into the first kernel.

    Args:
        card: The model to build; only the card's facts are used.
        network: Kernel and bias of every convolution up to the deepest tap.
        calibration: Not used: float32 needs no photos.

    Returns:
        The file's content and the card; the same card and weights give the same bytes.
    """
    del calibration
    layers = [_layer(spec, card, network) for spec in card.submodel.stock_layers]
    mean = np.array(card.preprocessing.mean[::-1], np.float32)
    return Built(write_chain(layers, mean, card), card)


def _layer(spec: LayerSpec, card: ModelCard, network: StockNetwork) -> Layer:
    flags = flags_of(
        relu=spec.kind == "conv",
        tapped=spec.name in card.submodel.taps,
        raw=card.submodel.activation is Activation.NONE,
        last=spec.name == card.submodel.deepest,
    )
    if spec.kind == "pool":
        return pooling(spec.channels, flags)
    kernel, bias = network.weights[spec.name]
    if spec.in_channels == _IMAGE_CHANNELS:  # (3, 3, in, out), whose input is blue, green, red
        kernel = kernel[:, :, ::-1, :]
    return convolution(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)), bias, flags)
