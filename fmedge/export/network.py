"""What can be exported: a network whose shapes, preprocessing and true outputs are known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fmedge.model.card import WeightsFacts
from fmedge.model.preprocessing import Preprocessing
from fmedge.model.submodel import SubModel

Images = npt.NDArray[np.uint8] | npt.NDArray[np.float32]
"""(N, height, width, 3), RGB, 0 to 255."""


class Network(Protocol):
    """A network to cut."""

    @property
    def facts(self) -> WeightsFacts:
        """Which weights it holds."""
        ...

    @property
    def preprocessing(self) -> Preprocessing:
        """What the model file has to do to the pixels."""
        ...

    def functions(self, submodel: SubModel) -> tuple[str, ...]:
        """Per tap the activation that belongs to the layer, as a card names it; empty where all are ReLU."""
        ...

    def output_shape(self, layer: str, size: tuple[int, int] | None) -> tuple[int, int | None, int | None]:
        """(channels, height, width) of a layer's output for an image of that size; None where that is open."""
        ...

    def ordered(self, submodel: SubModel) -> SubModel:
        """The sub-model with its taps in the network's order."""
        ...

    def reference(self, submodel: SubModel, images: Images) -> Mapping[str, npt.NDArray[np.floating]]:
        """True outputs per tap, (N, C, H, W), computed by something that shares nothing with the engines."""
        ...

    def largest_values(self, submodel: SubModel, images: Images) -> Mapping[str, float]:
        """Largest magnitude on the way to the taps, per layer that it is known of; float16 holds up to 65,504."""
        ...
