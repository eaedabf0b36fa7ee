"""What the photos say about a float model: the range of every tensor, and what each convolution reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto

from fmedge.export.int8.ranges import BIN_CENTRES, SMALLEST_RANGE, Histogram
from fmedge.export.int8.rounding import MAX_POSITIONS, POSITIONS
from fmedge.export.onnx.quantized.graphs import Array, Floats, constants_of, declared, passed_on, run_all, setting

Range = tuple[float, float]
"""Smallest and largest value; 0 is between them."""

_SHARES = np.linspace(0.3, 1, 57)
"""Ranges that are tried, as shares of the largest value seen."""

_SMALL = 2.0**-5
"""Largest value up to which the range of all values is taken: histograms hold nothing below 2**-12."""

_HELD_BYTES = 512 << 20
"""Memory for the products of inputs; convolutions that need more take another pass over the photos."""

_SEED = 0


class Photos(Protocol):
    """Images to measure on; every pass over them decodes them again."""

    def __iter__(self) -> Iterator[Array]:
        """Yield one image at a time, (N, H, W, 3): the same image N times, if the model takes N."""
        ...

    def __len__(self) -> int:
        """Return their number."""
        ...


@dataclass(slots=True)
class Values:
    """The values of a tensor over the photos, all channels together.

    Attributes:
        low: The smallest, or 0.
        high: The largest, or 0.
        histogram: How often each magnitude occurs; None where only the extremes are wanted.
    """

    low: float = 0.0
    high: float = 0.0
    histogram: Histogram | None = None

    def add(self, values: Array) -> None:
        """Add values."""
        self.low = min(self.low, float(values.min(initial=0.0)))
        self.high = max(self.high, float(values.max(initial=0.0)))
        if self.histogram is not None:
            self.histogram.add(values.reshape(-1, 1))


def measure_values(
    model: ModelProto, bounds: Mapping[str, float], photos: Photos, *, histograms: bool = True
) -> dict[str, Values]:
    """Measure every float tensor of a model that is stored in 8 bits.

    Args:
        model: The model.
        bounds: Upper bounds of tensors; larger values count as the bound.
        photos: The photos.
        histograms: Whether more than the extremes is wanted.
    """
    tensors = [name for name, (dtype, _) in declared(model).items() if dtype == TensorProto.FLOAT]
    without = {model.graph.input[0].name, *passed_on(model)}
    tensors = [name for name in tensors if name not in without]
    found = {name: Values(histogram=Histogram(1) if histograms else None) for name in tensors}
    for values in run_all(model, tensors, photos):
        for name, each in found.items():
            each.add(np.minimum(values[name], bounds[name]) if name in bounds else values[name])
    return found


def best_range(values: Values, slack: float) -> Range:
    """Return the widest range of which the squared error over the photos is near the least possible.

    Other images have larger values than the photos, so wide ranges are better than the photos say.

    Args:
        values: Of a tensor.
        slack: How far the error may exceed the least one, relative to it; infinite for the range of all values.
    """
    ends = np.array([values.high, -values.low])
    share = 1.0
    if values.histogram is not None and ends.max() > _SMALL and slack < np.inf:
        counts = values.histogram.counts[:, 0]
        rounded = counts[:, 1:].sum()
        cut_off = np.maximum(BIN_CENTRES - _SHARES[:, np.newaxis, np.newaxis] * ends[:, np.newaxis], 0)
        errors = rounded * np.square(_SHARES * ends.sum() / 255) / 12 + (counts * np.square(cut_off)).sum(axis=(1, 2))
        share = float(_SHARES[errors <= errors.min() * (1 + slack)].max())
    return (values.low * share, max(values.high * share, SMALLEST_RANGE))


def step_of(limits: Range) -> tuple[float, float]:
    """Return the step and the zero point with which a range is stored in 8 bits, as onnxruntime computes them."""
    step = (limits[1] - limits[0]) / 255
    return step, float(np.rint(-limits[0] / step))


@dataclass(slots=True)
class Inputs:
    """Sums over places that a convolution's kernel was put on; a place is (channels of one group * height * width,).

    Attributes:
        count: Number of places.
        products: (groups, place, place): sum of the products of values.
        values: (groups, place): sum of the values.
        stored: For each candidate of its input's range (groups, place): sum of the values as 8 bits store them.
    """

    count: int = 0
    products: Floats = field(default_factory=lambda: np.zeros(1))
    values: Floats = field(default_factory=lambda: np.zeros(1))
    stored: list[Floats] = field(default_factory=list[Floats])

    def add(self, places: Floats, shifts: Sequence[Floats]) -> None:
        """Add places, (groups, number, place), and for each range by how much storing moves the mean of a channel."""
        groups, count, size = places.shape
        total = places.sum(axis=1)
        self.count += count
        self.products = self.products + places.transpose(0, 2, 1) @ places
        self.values = self.values + total
        if not self.stored:
            self.stored = [np.zeros_like(total) for _ in shifts]
        for index, shift in enumerate(shifts):
            each = np.repeat(shift.reshape(groups, -1), size * groups // shift.size, axis=1)
            self.stored[index] = self.stored[index] + total + count * each


def _shift(values: Array, limits: Range) -> Floats:
    """Return by how much storing values, (C, H, W), in 8 bits moves the mean of each channel."""
    step, zero = step_of(limits)
    codes = np.clip(np.rint(values / np.float32(step)) + np.float32(zero), 0, 255) - np.float32(zero)
    return (codes * np.float32(step) - values).mean(axis=(1, 2), dtype=np.float64)


def measure_inputs(
    model: ModelProto, convolutions: Sequence[NodeProto], ranges: Sequence[Mapping[str, Range]], photos: Photos
) -> dict[str, Inputs]:
    """Measure what convolutions read, at some places of every photo.

    Args:
        model: The model.
        convolutions: Those of its ``Conv`` operators to measure.
        ranges: Candidates of the ranges of all tensors.
        photos: The photos.

    Returns:
        For each convolution, by the name of its output.
    """
    constants = constants_of(model)
    most = min(MAX_POSITIONS, -(-POSITIONS // len(photos)))
    found = dict[str, Inputs]()
    for part in _parts(convolutions, constants):
        generator = np.random.Generator(np.random.PCG64(_SEED))
        found |= {node.output[0]: Inputs() for node in part}
        tensors = list(dict.fromkeys(node.input[0] for node in part))
        for values in run_all(model, tensors, photos):
            shifts = {name: [_shift(values[name][0], each[name]) for each in ranges] for name in tensors}
            for node in part:
                places = _places(values[node.input[0]][0], node, constants[node.input[1]], most, generator)
                found[node.output[0]].add(places, shifts[node.input[0]])
    return found


def _parts(convolutions: Sequence[NodeProto], constants: Mapping[str, Array]) -> list[list[NodeProto]]:
    """Divide convolutions into parts that need little memory at once."""
    parts, left = list[list[NodeProto]](), 0
    for node in convolutions:
        needed = 8 * setting(node, "group", 1) * int(np.prod(constants[node.input[1]].shape[1:])) ** 2
        if not parts or needed > left:
            parts.append([])
            left = _HELD_BYTES
        parts[-1].append(node)
        left -= needed
    return parts


def _places(values: Array, node: NodeProto, weights: Array, most: int, generator: np.random.Generator) -> Floats:
    """Return what a kernel sees at random places of an image, (C, H, W): (groups, places, values)."""
    sizes, groups = weights.shape[2:], setting(node, "group", 1)
    steps, gaps = setting(node, "strides", [1, 1]), setting(node, "dilations", [1, 1])
    spans = [(size - 1) * gap + 1 for size, gap in zip(sizes, gaps, strict=True)]
    edges = _edges(values.shape[1:], spans, steps, node)
    padded = np.pad(values, ((0, 0), *edges))
    rows, columns = ((padded.shape[1 + axis] - spans[axis]) // steps[axis] + 1 for axis in (0, 1))
    down, across = np.divmod(generator.permutation(rows * columns)[:most], columns)
    seen = [
        padded[:, down * steps[0] + row * gaps[0], across * steps[1] + column * gaps[1]]
        for row in range(sizes[0])
        for column in range(sizes[1])
    ]
    each = np.stack(seen, axis=-1).astype(np.float64)  # (C, places, kernel)
    each = each.reshape(groups, -1, *each.shape[1:]).transpose(0, 2, 1, 3)
    return each.reshape(groups, each.shape[1], -1)


def _edges(
    extents: Sequence[int], spans: Sequence[int], steps: Sequence[int], node: NodeProto
) -> list[tuple[int, int]]:
    """Return the padding before and after rows and columns."""
    how = setting(node, "auto_pad", b"NOTSET")
    if how in (b"SAME_UPPER", b"SAME_LOWER"):
        whole = [
            max(0, (-(-extent // step) - 1) * step + span - extent)
            for extent, span, step in zip(extents, spans, steps, strict=True)
        ]
        lower = how == b"SAME_LOWER"
        return [(total - total // 2, total // 2) if lower else (total // 2, total - total // 2) for total in whole]
    pads = setting(node, "pads", [0, 0, 0, 0]) if how == b"NOTSET" else [0, 0, 0, 0]
    return [(pads[0], pads[2]), (pads[1], pads[3])]
