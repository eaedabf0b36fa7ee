"""A stock network to cut: its weights, its preprocessing, and what it computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fmedge.export.network import Images
from fmedge.export.reference import reference_outputs
from fmedge.model.card import WeightsFacts
from fmedge.model.preprocessing import CAFFE, PREPROCESSINGS, Preprocessing
from fmedge.model.stock import STOCK, VGG16
from fmedge.model.submodel import Activation, SubModel
from fmedge.model.tap_view import TapView
from fmedge.model.weights import Weights

if TYPE_CHECKING:
    from fmedge.export.tensorflow.scopes import TfComputation


@dataclass(frozen=True, slots=True)
class StockNetwork:
    """Keras' VGG16 or VGG19 without its top; see :class:`fmedge.export.network.Network`.

    Attributes:
        weights: Kernel and bias of every convolution up to the deepest tap.
        facts: Where they come from.
        source: Which stock network it is.
    """

    weights: Weights
    facts: WeightsFacts
    source: str = VGG16

    @property
    def preprocessing(self) -> Preprocessing:
        """The preprocessing of Keras' ``vgg16.preprocess_input`` and ``vgg19.preprocess_input``."""
        return PREPROCESSINGS[CAFFE]

    def ordered(self, submodel: SubModel) -> SubModel:
        """Return the sub-model unchanged: a sub-model of a stock network sorts its own taps."""
        return submodel

    @property
    def input_dtype(self) -> str:
        """See :attr:`fmedge.export.tensorflow.trace.TfNetwork.input_dtype`."""
        return "float32"

    def functions(self, submodel: SubModel) -> tuple[str, ...]:
        """See :meth:`fmedge.export.network.Network.functions`."""
        del submodel
        return ()

    def output_shape(self, layer: str, size: tuple[int, int] | None) -> tuple[int, int | None, int | None]:
        """See :meth:`fmedge.export.network.Network.output_shape`."""
        spec = STOCK[self.source].find(layer)
        return (spec.channels, None, None) if size is None else spec.output_shape(*size)

    def views(self, submodel: SubModel, size: tuple[int, int] | None) -> tuple[TapView | None, ...]:
        """See :meth:`fmedge.export.network.Network.views`."""
        del submodel, size
        return ()

    def reference(self, submodel: SubModel, images: Images) -> Mapping[str, npt.NDArray[np.floating]]:
        """See :meth:`fmedge.export.network.Network.reference`; computed in NumPy and float64."""
        each = [reference_outputs(submodel, self.weights, image) for image in images]
        return {name: np.stack([outputs[name] for outputs in each]) for name in submodel.taps}

    def largest_values(self, submodel: SubModel, images: Images) -> Mapping[str, float]:
        """See :meth:`fmedge.export.network.Network.largest_values`; covers every convolution, before ReLU."""
        convolutions = tuple(spec.name for spec in submodel.stock_layers if spec.kind == "conv")
        raw = self.reference(SubModel(convolutions, Activation.NONE, self.source), images[:1])
        return {name: float(np.abs(values).max()) for name, values in raw.items()}

    def tf_computation(self, submodel: SubModel) -> TfComputation:
        """See :meth:`fmedge.export.tensorflow.trace.TfNetwork.tf_computation`."""
        from fmedge.export.tensorflow.stock_graph import stock_outputs  # imports TensorFlow

        return lambda pixels, scopes: stock_outputs(self.weights, submodel, pixels, scopes)
