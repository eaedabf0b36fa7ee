"""The stock networks in TensorFlow operations, without Keras and without variables."""

from __future__ import annotations

from fmedge.export.tensorflow.scopes import LayerScopes
from fmedge.export.tensorflow.tf_import import Tensor, tf
from fmedge.model.submodel import Activation, SubModel
from fmedge.model.weights import Weights


def stock_outputs(weights: Weights, submodel: SubModel, pixels: Tensor, scopes: LayerScopes) -> dict[str, Tensor]:
    """Compute the taps of a stock network; weights after the deepest tap are not used.

    Args:
        weights: Kernel and bias of every convolution up to the deepest tap.
        submodel: The taps, and what they show.
        pixels: (N, H, W, 3), float32, RGB, the mean subtracted. The first kernel is turned from BGR to RGB.
        scopes: Names the operations.

    Returns:
        Per tap: (N, H, W, C).
    """
    values = pixels
    outputs: dict[str, Tensor] = {}
    for spec in submodel.stock_layers:
        with scopes.layer(spec.name):
            if spec.kind == "pool":
                values = shown = tf.nn.max_pool2d(values, 2, 2, "VALID")
            else:
                kernel, bias = weights[spec.name]
                kernel = kernel[:, :, ::-1] if spec.in_channels == 3 else kernel
                raw = tf.nn.bias_add(tf.nn.conv2d(values, tf.constant(kernel), 1, "SAME"), tf.constant(bias))
                values = tf.nn.relu(raw)
                shown = raw if submodel.activation is Activation.NONE else values
        if spec.name in submodel.taps:
            outputs[spec.name] = shown
    return outputs
