"""A sub-model as a TensorFlow function over constants: what both converters start from."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Protocol

from fmedge.card import ModelCard
from fmedge.errors import UsageError
from fmedge.export.network import Network
from fmedge.export.tf_import import Function, Tensor, tf
from fmedge.quiet import quietly
from fmedge.submodel import SubModel


class LayerScopes:
    """Names of traced layers: operations of the n-th stand in the scope ``layer_n``, whatever the layer is called."""

    def __init__(self) -> None:
        self.names: list[str] = []

    @contextlib.contextmanager
    def layer(self, name: str) -> Generator[None]:
        """Put the operations of the block into the scope of a layer."""
        self.names.append(name)
        with tf.name_scope(f"layer_{len(self.names) - 1}/"):  # the slash: whatever scope this one stands in
            yield


TfComputation = Callable[[Tensor, LayerScopes], Mapping[str, Tensor]]
"""From RGB pixels, (N, H, W, 3), float32, the mean subtracted, to (N, H, W, C) per tap."""


class TfNetwork(Network, Protocol):
    """A network that TensorFlow can compute."""

    def tf_computation(self, submodel: SubModel) -> TfComputation:
        """What computes a sub-model while it is traced; weights are constants.

        Raises:
            UsageError: The network cannot be cut so.
        """
        ...


@dataclass(frozen=True, slots=True)
class Traced:
    """A function and what its parts are called.

    Attributes:
        function: Concrete; takes ``image`` and returns the taps in order, in the card's layout. No variables.
        layers: Name of the layer whose operations stand in the scope ``layer_n``, by n.
    """

    function: Function
    layers: tuple[str, ...]


def trace(card: ModelCard, network: TfNetwork) -> Traced:
    """Trace the sub-model that a card describes, preprocessing included.

    Raises:
        UsageError: The network cannot be cut so.
    """
    scopes = LayerScopes()
    image = card.inputs[0]
    if image.name in card.submodel.taps:
        raise UsageError(f"A layer named '{image.name}' cannot be a tap: the model's input has that name. Rename it.")
    computation = network.tf_computation(card.submodel)
    mean_rgb = card.preprocessing.mean[::-1] if card.preprocessing.channel_order == "BGR" else card.preprocessing.mean

    def compute(image: Tensor) -> list[Tensor]:
        pixels = tf.cast(image, tf.float32, name="image_float")
        if any(mean_rgb):  # before the first convolution pads with zeros, as in Keras
            pixels = tf.subtract(pixels, tf.constant(mean_rgb, tf.float32, name="mean_rgb"), name="pixels")
        outputs = computation(pixels, scopes)
        maps = [outputs[name] for name in card.submodel.taps]
        if card.options.layout == "NCHW":
            maps = [tf.transpose(tap, [0, 3, 1, 2]) for tap in maps]
        return [tf.identity(tap, name=f"tap_{index}") for index, tap in enumerate(maps)]

    function = tf.function(compute, autograph=False)
    signature = tf.TensorSpec(image.shape, tf.as_dtype(image.dtype), name=image.name)
    with quietly():
        return Traced(function.get_concrete_function(signature), tuple(scopes.names))
