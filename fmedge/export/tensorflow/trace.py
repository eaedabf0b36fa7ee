"""A sub-model as a TensorFlow function over constants: what both converters start from."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt, prod
from typing import Any, Protocol

from fmedge.export.network import Network
from fmedge.export.tensorflow.scopes import LayerScopes, TfComputation
from fmedge.export.tensorflow.tf_import import Function, Tensor, freeze, tf
from fmedge.model.card import ModelCard
from fmedge.model.submodel import Precision, SubModel
from fmedge.system.stderr import quietly


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


_LUMA = ((153.0, 300.0, 58.0), 2.0**-9), ((11.0, 70.0, 47.0), 2.0**-16)
"""Pillow's weights of red, green and blue, 19595, 38470 and 7471 out of 65,536, in two parts that float16 holds
exactly. The luma of bytes, rounded to a byte, is then exact in float32."""


def _luma(image: Tensor, precision: Precision) -> Tensor:
    """(N, H, W, 3) to (N, H, W, 1), float32, as Pillow's ``convert("L")``; with int8 not rounded in between."""
    colours = tf.cast(image, tf.float32)
    parts = [tf.reduce_sum(colours * tf.constant(weights), axis=3, keepdims=True) * unit for weights, unit in _LUMA]
    return sum(parts) if precision is Precision.INT8 else tf.floor(sum(parts) + 0.5)


def _prepare(image: Tensor, card: ModelCard, dtype: str) -> Tensor:
    """Pixels as the model wants them, but for the order of colours, before its first convolution pads with zeros."""
    preprocessing = card.preprocessing
    pixels = image if preprocessing.channel_order != "GREY" else _luma(image, card.precision)
    pixels = tf.cast(pixels, dtype, name="image_float")
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
        outputs = computation(_prepare(image, card, network.input_dtype), scopes)
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


_HELD = frozenset({"Placeholder", "Const", "ReadVariableOp", "Identity", "Reshape", "Squeeze", "ExpandDims"})
"""Operations that take no memory of their own for what they give: weights, and the same values in another shape."""


def peak_bytes(graph: Any) -> int:  # noqa: ANN401 - a tf.Graph
    """Memory that the values of a traced function take at once, each from where it is made to its last use.

    Args:
        graph: Of a concrete function; what it leaves open (the number of images) counts as 1.

    Returns:
        Bytes; weights are left out, and what kernels take on the way.
    """
    operations = graph.get_operations()
    number = {operation.name: index for index, operation in enumerate(operations)}
    freed = [0] * (len(operations) + 1)
    held = most = 0
    for index, operation in enumerate(operations):
        if operation.type not in _HELD:
            size = sum(_bytes_of(tensor) for tensor in operation.outputs)
            readers = [number[reader.name] for tensor in operation.outputs for reader in tensor.consumers()]
            freed[max(readers, default=len(operations))] += size
            held += size
        most = max(most, held)
        held -= freed[index]
    return most


def multiplications(graph: Any) -> int:  # noqa: ANN401 - a tf.Graph
    """How many products the convolutions and matrix products of a traced function are, for one image."""
    return sum(_products(operation) for operation in graph.get_operations())


def _products(operation: Any) -> int:  # noqa: ANN401 - a tf.Operation
    if operation.type in ("Conv2D", "Conv2DBackpropInput", "DepthwiseConv2dNative"):
        kernel = _extents(operation.inputs[1])
        positions = operation.inputs[2] if operation.type == "Conv2DBackpropInput" else operation.outputs[0]
        return prod(_extents(positions)) * prod(kernel[:2] if operation.type.startswith("Depthwise") else kernel[:3])
    if operation.type in ("MatMul", "BatchMatMul", "BatchMatMulV2"):
        left, right = (prod(_extents(tensor)) for tensor in operation.inputs[:2])
        made = prod(_extents(operation.outputs[0]))
        return isqrt(left * right * made)  # of (m, k) and (k, n): m k, k n and m n
    return 0


def _extents(tensor: Tensor) -> list[int]:
    """Of a tensor's axes; 1 where they are open."""
    return [] if tensor.shape.rank is None else [extent or 1 for extent in tensor.shape.as_list()]


def _bytes_of(tensor: Tensor) -> int:
    return prod(_extents(tensor)) * max(1, tensor.dtype.size)
