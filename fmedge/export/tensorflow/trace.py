"""Trace a sub-model as a TensorFlow function with constant weights, from which both converters start."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt, prod
from typing import Any, Protocol

from fmedge.errors import FmedgeError, UsageError
from fmedge.export.network import Network
from fmedge.export.pixels import LUMA_PARTS
from fmedge.export.tensorflow.scopes import LayerScopes, TfComputation
from fmedge.export.tensorflow.tf_import import Function, Tensor, freeze, tf
from fmedge.model.card import ModelCard
from fmedge.model.submodel import Precision, SubModel
from fmedge.system.address_space import is_shortage, shortage
from fmedge.system.stderr import quietly


class TfNetwork(Network, Protocol):
    """A network that TensorFlow can compute."""

    @property
    def input_dtype(self) -> str:
        """The dtype of the pixels that the network takes."""
        ...

    def tf_computation(self, submodel: SubModel) -> TfComputation:
        """Return the function that computes a sub-model while it is traced; its weights are constants.

        Raises:
            UsageError: The network cannot be cut like this.
        """
        ...


@dataclass(frozen=True, slots=True)
class Traced:
    """A traced function and the names of its layers.

    Attributes:
        function: A concrete function without variables. It takes ``image`` and returns the taps in order, in the card's
            layout.
        layers: Names of the layers; operations in the scope ``layer_n`` belong to the n-th.
        computation: The traced computation, kept because TensorFlow needs the layers to live as long as the function.
    """

    function: Function
    layers: tuple[str, ...]
    computation: TfComputation


def _luma(image: Tensor, precision: Precision) -> Tensor:
    """Turn (N, H, W, 3) into (N, H, W, 1), float32, as Pillow's ``convert("L")`` does; for int8 without rounding."""
    colours = tf.cast(image, tf.float32)
    parts = [
        tf.reduce_sum(colours * tf.constant(weights), axis=3, keepdims=True) * unit for weights, unit in LUMA_PARTS
    ]
    return sum(parts) if precision is Precision.INT8 else tf.floor(sum(parts) + 0.5)


def _prepare(image: Tensor, card: ModelCard, dtype: str) -> Tensor:
    """Prepare pixels as the model expects them, except for the colour order, before its first convolution pads them."""
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
    """Trace the sub-model that a card describes, including its preprocessing.

    Raises:
        UsageError: The network cannot be cut like this.
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
        if traced.captured_inputs:  # tensors that are no weights, such as Normalization's mean
            traced = freeze(traced)
        return Traced(traced, tuple(scopes.names), computation)


_HELD = frozenset({"Placeholder", "Const", "ReadVariableOp", "Identity", "Reshape", "Squeeze", "ExpandDims"})
"""Operations whose results need no memory of their own: weights, and the same values in another shape."""


def peak_bytes(graph: Any) -> int:  # noqa: ANN401 - a tf.Graph
    """Estimate the peak memory of the values of a traced function, each held from its creation to its last use.

    Args:
        graph: Graph of a concrete function; open extents (the number of images) count as 1.

    Returns:
        Bytes, without weights and without the scratch memory of kernels.
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
    """Count the multiplications in the convolutions and matrix products of a traced function, for one image."""
    return sum(_products(operation) for operation in graph.get_operations())


def _products(operation: Any) -> int:  # noqa: ANN401 - a tf.Operation
    if operation.type in ("Conv2D", "Conv2DBackpropInput", "DepthwiseConv2dNative"):
        kernel = _extents(operation.inputs[1])
        positions = operation.inputs[2] if operation.type == "Conv2DBackpropInput" else operation.outputs[0]
        return prod(_extents(positions)) * prod(kernel[:2] if operation.type.startswith("Depthwise") else kernel[:3])
    if operation.type in ("PartitionedCall", "StatefulPartitionedCall"):  # Keras' convolutions in groups
        function = operation.graph._get_function(operation.get_attr("f").name)  # noqa: SLF001 - there is no public way
        return 0 if function is None else multiplications(function.graph)
    if operation.type in ("MatMul", "BatchMatMul", "BatchMatMulV2"):
        left, right = (prod(_extents(tensor)) for tensor in operation.inputs[:2])
        made = prod(_extents(operation.outputs[0]))
        return isqrt(left * right * made)  # for (m, k) and (k, n) the sizes are m k, k n and m n: the root is m k n
    return 0


def _extents(tensor: Tensor) -> list[int]:
    """Return the extents of a tensor's axes; 1 for open ones."""
    return [] if tensor.shape.rank is None else [extent or 1 for extent in tensor.shape.as_list()]


def _bytes_of(tensor: Tensor) -> int:
    return prod(_extents(tensor)) * max(1, tensor.dtype.size)


def cannot_convert(converter: str, error: Exception) -> FmedgeError:
    """Return the error for a model that a converter fails on."""
    if is_shortage(error):
        return shortage(error)
    said = str(error).strip().partition("\n")[0][:90].rstrip(".") or type(error).__name__
    return UsageError(f"{converter} cannot convert the model: {said}.", hint="Cut before what it fails on.")
