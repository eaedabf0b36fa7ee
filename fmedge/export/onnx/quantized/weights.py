"""Round the weights of convolutions, and correct their biases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from onnx import ModelProto, NodeProto

from fmedge.export.int8.rounding import round_kernel
from fmedge.export.onnx.quantized.graphs import Array, Floats, constants_of, copied, set_constants, setting
from fmedge.export.onnx.quantized.statistics import Inputs

_SMALLEST = 1e-9
"""Smallest magnitude of a filter: not zero, so that its step can be a divisor."""


class Rounded(NamedTuple):
    """A float model whose convolutions have rounded weights.

    Attributes:
        model: Its weights are whole multiples of their steps.
        steps: The steps of each weight constant, one per filter.
    """

    model: ModelProto
    steps: dict[str, Floats]


def round_weights(
    model: ModelProto,
    convolutions: Sequence[NodeProto],
    inputs: Mapping[str, Inputs],
    limit: int,
    *,
    candidate: int = 0,
    feedback: bool = True,
) -> Rounded:
    """Round the weights of convolutions to whole steps, with a step per filter.

    Biases make up for what that changes in the means (bias correction, Nagel et al. 2019).

    Args:
        model: The float model.
        convolutions: Its ``Conv`` operators to round; all others keep their weights.
        inputs: What they read.
        limit: Largest magnitude of a weight, in steps.
        candidate: Index of the ranges that the activations have.
        feedback: Whether rounding errors compensate each other (:func:`fmedge.export.int8.rounding.round_kernel`);
            otherwise every weight is rounded to the nearest step.
    """
    constants, made, steps = constants_of(model), dict[str, Array](), dict[str, Floats]()
    for node in convolutions:
        weights, bias = (constants[name].astype(np.float64) for name in node.input[1:3])
        groups, seen = setting(node, "group", 1), inputs[node.output[0]]
        matrices = weights.reshape(groups, len(weights) // groups, -1).transpose(0, 2, 1)
        units = (np.maximum(np.abs(matrices).max(axis=1), _SMALLEST) / limit).astype(np.float32).astype(np.float64)
        counts = np.clip(np.rint(matrices / units[:, np.newaxis]), -limit, limit)
        if feedback:
            counts = np.stack([
                round_kernel(matrices[index], units[index], _covariance(seen, index), limit) for index in range(groups)
            ]).astype(np.float64)  # fmt: skip
        rounded = counts * units[:, np.newaxis]
        before = np.einsum("gi,gio->go", seen.values / seen.count, matrices)
        after = np.einsum("gi,gio->go", seen.stored[candidate] / seen.count, rounded)
        bias = bias + (before - after).reshape(-1)
        made[node.input[1]] = rounded.transpose(0, 2, 1).reshape(weights.shape).astype(np.float32)
        made[node.input[2]] = bias.astype(np.float32)
        steps[node.input[1]] = units.reshape(-1)
    copy = copied(model)
    set_constants(copy, made)
    return Rounded(copy, steps)


def _covariance(seen: Inputs, group: int) -> Floats:
    """Return the covariance of what a convolution reads; with few places, the part off the diagonal is not trusted."""
    mean = seen.values[group] / seen.count
    found = seen.products[group] / seen.count - np.outer(mean, mean)
    trust = seen.count / (seen.count + len(found))
    return found * trust + np.diag(np.diag(found) * (1 - trust))
