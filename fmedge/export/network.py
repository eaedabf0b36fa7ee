"""The interface of a network that can be exported: its shapes, preprocessing and true outputs are known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fmedge.model.card import WeightsFacts
from fmedge.model.preprocessing import Preprocessing
from fmedge.model.submodel import SubModel
from fmedge.model.tap_view import TapView

Images = npt.NDArray[np.uint8] | npt.NDArray[np.float32]
"""(N, height, width, 3), RGB, 0 to 255."""


class Network(Protocol):
    """A network that sub-models are cut from."""

    @property
    def facts(self) -> WeightsFacts:
        """Which weights the network holds."""
        ...

    @property
    def preprocessing(self) -> Preprocessing:
        """What the model file must do to the pixels."""
        ...

    def functions(self, submodel: SubModel) -> tuple[str, ...]:
        """Return, per tap, the layer's activation as a card names it; empty if all are ReLU."""
        ...

    def output_shape(self, layer: str, size: tuple[int, int] | None) -> tuple[int, int | None, int | None]:
        """Return (channels, height, width) of a layer's output for an image of this size; None for open extents."""
        ...

    def views(self, submodel: SubModel, size: tuple[int, int] | None) -> tuple[TapView | None, ...]:
        """Return what the values of each tap see of an image of this size; None where that is not known.

        Empty for a stock network, whose table says it.
        """
        ...

    def ordered(self, submodel: SubModel) -> SubModel:
        """Return the sub-model with its taps in the network's order."""
        ...

    def reference(self, submodel: SubModel, images: Images) -> Mapping[str, npt.NDArray[np.floating]]:
        """Compute the true outputs per tap, (N, C, H, W), with code that shares nothing with the engines."""
        ...

    def largest_values(self, submodel: SubModel, images: Images) -> Mapping[str, float]:
        """Return the largest magnitude on the way to the taps, per layer where known; float16 holds up to 65,504."""
        ...
