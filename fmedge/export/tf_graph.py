"""A sub-model as a TensorFlow function over constants: what both converters start from."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Protocol

from fmedge.card import ModelCard
from fmedge.export.network import Network
from fmedge.export.tf_import import Function, Tensor, freeze, tf
from fmedge.preprocessing import Preprocessing
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
"""From prepared pixels, (N, H, W, 3), red first, or (N, H, W, 1), grey, to (N, H, W, C) per tap."""


class TfNetwork(Network, Protocol):
    """A network that TensorFlow can compute."""

    @property
    def input_dtype(self) -> str:
        """Of what type it takes pixels."""
        ...

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
        computation: What was traced. TensorFlow wants the layers to live as long as the function does.
    """

    function: Function
    layers: tuple[str, ...]
    computation: TfComputation


_LUMA = (19595.0, 38470.0, 7471.0)
"""Weights of red, green and blue times 65,536, as Pillow has them; sums of bytes times these are exact in float32."""


def _prepare(image: Tensor, preprocessing: Preprocessing, dtype: str) -> Tensor:
    """Pixels as the model wants them, but for the order of colours, before its first convolution pads with zeros."""
    pixels = tf.cast(image, dtype, name="image_float")
    if preprocessing.channel_order == "GREY":
        sums = tf.reduce_sum(tf.cast(image, tf.float32) * tf.constant(_LUMA), axis=3, keepdims=True)
        pixels = tf.cast(tf.floor((sums + 32768.0) / 65536.0), dtype, name="grey")
    factors, offsets = preprocessing.affine()
    if preprocessing.channel_order == "BGR":
        factors, offsets = factors[::-1], offsets[::-1]
    if set(factors) != {1.0}:
        pixels = tf.multiply(pixels, tf.constant(factors, tf.float32, name="scale_rgb"), name="scaled")
    if any(offsets):
        pixels = tf.subtract(pixels, tf.constant(offsets, tf.float32, name="mean_rgb"), name="pixels")
    return pixels


def trace(card: ModelCard, network: TfNetwork) -> Traced:
    """Trace the sub-model that a card describes, preprocessing included.

    Raises:
        UsageError: The network cannot be cut so.
    """
    scopes = LayerScopes()
    image = card.inputs[0]
    computation = network.tf_computation(card.submodel)

    def compute(image: Tensor) -> list[Tensor]:
        outputs = computation(_prepare(image, card.preprocessing, network.input_dtype), scopes)
        maps = [outputs[name] for name in card.submodel.taps]
        if card.options.layout == "NCHW":
            maps = [tf.transpose(tap, [0, 3, 1, 2]) for tap in maps]
        return [tf.identity(tap, name=f"tap_{index}") for index, tap in enumerate(maps)]

    function = tf.function(compute, autograph=False)
    signature = tf.TensorSpec(image.shape, tf.as_dtype(image.dtype), name=image.name)
    with quietly():
        traced = function.get_concrete_function(signature)
        if traced.captured_inputs:  # tensors that a layer holds, but not as weights, as Normalization does its mean
            traced = freeze(traced)
        return Traced(traced, tuple(scopes.names), computation)
