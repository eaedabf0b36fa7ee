"""Simulate an int8 model: its plan in float64 (fake quantisation), with code that shares nothing with the engines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from fmedge.export.int8.plan import FloatArray, QuantizedConv, image_codes, scaled_kernel, with_mean
from fmedge.export.network import Images
from fmedge.export.reference import convolve, max_pool
from fmedge.model.card import ModelCard
from fmedge.model.submodel import Activation, Format
from fmedge.model.weights import Weights


def simulate(
    plan: Sequence[QuantizedConv], card: ModelCard, weights: Weights, images: Images
) -> Mapping[str, FloatArray]:
    """Compute a model's taps as its plan intends.

    Args:
        plan: Every convolution up to the deepest tap.
        card: Gives the taps and the format.
        weights: The network's weights, for a tap in float.
        images: (N, H, W, 3), RGB, 0 to 255.

    Returns:
        Per tap: (N, C, H, W).
    """
    each = [_simulate_one(plan, card, weights, image.astype(np.uint8)) for image in images]
    return {name: np.stack([taps[name].transpose(2, 0, 1) for taps in each]) for name in card.submodel.taps}


def rounded_to_nearest(plan: Sequence[QuantizedConv], weights: Weights, limit: int) -> list[QuantizedConv]:
    """Return the plan without what calibration adds: weights rounded to the nearest step, biases not corrected.

    A plan that is less accurate than this was made for other values than the model computes.
    """
    plain: list[QuantizedConv] = []
    for conv in plan:
        kernel, bias = weights[conv.layer]
        steps = np.rint(scaled_kernel(kernel, plain) / conv.unit).clip(-limit, limit).astype(np.int8)
        plain.append(replace(conv, kernel=steps, bias=np.rint(bias / conv.unit)))
    return plain


def _simulate_one(
    plan: Sequence[QuantizedConv], card: ModelCard, weights: Weights, image: npt.NDArray[np.uint8]
) -> dict[str, FloatArray]:
    deepest, raw = card.submodel.deepest, card.submodel.activation is Activation.NONE
    per_tensor = card.format is Format.TFLITE
    codes, before = image_codes(image).astype(np.float64), np.ones(4)
    taps: dict[str, FloatArray] = {}
    for conv in plan:
        layer, pool = conv.layer, conv.pool
        if layer == deepest and card.options.float_tap:
            taps[layer] = _float_tap(codes * before, *weights[layer], raw=raw)
            break
        real = convolve(codes, conv.kernel, conv.bias) * conv.unit
        codes, before = _stored(real, conv.step), conv.step
        if raw:
            step, zero = conv.raw_scale(per_tensor=per_tensor)
            taps[layer] = (_stored(real, step, zero) - zero) * step
        elif layer == deepest and per_tensor:
            taps[layer] = _stored(real, conv.relu_step) * conv.relu_step
        else:
            taps[layer] = codes * conv.step
        if pool is not None:
            codes = max_pool(codes)
            taps[pool] = codes * conv.step
        if deepest in (layer, pool):
            break
    return taps


def _stored(real: FloatArray, step: FloatArray | float, zero: FloatArray | float = 0.0) -> FloatArray:
    """Turn real values into 8-bit codes."""
    return np.rint(real / step + zero).clip(0, 255)


def _float_tap(
    values: FloatArray, kernel: npt.NDArray[np.float32], bias: npt.NDArray[np.float32], *, raw: bool
) -> FloatArray:
    full = with_mean(kernel) if values.shape[-1] == kernel.shape[2] + 1 else kernel
    sums = convolve(values, full, bias)
    return sums if raw else np.maximum(sums, 0.0)
