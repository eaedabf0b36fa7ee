"""A user's own Keras model as a network to cut."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fmedge.errors import UsageError, WeightsError
from fmedge.export.network import Images
from fmedge.export.pixels import prepared
from fmedge.export.room import require_room
from fmedge.export.tensorflow.keras_applications import model_of_application
from fmedge.export.tensorflow.keras_calls import find_place, network_order
from fmedge.export.tensorflow.keras_copy import in_float32
from fmedge.export.tensorflow.keras_cut import Cut
from fmedge.export.tensorflow.keras_file import read_keras_model
from fmedge.export.tensorflow.keras_import import Model, is_graph, reason_of
from fmedge.export.tensorflow.keras_layers import keras_views
from fmedge.export.tensorflow.keras_layout import channels_last
from fmedge.export.tensorflow.keras_reference import keras_outputs
from fmedge.export.tensorflow.keras_taps import find_tap
from fmedge.export.tensorflow.scopes import LayerScopes, TfComputation
from fmedge.export.tensorflow.tf_import import Tensor, tf
from fmedge.export.tensorflow.trace import multiplications, peak_bytes
from fmedge.export.views import tap_view
from fmedge.model.card import WeightsFacts
from fmedge.model.network_input import NetworkInput
from fmedge.model.preprocessing import Preprocessing, for_channels
from fmedge.model.stock import INPUT_SIZE
from fmedge.model.submodel import KERAS, SubModel
from fmedge.model.tap_view import TapView
from fmedge.model.weights import WeightsChoice
from fmedge.system.stderr import quietly


@dataclass(frozen=True, slots=True)
class KerasNetwork:
    """A sequential or functional Keras model; see :class:`fmedge.export.network.Network`.

    Attributes:
        model: The model, with the channels last; it is not changed.
        facts: Which model it is.
        preprocessing: What the model needs done to pixels; it becomes part of the model file.
    """

    model: Model
    facts: WeightsFacts
    preprocessing: Preprocessing

    @property
    def input_dtype(self) -> str:
        """The dtype of the pixels that the model takes."""
        return str(self.model.inputs[0].dtype)

    def ordered(self, submodel: SubModel) -> SubModel:
        """Return the sub-model with its taps in the network's order.

        Raises:
            UsageError: A layer does not exist.
        """
        return SubModel(network_order(self.model, submodel.taps), submodel.activation, KERAS)

    def functions(self, submodel: SubModel) -> tuple[str, ...]:
        """See :meth:`Network.functions`."""
        return tuple(find_tap(self.model, name, submodel.activation).function for name in submodel.taps)

    def output_shape(self, layer: str, size: tuple[int, int] | None) -> tuple[int, int | None, int | None]:
        """See :meth:`Network.output_shape`.

        Raises:
            UsageError: There is no such layer, or it has no spatial output, or none at this size.
            LimitExceeded: Computing it would take too much memory or time.
        """
        cut = Cut(self.model, SubModel((layer,), source=KERAS))

        def compute(pixels: Tensor) -> Tensor:
            return cut.outputs(pixels, reverse_colours=False, scopes=LayerScopes(), constants=False)[layer]

        with quietly():
            channels = 1 if self.preprocessing.channel_order == "GREY" else 3

            def trace(size: tuple[int, int] | tuple[None, None]) -> Any:  # noqa: ANN401 - a concrete function
                function = tf.function(compute, autograph=False)  # new each time: it may reuse one trace
                return function.get_concrete_function(tf.TensorSpec((None, *size, channels), self.input_dtype))

            traced = trace(size or (None, None))
            graph = (traced if size else trace(INPUT_SIZE)).graph
            require_room(layer, peak_bytes(graph), multiplications(graph), size or INPUT_SIZE)
        _, height, width, channels = traced.outputs[0].shape
        if size is not None and 0 in (height, width):
            raise UsageError(
                f"size {size[0]}x{size[1]} is too small for {layer}. Give a larger one.", flags=("--size",)
            )
        return channels, height, width

    def views(self, submodel: SubModel, size: tuple[int, int] | None) -> tuple[TapView | None, ...]:
        """See :meth:`Network.views`."""
        places = [find_place(self.model, name) for name in submodel.taps]
        try:
            return tuple(map(tap_view, keras_views(self.model, places, size or (None, None))))
        except UsageError:  # a layer that cannot say what it would give, but gives it
            return (None,) * len(places)

    def reference(self, submodel: SubModel, images: Images) -> Mapping[str, npt.NDArray[np.floating]]:
        """See :meth:`Network.reference`; Keras itself runs the model, and NumPy prepares the pixels."""
        pixels = tf.constant(prepared(images, self.preprocessing), self.input_dtype)
        with quietly():
            try:
                outputs = keras_outputs(self.model, Cut(self.model, submodel).taps, pixels)
            except tf.errors.OpError as error:  # such as channels-first convolutions without oneDNN
                raise UsageError(
                    f"TensorFlow cannot compute this model on this processor: {reason_of(error)}",
                    hint="Use another machine, or --no-verify.",
                ) from error
        return {name: values.numpy().transpose(0, 3, 1, 2) for name, values in outputs.items()}

    def largest_values(self, submodel: SubModel, images: Images) -> Mapping[str, float]:
        """See :meth:`Network.largest_values`; covers only the taps: an overflow before them shows in their parity."""
        return {name: float(np.abs(values).max()) for name, values in self.reference(submodel, images).items()}

    def tf_computation(self, submodel: SubModel) -> TfComputation:
        """See :meth:`fmedge.export.tensorflow.trace.TfNetwork.tf_computation`."""
        cut = Cut(self.model, submodel)
        reverse = self.preprocessing.channel_order == "BGR"
        return lambda pixels, scopes: cut.outputs(pixels, reverse_colours=reverse, scopes=scopes, constants=True)


def load_keras_network(choice: WeightsChoice, preprocessing: str | Preprocessing) -> KerasNetwork:
    """Load a ``.keras`` or ``.h5`` model.

    Args:
        choice: From :func:`fmedge.model.weights.choose_keras_file`.
        preprocessing: The preprocessing put before the model in the model file; see :mod:`fmedge.model.preprocessing`.

    Raises:
        WeightsError: The file cannot be read, or would run code.
        UsageError: The model cannot be cut.
    """
    if choice.path is None:
        raise WeightsError("No Keras file was given.", hint="Name one with --keras.")
    if choice.network is not None:
        return _network(model_of_application(choice.network, choice.path), choice.facts, preprocessing)
    return _network(read_keras_model(choice.path), choice.facts, preprocessing)


def network_of_model(model: Model, preprocessing: str | Preprocessing) -> KerasNetwork:
    """Wrap a ``keras.Model`` object as a network; its facts hold a hash of its configuration and weights.

    Args:
        model: Sequential or functional, built; it is not changed.
        preprocessing: As in :func:`load_keras_network`.

    Raises:
        UsageError: The model cannot be cut.
    """
    _require_graph(model)
    digest = hashlib.sha256(model.to_json().encode())
    for array in model.get_weights():
        digest.update(np.ascontiguousarray(array).tobytes())
    return _network(model, WeightsFacts("keras", digest.hexdigest()), preprocessing)


def _network(model: Model, facts: WeightsFacts, preprocessing: str | Preprocessing) -> KerasNetwork:
    _require_graph(model)
    model = channels_last(in_float32(model))
    NetworkInput(tuple(tuple(tensor.shape) for tensor in model.inputs)).require_image()
    return KerasNetwork(model, facts, for_channels(preprocessing, model.inputs[0].shape[3]))


def _require_graph(model: Model) -> None:
    if not is_graph(model) or not getattr(model, "built", False) or not model.inputs:
        raise UsageError(
            "This Keras model keeps no graph of its layers. Allowed: a sequential or functional model with an Input."
        )
