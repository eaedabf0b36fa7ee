"""A Keras model of the user's own as a network to cut."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fmedge.card import Preprocessing, WeightsFacts
from fmedge.errors import UsageError, WeightsError
from fmedge.export.keras_cut import Cut, is_graph, network_order
from fmedge.export.keras_file import read_keras_model
from fmedge.export.keras_import import Model
from fmedge.export.network import Images
from fmedge.export.tf_graph import LayerScopes, TfComputation
from fmedge.export.tf_import import Tensor, tf
from fmedge.image import MEAN_BGR
from fmedge.quiet import quietly
from fmedge.submodel import KERAS, SubModel
from fmedge.weights import WeightsChoice

_PREPROCESSING: dict[str, Preprocessing] = {
    "vgg16": Preprocessing("BGR", MEAN_BGR, in_model=True),
    "none": Preprocessing("RGB", (0.0, 0.0, 0.0), in_model=True),
}


@dataclass(frozen=True, slots=True)
class KerasNetwork:
    """A sequential or functional Keras model; see :class:`fmedge.export.network.Network`.

    Attributes:
        model: The model; it is not changed.
        facts: Which it is.
        preprocessing: What it wants done to pixels, put into the model file.
    """

    model: Model
    facts: WeightsFacts
    preprocessing: Preprocessing

    def ordered(self, submodel: SubModel) -> SubModel:
        """The sub-model with its taps in the network's order.

        Raises:
            UsageError: A layer does not exist.
        """
        return SubModel(network_order(self.model, submodel.taps), submodel.activation, KERAS)

    def output_shape(self, layer: str, size: tuple[int, int] | None) -> tuple[int, int | None, int | None]:
        """See :meth:`Network.output_shape`.

        Raises:
            UsageError: There is no such layer, it has no spatial output, or not at this size.
        """
        cut = Cut(self.model, SubModel((layer,), source=KERAS))

        def compute(pixels: Tensor) -> Tensor:
            return cut.outputs(pixels, reverse_colours=False, scopes=LayerScopes(), constants=False)[layer]

        with quietly():
            signature = tf.TensorSpec((None, *(size or (None, None)), 3), tf.float32)
            traced = tf.function(compute, autograph=False).get_concrete_function(signature)
        _, height, width, channels = traced.outputs[0].shape
        if size is not None and 0 in (height, width):
            raise UsageError(f"--size {size[0]}x{size[1]} is too small for {layer}. Give a larger one.")
        return channels, height, width

    def reference(self, submodel: SubModel, images: Images) -> Mapping[str, npt.NDArray[np.floating]]:
        """See :meth:`Network.reference`: the model's own layers run by Keras, the pixels prepared in NumPy."""
        order = slice(None, None, -1) if self.preprocessing.channel_order == "BGR" else slice(None)
        pixels = images[..., order].astype(np.float32) - np.array(self.preprocessing.mean, np.float32)
        with quietly():
            outputs = Cut(self.model, submodel).outputs(
                tf.constant(pixels), reverse_colours=False, scopes=LayerScopes(), constants=False
            )
        return {name: values.numpy().transpose(0, 3, 1, 2) for name, values in outputs.items()}

    def largest_values(self, submodel: SubModel, images: Images) -> Mapping[str, float]:
        """See :meth:`Network.largest_values`: of the taps; what overflows before them shows in their parity."""
        return {name: float(np.abs(values).max()) for name, values in self.reference(submodel, images).items()}

    def tf_computation(self, submodel: SubModel) -> TfComputation:
        """See :meth:`fmedge.export.tf_graph.TfNetwork.tf_computation`."""
        cut = Cut(self.model, submodel)
        reverse = self.preprocessing.channel_order == "BGR"
        return lambda pixels, scopes: cut.outputs(pixels, reverse_colours=reverse, scopes=scopes, constants=True)


def load_keras_network(choice: WeightsChoice, preprocessing: str = "vgg16") -> KerasNetwork:
    """Load a ``.keras`` or ``.h5`` model.

    Args:
        choice: From :func:`fmedge.weights.choose_keras_file`.
        preprocessing: ``vgg16`` puts that of Keras' VGG16 into the model file; ``none`` hands over RGB, 0 to 255.

    Raises:
        WeightsError: It cannot be read, or would run code.
        UsageError: It is no network that can be cut.
    """
    if choice.path is None:
        raise WeightsError("No Keras file was given. Name one with --keras.")
    return _network(read_keras_model(choice.path), choice.facts, preprocessing)


def network_of_model(model: Model, preprocessing: str = "vgg16") -> KerasNetwork:
    """A ``keras.Model`` object as a network; its facts hold a hash of its configuration and weights.

    Args:
        model: Sequential or functional, built; it is not changed.
        preprocessing: As in :func:`load_keras_network`.

    Raises:
        UsageError: It is no network that can be cut.
    """
    _require_graph(model)
    digest = hashlib.sha256(model.to_json().encode())
    for array in model.get_weights():
        digest.update(np.ascontiguousarray(array).tobytes())
    return _network(model, WeightsFacts("keras", digest.hexdigest()), preprocessing)


def _network(model: Model, facts: WeightsFacts, preprocessing: str) -> KerasNetwork:
    _require_graph(model)
    return KerasNetwork(model, facts, _PREPROCESSING[preprocessing])


def _require_graph(model: Model) -> None:
    if not is_graph(model) or not getattr(model, "built", False) or not model.inputs:
        raise UsageError(
            "This Keras model keeps no graph of its layers. Allowed: a sequential or functional model with an Input."
        )
    shape = tuple(model.inputs[0].shape)
    if len(model.inputs) != 1 or len(shape) != 4 or shape[3] not in (None, 3):
        takes = ", ".join(str(tuple(tensor.shape)) for tensor in model.inputs)
        raise UsageError(f"The Keras model takes {takes}. Allowed: one RGB image, (None, height, width, 3).")
