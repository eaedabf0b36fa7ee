"""Make an int8 plan from the photos, and describe in the card how the model became int8."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fmedge.export.built import Simulation
from fmedge.export.calibration import Calibration
from fmedge.export.int8.plan import EIGHT_BIT, SEVEN_BIT, QuantizedConv, plan_layers
from fmedge.export.int8.simulation import rounded_to_nearest, simulate
from fmedge.export.stock_network import StockNetwork
from fmedge.model.card import ModelCard
from fmedge.model.stock import STOCK


class _Planned(NamedTuple):
    """A plan and what it was made from."""

    source: str
    photos: str
    size: tuple[int, int] | None
    limit: int
    weights: tuple[bytes, ...]
    plan: list[QuantizedConv]


_latest: _Planned | None = None
"""The latest plan: exports of the same network to other formats or with other taps reuse it, or its first layers."""


def make_plan(card: ModelCard, network: StockNetwork, calibration: Calibration) -> list[QuantizedConv]:
    """Compute the integer form of every convolution up to a card's deepest tap.

    Args:
        card: Gives the layers, the image size and the number of bits of the weights.
        network: Gives the weights.
        calibration: The photos.
    """
    global _latest
    weights = tuple(_hash(*network.weights[spec.name]) for spec in card.submodel.stock_layers if spec.kind == "conv")
    made_from = network.source, calibration.sha256, card.options.size, _limit(card)
    if _latest is not None and _latest[: len(made_from)] == made_from and _latest.weights[: len(weights)] == weights:
        return _latest.plan[: len(weights)]
    plan = plan_layers(
        STOCK[network.source],
        card.submodel.deepest,
        network.weights,
        lambda: calibration.images(card.options.size),
        len(calibration.photos),
        limit=_limit(card),
        progress=calibration.progress,
    )
    _latest = _Planned(*made_from, weights, plan)
    return plan


def _hash(*arrays: npt.NDArray[np.float32]) -> bytes:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(array.tobytes())
    return digest.digest()


def simulations(plan: Sequence[QuantizedConv], card: ModelCard, network: StockNetwork) -> tuple[Simulation, ...]:
    """Return what a model must match: its plan, and the same plan with weights rounded to the nearest step."""
    plain = rounded_to_nearest(plan, network.weights, _limit(card))
    return tuple(partial(simulate, each, card, network.weights) for each in (plan, plain))


def _limit(card: ModelCard) -> int:
    return SEVEN_BIT if card.options.seven_bit else EIGHT_BIT


def recipe(card: ModelCard, calibration: Calibration, tap: str) -> dict[str, str]:
    """Return the recipe in words.

    Args:
        card: Its options say what was chosen.
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
