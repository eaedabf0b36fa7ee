"""The int8 recipe, whatever the file format: one integer convolution per layer, rounded by what photos show.

Values between layers are 8-bit codes; a code times its channel's step is the real value after ReLU. Code 0 is 0, so
ReLU and zero padding cost nothing. What lifts the accuracy over the usual recipe, at no cost when it runs:

- The image is 8 bits already and stays as it is. The mean is subtracted by a constant fourth channel and its weights,
  and since zero padding zeroes that channel too, the borders agree with Keras.
- Every channel has its own step. Engines divide sums by a scale per output channel anyway; the next kernel takes the
  steps up (cross-layer equalisation, Nagel et al. 2019).
- Ranges are those of the least squared error, not the extremes.
- Kernels are rounded with feedback, layer by layer, on what the already rounded layers give.
- Biases keep every channel's mean over the photos (bias correction, Nagel et al. 2019).

A layer's plan does not depend on the taps, so one plan serves every cut, both activations and every format.

No engine takes part: all that is added up is a whole number or a float64, so that the same photos and weights give the
same plan on every processor.
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
from fmedge.model.vgg16 import LAYER_NAMES, VGG16_LAYERS, LayerSpec
from fmedge.model.weights import Weights
from fmedge.system.progress import Progress, no_progress

CONSTANT = 255
"""Value of the fourth input channel: the largest, so that its weights, which carry the mean, are the smallest."""

EIGHT_BIT = 127
SEVEN_BIT = 64
"""Largest step count of a weight. x86 without VNNI adds pairs of products in 16 bits: 2 * 255 * 64 < 2**15."""

HELD_BYTES = 256 << 20
"""Memory in which the photos' codes are kept from one layer to the next: 80 photos of 224 x 224. Where it does not do,
they are computed anew from the photos for every layer."""

FloatArray = npt.NDArray[np.float64]
Codes = npt.NDArray[np.uint8]
"""(H, W, channels)."""

ImageSource = Callable[[], Iterator[npt.NDArray[np.uint8]]]
"""Called once per pass over the photos: (H, W, 3) each."""


@dataclass(frozen=True, slots=True, eq=False)
class QuantizedConv:
    """One convolution in integers.

    Attributes:
        layer: Its name.
        kernel: int8, (3, 3, in, out); the first layer's input is R, G, B and the constant.
        unit: Real value of one unit of the sum, per output channel.
        bias: Whole units, per output channel.
        step: Real value of one code after ReLU, per output channel.
        reach: (2, out): how far values before ReLU go above and below zero, per output channel.
        tensor_reach: (2,): the same for formats with one scale per tensor; after ReLU the first of
            :attr:`tensor_relu` counts instead.
        tensor_relu: How far values after ReLU go, over all channels.
    """

    layer: str
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
        """Step and zero point (0 to 255) that store values before ReLU in 8 bits, 0 being a code.

        Args:
            per_tensor: Whether the format has one scale for all channels: (1,) then, else (out,) each.
        """
        high, low = self.tensor_reach[:, np.newaxis] if per_tensor else self.reach
        step = (high + low) / 255
        return step, np.clip(np.rint(low / step), 0, 255)


def with_mean(kernel: npt.NDArray[np.float32]) -> FloatArray:
    """The first kernel, (3, 3, BGR, out), as one over R, G, B and the constant that subtracts the mean."""
    rgb = kernel[:, :, ::-1].astype(np.float64)
    mean = np.array(MEAN_BGR[::-1])[:, np.newaxis]
    return np.concatenate([rgb, -(rgb * mean).sum(axis=2, keepdims=True) / CONSTANT], axis=2)


def plan_layers(
    layers: tuple[LayerSpec, ...],
    weights: Weights,
    images: ImageSource,
    count: int,
    *,
    limit: int = EIGHT_BIT,
    progress: Progress = no_progress,
) -> list[QuantizedConv]:
    """Work out the integer form of every convolution among the layers.

    Args:
        layers: From the first on.
        weights: Kernel and bias of each.
        images: The photos; called twice, or once more per convolution where their codes take too much memory.
        count: How many there are.
        limit: :data:`EIGHT_BIT` or :data:`SEVEN_BIT`.
        progress: Told after each pass over the photos.
    """
    convolutions = [spec for spec in layers if spec.kind == "conv"]
    passes = len(convolutions) + 1
    histograms = {spec.name: Histogram(spec.channels) for spec in convolutions}
    for image in images():
        for name, raw, _ in walk(layers[-1].name, weights, image):
            if name in histograms:
                histograms[name].add(raw)
    plan: list[QuantizedConv] = []
    inputs = _Inputs(images, count)
    for number, spec in enumerate(convolutions, 1):
        progress(f"calibration, pass {number} of {passes} over {count} photos", number / passes)
        moments = measure_moments(inputs.after(plan), count)
        plan.append(_quantize(spec, weights[spec.name][0], histograms[spec.name], moments, plan, limit))
    progress(f"calibration done: {count} photos", 1.0)
    return plan


class _Inputs:
    """What each convolution reads of the photos, once those before it are planned."""

    def __init__(self, images: ImageSource, count: int) -> None:
        self._images = images
        self._count = count
        self._held: list[Codes] | None = None

    def after(self, plan: Sequence[QuantizedConv]) -> Iterable[Codes]:
        """Per photo the codes after a plan, which is one convolution longer at every call."""
        if not plan:
            return self._first()
        if self._held is None:
            return (reduce(advance, plan, image_codes(image)) for image in self._images())
        for place, codes in enumerate(self._held):
            self._held[place] = advance(codes, plan[-1])
        return self._held

    def _first(self) -> Iterable[Codes]:
        first = next(self._images())
        if self._count * first[..., 0].size * VGG16_LAYERS[0].channels <= HELD_BYTES:
            self._held = [image_codes(image) for image in self._images()]
            return self._held
        return (image_codes(image) for image in self._images())


def image_codes(image: npt.NDArray[np.uint8]) -> Codes:
    """What the first convolution reads: R, G, B and the constant, (H, W, 4), of an image, (H, W, 3)."""
    return np.pad(image, ((0, 0), (0, 0), (0, 1)), constant_values=CONSTANT)


def advance(codes: Codes, conv: QuantizedConv) -> Codes:
    """What the next convolution reads: one convolution further, and the pool that follows it if one does.

    The sums are exact; the scale is applied in float32, as engines do.
    """
    sums = convolve(codes, conv.kernel, conv.bias).astype(np.float32)
    stored = np.rint(sums * (conv.unit / conv.step).astype(np.float32)).clip(0, 255).astype(np.uint8)
    return stored if pool_behind(conv.layer) is None else max_pool(stored)


def _quantize(
    spec: LayerSpec,
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
        kernel=steps.reshape(scaled.shape),
        unit=unit,
        bias=np.rint(histogram.means / unit - moments.mean @ steps.astype(np.float64)),
        step=equalized(best_ranges(histogram.counts[:1])[0]) / 255,
        reach=best_ranges(histogram.counts),
        tensor_reach=best_ranges(whole)[:, 0],
        tensor_relu=float(best_ranges(whole[:1])[0, 0]),
    )


def scaled_kernel(kernel: npt.NDArray[np.float32], plan: Sequence[QuantizedConv]) -> FloatArray:
    """The kernel of the convolution after a plan as it acts on codes: the steps of its inputs are taken up."""
    return kernel * plan[-1].step[:, np.newaxis] if plan else with_mean(kernel)


def reached(layer: str, card: ModelCard) -> bool:
    """Whether a tap is this convolution or the pool that follows it."""
    return layer in card.submodel.taps or pool_behind(layer) in card.submodel.taps


def pool_behind(layer: str) -> str | None:
    """Name of the pool that follows a convolution, if one does."""
    following = LAYER_NAMES[LAYER_NAMES.index(layer) + 1]
    return following if following.endswith("pool") else None
