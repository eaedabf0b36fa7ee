"""The int8 recipe, independent of the file format: one integer convolution per layer, rounded using photos.

Values between layers are 8-bit codes; a code times its channel's step is the real value after ReLU. Code 0 means 0, so
ReLU and zero padding cost nothing. Compared with the usual recipe, the following raises the accuracy at no runtime
cost:

- The image already has 8 bits and stays as it is. The mean is subtracted by a constant fourth channel and its weights.
  Zero padding zeroes that channel too, so the borders agree with Keras.
- Every channel has its own step. Engines divide sums by a scale per output channel anyway, and the next layer's kernel
  absorbs the steps (cross-layer equalisation, Nagel et al. 2019).
- Ranges minimise the squared error; they are not the extremes.
- Kernels are rounded with feedback, layer by layer, using the outputs of the layers that are already rounded.
- Biases preserve every channel's mean over the photos (bias correction, Nagel et al. 2019).

A layer's plan does not depend on the taps, so one plan serves every cut, both activations and every format.

No engine is involved: all sums are of whole numbers or float64 values, so the same photos and weights give the same
plan on every processor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import reduce

import numpy as np
import numpy.typing as npt

from fmedge.export.int8.ranges import Histogram, best_ranges, equalized
from fmedge.export.int8.rounding import Moments, measure_moments, round_kernel
from fmedge.export.reference import convolve, max_pool, walk
from fmedge.model.card import ModelCard
from fmedge.model.preprocessing import MEAN_BGR
from fmedge.model.stock import LayerSpec, StockTable
from fmedge.model.weights import Weights
from fmedge.system.progress import Progress, no_progress

CONSTANT = 255
"""Value of the fourth input channel: the largest code, so that its weights, which carry the mean, are smallest."""

EIGHT_BIT = 127
SEVEN_BIT = 64
"""Largest magnitude of a weight, in steps. x86 without VNNI adds pairs of products in 16 bits: 2 * 255 * 64 < 2**15."""

HELD_BYTES = 256 << 20
"""Memory for keeping the photos' codes from one layer to the next: enough for 80 photos of 224 x 224. If it is too
small, the codes are recomputed from the photos for every layer."""

FloatArray = npt.NDArray[np.float64]
Codes = npt.NDArray[np.uint8]
"""(H, W, channels)."""

ImageSource = Callable[[], Iterator[npt.NDArray[np.uint8]]]
"""Called once per pass over the photos; yields (H, W, 3) each."""


@dataclass(frozen=True, slots=True, eq=False)
class QuantizedConv:
    """One convolution in integers.

    Attributes:
        layer: Its name.
        pool: Name of the pool that follows; None where none does.
        kernel: int8, (3, 3, in, out); the first layer's input is R, G, B and the constant.
        unit: Real value of one unit of the sum, per output channel.
        bias: In whole units, per output channel.
        step: Real value of one code after ReLU, per output channel.
        reach: (2, out): how far values before ReLU extend above and below zero, per output channel.
        tensor_reach: (2,): the same over all channels, for formats with one scale per tensor; after ReLU
            :attr:`tensor_relu` is used instead.
        tensor_relu: How far values after ReLU extend, over all channels.
    """

    layer: str
    pool: str | None
    kernel: npt.NDArray[np.int8] = field(repr=False)
    unit: FloatArray = field(repr=False)
    bias: FloatArray = field(repr=False)
    step: FloatArray = field(repr=False)
    reach: FloatArray = field(repr=False)
    tensor_reach: FloatArray = field(repr=False)
    tensor_relu: float

    @property
    def relu_step(self) -> float:
        """Step of codes after ReLU in formats with one scale per tensor."""
        return self.tensor_relu / 255

    def raw_scale(self, *, per_tensor: bool) -> tuple[FloatArray, FloatArray]:
        """Return the step and zero point (0 to 255) that store values before ReLU in 8 bits; 0 is exactly a code.

        Args:
            per_tensor: Whether the format has one scale for all channels. If so, both have shape (1,), otherwise
                (out,).
        """
        high, low = self.tensor_reach[:, np.newaxis] if per_tensor else self.reach
        step = (high + low) / 255
        return step, np.clip(np.rint(low / step), 0, 255)


def with_mean(kernel: npt.NDArray[np.float32]) -> FloatArray:
    """Turn the first kernel, (3, 3, BGR, out), into one over R, G, B and the constant, which subtracts the mean."""
    rgb = kernel[:, :, ::-1].astype(np.float64)
    mean = np.array(MEAN_BGR[::-1])[:, np.newaxis]
    return np.concatenate([rgb, -(rgb * mean).sum(axis=2, keepdims=True) / CONSTANT], axis=2)


def plan_layers(
    stock: StockTable,
    deepest: str,
    weights: Weights,
    images: ImageSource,
    count: int,
    *,
    limit: int = EIGHT_BIT,
    progress: Progress = no_progress,
) -> list[QuantizedConv]:
    """Compute the integer form of every convolution up to a layer.

    Args:
        stock: The network.
        deepest: The last layer.
        weights: Kernel and bias of every convolution up to it.
        images: The photos; there are two passes over them, or one and then one per convolution if their codes take too
            much memory.
        count: Number of photos.
        limit: :data:`EIGHT_BIT` or :data:`SEVEN_BIT`.
        progress: Called after each pass over the photos.
    """
    layers = stock.through(deepest)
    convolutions = [spec for spec in layers if spec.kind == "conv"]
    passes = len(convolutions) + 1
    histograms = {spec.name: Histogram(spec.channels) for spec in convolutions}
    for image in images():
        for name, raw, _ in walk(layers, weights, image):
            if name in histograms:
                histograms[name].add(raw)
    plan: list[QuantizedConv] = []
    inputs = _Inputs(images, count, convolutions[0].channels)
    for number, spec in enumerate(convolutions, 1):
        progress(f"calibration, pass {number} of {passes} over {count} photos", number / passes)
        moments = measure_moments(inputs.after(plan), count)
        pool = stock.pool_after(spec.name)
        plan.append(_quantize(spec, pool, weights[spec.name][0], histograms[spec.name], moments, plan, limit))
    progress(f"calibration done: {count} photos", 1.0)
    return plan


class _Inputs:
    """The input codes of each convolution for all photos, once the convolutions before it are planned."""

    def __init__(self, images: ImageSource, count: int, channels: int) -> None:
        self._images = images
        self._most = count * channels
        self._held: list[Codes] | None = None

    def after(self, plan: Sequence[QuantizedConv]) -> Iterable[Codes]:
        """Return each photo's codes after the plan, which must be one convolution longer at every call."""
        if not plan:
            return self._first()
        if self._held is None:
            return (reduce(advance, plan, image_codes(image)) for image in self._images())
        for place, codes in enumerate(self._held):
            self._held[place] = advance(codes, plan[-1])
        return self._held

    def _first(self) -> Iterable[Codes]:
        first = next(self._images())
        if self._most * first[..., 0].size <= HELD_BYTES:
            self._held = [image_codes(image) for image in self._images()]
            return self._held
        return (image_codes(image) for image in self._images())


