"""The result of an exporter, before it is checked and written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fmedge.export.network import Images
from fmedge.model.card import ModelCard

Simulation = Callable[[Images], Mapping[str, npt.NDArray[np.floating]]]
"""Computes what a model should output, (N, C, H, W) per tap, with code that shares nothing with the engines."""


@dataclass(frozen=True, slots=True, eq=False)
class Built:
    """The result of an exporter's ``build_model``.

    Attributes:
        model: Content of the model file, which includes the card's facts.
        card: The card with its tools and recipe filled in.
        weights: Content of the second file, if the format has one.
        simulations: What the model must compute, if that differs from what the network computes. The model must be at
            least as good as the best of them.
    """

    model: bytes = field(repr=False)
    card: ModelCard
    weights: bytes = field(default=b"", repr=False)
    simulations: tuple[Simulation, ...] = ()
