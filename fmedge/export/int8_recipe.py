"""Running the calibration, and saying in the card how a model became int8."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fmedge.card import ModelCard
from fmedge.export.calibration import Calibration
from fmedge.export.exporter import describe, own_artifact
from fmedge.export.int8_plan import EIGHT_BIT, SEVEN_BIT, Engine, Maps, QuantizedConv, plan_layers
from fmedge.export.network import StockNetwork
from fmedge.submodel import Activation, ExportOptions, SubModel
from fmedge.vgg16 import LAYER_NAMES, layers_through

Photos = Iterable[npt.NDArray[np.uint8]]


def make_plan(card: ModelCard, network: StockNetwork, calibration: Calibration) -> list[QuantizedConv]:
    """Work out the integer form of every convolution up to a card's deepest tap.

    Args:
        card: Which layers, at which size, with weights of how many bits.
        network: The weights.
        calibration: The photos, and what runs ONNX models, whatever the format that is written in the end.
    """
    from fmedge.export import onnx_direct, onnx_int8
    from fmedge.export.onnx_file import finish

    layers = layers_through(card.submodel.deepest)
    convolutions = tuple(spec.name for spec in layers if spec.kind == "conv")
    inner = ExportOptions(size=card.options.size)

    def run(taps: tuple[str, ...], activation: Activation, plan: list[QuantizedConv], photos: Photos) -> Iterator[Maps]:
        cut = describe(SubModel(taps, activation), network, inner)
        model = onnx_int8.plan_model(plan, cut, network) if plan else onnx_direct.float_model(cut, network)
        artifact = own_artifact(Path("calibration.onnx"), cut, finish(model, cut), lasting=False)
        yield from calibration.runner(artifact, (photo[np.newaxis] for photo in photos))

    engine = Engine(
        float_maps=lambda photos: run(convolutions, Activation.NONE, [], photos),
        code_maps=lambda plan, photos: run((plan[-1].layer,), Activation.RELU, plan, photos),
    )
    return plan_layers(
        layers,
        network.weights,
        lambda: calibration.images(card.options.size),
        len(calibration.photos),
        engine,
        limit=SEVEN_BIT if card.options.seven_bit else EIGHT_BIT,
        progress=calibration.progress,
    )


def reached(layer: str, card: ModelCard) -> bool:
    """Whether a tap is this convolution or the pool behind it."""
    return layer in card.submodel.taps or pool_behind(layer) in card.submodel.taps


def pool_behind(layer: str) -> str | None:
    """Name of the pool that follows a convolution, if one does."""
    following = LAYER_NAMES[LAYER_NAMES.index(layer) + 1]
    return following if following.endswith("pool") else None


def recipe(card: ModelCard, calibration: Calibration, tap: str) -> dict[str, str]:
    """The recipe in words.

    Args:
        card: Whose options say what was chosen.
        calibration: The photos.
        tap: How the scale of the tap is stored: ``per channel`` or ``per tensor``.
    """
    bits = "7 bits (-64 to 64), safe on x86 without VNNI" if card.options.seven_bit else "8 bits (-127 to 127)"
    return {
        "method": "static, from photos",
        "weights": f"int8, {bits}, a scale per output channel, rounded with feedback (GPTQ)",
        "activations": "8 bits, a step per channel carried by the scales (cross-layer equalisation), ranges of "
        "the least squared error",
        "image": "lossless 8 bits; the mean is carried by the weights of a constant fourth channel",
        "biases": "int32, corrected to the mean over the photos",
        "tap": "computed in float32" if card.options.float_tap else f"8 bits, scaled {tap}",
        "input and output": f"{card.options.input_dtype} and float32",
        "calibration": calibration.describe(),
    }