def image_codes(image: npt.NDArray[np.uint8]) -> Codes:
    """Return the input of the first convolution, (H, W, 4): an image, (H, W, 3), with the constant appended."""
    return np.pad(image, ((0, 0), (0, 0), (0, 1)), constant_values=CONSTANT)


def advance(codes: Codes, conv: QuantizedConv) -> Codes:
    """Apply one convolution, and the pool after it if there is one: the result is the input of the next convolution.

    The sums are exact; the scale is applied in float32, as engines do.
    """
    sums = convolve(codes, conv.kernel, conv.bias).astype(np.float32)
    stored = np.rint(sums * (conv.unit / conv.step).astype(np.float32)).clip(0, 255).astype(np.uint8)
    return stored if conv.pool is None else max_pool(stored)


def _quantize(
    spec: LayerSpec,
    pool: str | None,
    kernel: npt.NDArray[np.float32],
    histogram: Histogram,
    moments: Moments,
    plan: Sequence[QuantizedConv],
    limit: int,
) -> QuantizedConv:
    scaled = scaled_kernel(kernel, plan)
    matrix = scaled.reshape(-1, spec.channels)
    unit = np.maximum(np.abs(matrix).max(axis=0), 1e-9) / limit
    steps = round_kernel(matrix, unit, moments.covariance, limit)
    whole = histogram.counts.sum(axis=1, keepdims=True)
    return QuantizedConv(
        layer=spec.name,
        pool=pool,
        kernel=steps.reshape(scaled.shape),
        unit=unit,
        bias=np.rint(histogram.means / unit - moments.mean @ steps.astype(np.float64)),
        step=equalized(best_ranges(histogram.counts[:1])[0]) / 255,
        reach=best_ranges(histogram.counts),
        tensor_reach=best_ranges(whole)[:, 0],
        tensor_relu=float(best_ranges(whole[:1])[0, 0]),
    )


def scaled_kernel(kernel: npt.NDArray[np.float32], plan: Sequence[QuantizedConv]) -> FloatArray:
    """Return the kernel of the convolution after the plan as it acts on codes, with its inputs' steps absorbed."""
    return kernel * plan[-1].step[:, np.newaxis] if plan else with_mean(kernel)


def reached(conv: QuantizedConv, card: ModelCard) -> bool:
    """Tell whether this convolution, or the pool after it, is a tap."""
    return conv.layer in card.submodel.taps or conv.pool in card.submodel.taps
