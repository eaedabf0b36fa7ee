"""Write a sub-model of a user's own network for fmedge's own kernels, if it is a chain that they compute."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import onnx

from fmedge.export.built import Built
from fmedge.export.calibration import Calibration
from fmedge.export.native.chain import Chain, Link, Place, shown_at
from fmedge.export.native.file import Layer, convolution, flags_of, pooling, write_chain
from fmedge.export.native.graph import misfit
from fmedge.export.native.pixels import Pixels
from fmedge.export.network import Network
from fmedge.export.onnx.float_model import converter_tools, unprepared_model_of
from fmedge.model.card import ModelCard
from fmedge.model.native_format import Kind


def build_model(card: ModelCard, network: Network, calibration: Calibration | None = None) -> Built:
    """Build the model that a card describes.

    What is done to the pixels becomes a mean, which is subtracted before the first convolution pads with zeros, and
    factors and the order of the colours, which are folded into its kernel. So is a BatchNormalization, or any other
    scale and bias per channel, between a convolution and its ReLU.

    Args:
        card: The model to build; only the card's facts are used.
        network: The ONNX network or Keras model to cut.
        calibration: Not used: float32 needs no photos.

    Returns:
        The file's content and the finished card; the same card and network give the same bytes.

    Raises:
        BackendUnavailable: A package that a Keras model needs is not installed.
        UsageError: The network cannot be cut like this, or is no such chain.
    """
    del calibration
    if card.preprocessing.channel_order == "GREY":
        raise misfit(
            "the network takes grey, whose rounding native cannot compute; it takes three colours", "Use --format onnx."
        )
    card = replace(card, tools={**card.tools, "onnx": onnx.__version__} | converter_tools(card))
    graph = unprepared_model_of(card, network).graph
    with np.errstate(all="ignore"):  # what is not finite fails the parity check
        chain = Chain(graph, _pixels(card), card.options.size)
        shown = shown_at(chain, [output.name for output in graph.output], card.submodel.taps)
        layers = [_layer(link, shown.get(number), number == max(shown)) for number, link in enumerate(chain.links)]
        mean = _float32(chain.pixels.mean())
    return Built(write_chain(layers, mean, card), card)


def _pixels(card: ModelCard) -> Pixels:
    """Return what the card says is done to pixels before the network gets them."""
    factors, offsets = (np.array(values, np.float64) for values in card.preprocessing.affine())
    colours = (2, 1, 0) if card.preprocessing.channel_order == "BGR" else (0, 1, 2)
    whole = card.inputs[0].dtype == "uint8" and card.preprocessing.is_plain
    return Pixels(colours, factors, -offsets, whole)


def _layer(link: Link, shown: Place | None, last: bool) -> Layer:
    relu = link.relu and link.kind is Kind.CONVOLUTION
    raw = shown is not None and relu and not shown.relu
    flags = flags_of(relu=relu, tapped=shown is not None, raw=raw, last=last)
    if link.kind is Kind.POOLING:
        return pooling(link.channels, flags)
    scaled = link.kernel if (link.factors == 1).all() else link.kernel * link.factors.reshape(-1, 1, 1, 1)
    return convolution(_float32(scaled), _float32(link.summands), flags)


def _float32(values: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    return np.ascontiguousarray(values, np.float32)
