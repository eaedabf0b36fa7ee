"""What can be exported: a network whose shapes, preprocessing and true outputs are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from fmedge.export.reference import reference_outputs
from fmedge.model.card import WeightsFacts
from fmedge.model.preprocessing import CAFFE, PREPROCESSINGS, Preprocessing
from fmedge.model.submodel import Activation, SubModel
from fmedge.model.vgg16 import find_layer, layers_through
from fmedge.model.weights import Weights

if TYPE_CHECKING:
    from fmedge.export.tensorflow.trace import TfComputation

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


@dataclass(frozen=True, slots=True)
class StockNetwork:
    """Keras' VGG16 without its top; see :class:`Network`.

    Attributes:
        weights: Kernel and bias of every convolution up to the deepest tap.
        facts: Where they are from.
    """

    weights: Weights
    facts: WeightsFacts

    @property
    def preprocessing(self) -> Preprocessing:
        """That of Keras' ``vgg16.preprocess_input``."""
        return PREPROCESSINGS[CAFFE]

    def ordered(self, submodel: SubModel) -> SubModel:
        """As it is: a sub-model of stock VGG16 sorts itself."""
        return submodel

    @property
    def input_dtype(self) -> str:
        """See :attr:`fmedge.export.tensorflow.trace.TfNetwork.input_dtype`."""
        return "float32"

    def functions(self, submodel: SubModel) -> tuple[str, ...]:
        """See :meth:`Network.functions`."""
        del submodel
        return ()

    def output_shape(self, layer: str, size: tuple[int, int] | None) -> tuple[int, int | None, int | None]:
        """See :meth:`Network.output_shape`."""
        spec = find_layer(layer)
        return (spec.channels, None, None) if size is None else spec.output_shape(*size)

    def reference(self, submodel: SubModel, images: Images) -> Mapping[str, npt.NDArray[np.floating]]:
        """See :meth:`Network.reference`: NumPy, float64."""
        each = [reference_outputs(submodel, self.weights, image) for image in images]
        return {name: np.stack([outputs[name] for outputs in each]) for name in submodel.taps}

    def largest_values(self, submodel: SubModel, images: Images) -> Mapping[str, float]:
        """See :meth:`Network.largest_values`: of every convolution, before ReLU."""
        layers = layers_through(submodel.deepest)
        convolutions = tuple(spec.name for spec in layers if spec.kind == "conv")
        raw = self.reference(SubModel(convolutions, Activation.NONE), images[:1])
        return {name: float(np.abs(values).max()) for name, values in raw.items()}

    def tf_computation(self, submodel: SubModel) -> TfComputation:
        """See :meth:`fmedge.export.tensorflow.trace.TfNetwork.tf_computation`."""
        from fmedge.export.tensorflow.vgg16_graph import vgg16_outputs  # brings TensorFlow

        return lambda pixels, scopes: vgg16_outputs(self, submodel, pixels, scopes)
