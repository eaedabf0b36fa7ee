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
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fmedge.export.int8_ranges import Histogram, best_ranges, equalized
from fmedge.export.int8_rounding import measure_moments, round_kernel
from fmedge.image import MEAN_BGR
from fmedge.progress import Progress, no_progress
from fmedge.vgg16 import LayerSpec
from fmedge.weights import Weights

CONSTANT = 255
"""Value of the fourth input channel: the largest, so that its weights, which carry the mean, are the smallest."""

EIGHT_BIT = 127
SEVEN_BIT = 64
"""Largest step count of a weight. x86 without VNNI adds pairs of products in 16 bits: 2 * 255 * 64 < 2**15."""

FloatArray = npt.NDArray[np.float64]
Maps = Mapping[str, npt.NDArray[np.float32]]
ImageSource = Callable[[], Iterator[npt.NDArray[np.uint8]]]
"""Called once per pass over the photos: (H, W, 3) each."""


@dataclass(frozen=True, slots=True)
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
    kernel: npt.NDArray[np.int8]
    unit: FloatArray
    bias: FloatArray
    step: FloatArray
    reach: FloatArray
    tensor_reach: FloatArray
    tensor_relu: float

    def raw_output(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Step, zero point (0 to 255) and bias per channel that store values before ReLU in 8 bits, 0 being a code.

        An engine's convolution has one zero point, 128 here; the bias makes up the difference to each channel's own.
        """
        step = self.reach.sum(axis=0) / 255
        zero = np.clip(np.rint(self.reach[1] / step), 0, 255)
        return step, zero, np.rint(self.bias + (zero - 128) * step / self.unit)


@dataclass(frozen=True, slots=True)
class Engine:
    """What running models takes; handed in, so that export knows no engine.

    Attributes:
        float_maps: Yields per photo every convolution's output before ReLU, (1, C, H, W), in float32.
        code_maps: Given the plan so far, yields per photo its last layer's output after ReLU, (1, C, H, W).
    """

    float_maps: Callable[[Iterable[npt.NDArray[np.uint8]]], Iterator[Maps]]
    code_maps: Callable[[list[QuantizedConv], Iterable[npt.NDArray[np.uint8]]], Iterator[Maps]]


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
    engine: Engine,
    *,
    limit: int = EIGHT_BIT,
    progress: Progress = no_progress,
) -> list[QuantizedConv]:
    """Work out the integer form of every convolution among the layers.

    Args:
        layers: From the first on.
        weights: Kernel and bias of each.
        images: The photos; called once, and once more per convolution.
        count: How many there are.
        engine: Runs models.
        limit: :data:`EIGHT_BIT` or :data:`SEVEN_BIT`.
        progress: Told after each pass over the photos.
    """
    convolutions = [spec for spec in layers if spec.kind == "conv"]
    histograms = {spec.name: Histogram(spec.channels) for spec in convolutions}
    for maps in engine.float_maps(images()):
        for name, values in maps.items():
            histograms[name].add(values)
    plan: list[QuantizedConv] = []
    for number, spec in enumerate(convolutions, 1):
        passes = len(convolutions) + 1
        progress(f"calibration, pass {number} of {passes} over {count} photos", number / passes)
        inputs = _layer_inputs(plan, spec, images, engine)
        plan.append(_quantize(spec, weights[spec.name][0], histograms[spec.name], inputs, count, plan, limit))
    progress(f"calibration done: {count} photos", 1.0)
    return plan


def _layer_inputs(
    plan: list[QuantizedConv], spec: LayerSpec, images: ImageSource, engine: Engine
) -> Iterator[npt.NDArray[np.float32]]:
    """Per photo the codes that the layer reads, (in, H, W), as the layers before it, already rounded, give them."""
    if not plan:
        for image in images():
            channels = image.transpose(2, 0, 1).astype(np.float32)
            yield np.concatenate([channels, np.full_like(channels[:1], CONSTANT)])
        return
    before = plan[-1]
    divisor = before.step.astype(np.float32)[:, np.newaxis, np.newaxis]
    for maps in engine.code_maps(plan, images()):
        codes = np.rint(maps[before.layer][0] / divisor)
        yield _max_pool(codes) if spec.name.endswith("conv1") else codes


def _quantize(
    spec: LayerSpec,
    kernel: npt.NDArray[np.float32],
    histogram: Histogram,
    inputs: Iterator[npt.NDArray[np.float32]],
    count: int,
    plan: list[QuantizedConv],
    limit: int,
) -> QuantizedConv:
    scaled = with_mean(kernel) if not plan else kernel * plan[-1].step[:, np.newaxis]
    matrix = scaled.reshape(-1, spec.channels)
    unit = np.maximum(np.abs(matrix).max(axis=0), 1e-9) / limit
    moments = measure_moments(inputs, count)
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


def _max_pool(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    channels, height, width = values.shape
    even = values[:, : height // 2 * 2, : width // 2 * 2]
    return even.reshape(channels, height // 2, 2, width // 2, 2).max(axis=(2, 4))
