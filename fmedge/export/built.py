"""What an exporter gives, before it is checked and written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fmedge.export.network import Images
from fmedge.model.card import ModelCard

Simulation = Callable[[Images], Mapping[str, npt.NDArray[np.floating]]]
"""Computes what a model stands for, (N, C, H, W) per tap, by something that shares nothing with the engines."""


@dataclass(frozen=True, slots=True, eq=False)
class Built:
    """What an exporter's module returns.

    Attributes:
        model: Content of the model file, the card's facts inside.
        card: The card with its tools and recipe filled in.
        weights: Content of the second file, where the format has one.
        simulations: What the model has to compute, where that is not what the network computes: no worse than the best
            of them.
    """

    model: bytes = field(repr=False)
    card: ModelCard
    weights: bytes = field(default=b"", repr=False)
    simulations: tuple[Simulation, ...] = ()
