"""Choose the factors of channels: the ones with the least rounding noise expected after the next convolutions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from onnx import ModelProto, NodeProto

from fmedge.export.onnx.quantized.channels import Channels, is_convolution, turns_tap, upper_bounds
from fmedge.export.onnx.quantized.graphs import Array, Floats, constants_of, output_names, passed_on, run_all, setting

_POWERS = (
    *((0.0, 0.0), (0.25, 0.0), (0.5, 0.0), (0.7, 0.0), (0.85, 0.0), (1.0, 0.0)),
    *((0.25, 0.25), (0.5, 0.25), (0.35, 0.35), (0.5, 0.5), (0.7, 0.3)),
)
"""Candidates: a channel's factor is its range to the first power, divided by its largest weight to the second.
(0, 0) changes nothing, (1, 0) gives every channel its own range, and (0.5, 0.5) is cross-layer equalisation as Nagel et
al. (2019) define it."""

_SMALLEST = 0.03
"""Smallest range and weight of a channel, relative to the largest: channels may be dead."""

_CODES, _WEIGHTS = 255, 127
"""Steps that a range of activations, and one side of the weights, is divided into."""

_ROUNDING = 1 / 12
"""Mean square of a rounding error, in steps."""

_TAIL = 0.4
"""How far a value that is larger than all in the photos is expected to exceed them, relative to the largest. Found by
measurement: a headroom of 1.0 loses up to 3 dB in small networks."""

_TINY = 1e-30


@dataclass(slots=True)
class _Figures:
    """What is known about a tensor over the photos.

    Attributes:
        largest: Largest magnitude per channel.
        energy: Mean square per channel.
        active: Share of values that are not 0, per channel.
        values: Number of values of a channel.
    """

    largest: Floats = field(default_factory=lambda: np.zeros(1))
    energy: Floats = field(default_factory=lambda: np.zeros(1))
    active: Floats = field(default_factory=lambda: np.zeros(1))
    values: int = 0

    def add(self, values: Array, share: float) -> None:
        """Add the values of a photo, (N, C, H, W), which is this share of all."""
        self.values += values[0, 0].size
        axes = (0, *range(2, values.ndim))
        size = np.abs(values).astype(np.float64)
        self.largest = np.maximum(self.largest, size.max(axis=axes))
        self.energy = self.energy + np.square(size).mean(axis=axes) * share
        self.active = self.active + (size > 0).mean(axis=axes) * share


@dataclass(frozen=True)
class _Reader:
    """A convolution that reads a tensor.

    Attributes:
        tensor: The tensor.
        weights: (groups, filters of one, channels of one, height, width).
        energy: Mean square of its outputs.
    """

    tensor: str
    weights: Floats
    energy: float

    @cached_property
    def squares(self) -> Floats:
        """Sum of the squares over a kernel: (groups, filters, channels)."""
        return np.square(self.weights).sum(axis=(3, 4))

    @cached_property
    def largest(self) -> Floats:
        """Largest magnitude in a kernel: (groups, filters, channels)."""
        return np.abs(self.weights).max(axis=(3, 4))

    def noise(self, factors: Floats, place: slice, figures: _Figures) -> float:
        """Return the noise that rounding causes in the outputs, relative to their energy.

        Args:
            factors: One for each channel of the tensor.
            place: The channels whose own rounding counts.
            figures: Those of the tensor.
        """
        groups, filters, channels = self.squares.shape
        errors = np.zeros(groups * channels)
        errors[place] = _code_errors(factors[place], place, figures)
        steps = (self.largest * factors.reshape(groups, 1, channels)).max(axis=2) / _WEIGHTS
        inputs = (figures.energy / np.square(factors)).reshape(groups, 1, channels).sum(axis=2)
        inputs = inputs * self.weights.shape[3] * self.weights.shape[4]
        codes = (self.squares * errors.reshape(groups, 1, channels)).sum(axis=2)
        return float((codes + np.square(steps) * _ROUNDING * inputs).sum() / (self.energy * groups * filters + _TINY))


def _code_errors(factors: Floats, place: slice, figures: _Figures) -> Floats:
    """Return the mean square of the errors of codes per channel: of rounding, and of values that other images have.

    What is smaller than a step is lost at most. Of one more value than the photos have, one is expected to be larger
    than all of theirs; it exceeds them by an exponentially distributed amount, and what a code cannot hold is lost.
    """
    errors = np.square(factors / _CODES) * _ROUNDING * figures.active[place]
    errors = np.minimum(errors, figures.energy[place])
    largest = np.maximum(figures.largest[place], _TINY)
    beyond = np.exp(-np.maximum(factors / largest - 1, 0) / _TAIL)
    return errors + 2 * np.square(_TAIL * largest) * beyond / (figures.values + 1)


def choose_factors(model: ModelProto, channels: Channels, photos: Iterable[Array], count: int) -> dict[int, Floats]:
    """Choose the factors of all groups of channels that may have some.

    They are such that a group's largest value becomes about 1.

    Args:
        model: The model that the channels were found in.
        channels: Its channels.
        photos: The photos, (N, H, W, 3) each.
        count: Their number.
    """
    constants = constants_of(model)
    turned = {node.output[0]: node.input[0] for node in model.graph.node if turns_tap(node)}
    outputs = [turned.get(name, name) for name in output_names(model)]
    free = {name for name in channels.labels if channels.is_free(name)} - turned.keys() - passed_on(model)
    convolutions = [node for node in model.graph.node if is_convolution(node, constants) and node.op_type == "Conv"]
    tensors = sorted(free | {node.output[0] for node in convolutions})
    figures = {name: _Figures() for name in tensors}
    for values in run_all(model, tensors, photos):
        for name, each in figures.items():
            each.add(values[name], 1 / count)
    readers = [_reader(node, constants, figures) for node in convolutions if node.input[0] in free]
    chosen, bounds = dict[int, Floats](), upper_bounds(model, channels)
    for group in channels.free_groups():
        places = [(name, place) for name in sorted(free) for each, place in channels.slices(name) if each == group]
        if places:
            chosen[group] = _best(group, places, channels, readers, figures, outputs, bounds.get(group, np.inf))
    return chosen


def _reader(node: NodeProto, constants: Mapping[str, Array], figures: Mapping[str, _Figures]) -> _Reader:
    weights, groups = constants[node.input[1]].astype(np.float64), setting(node, "group", 1)
    shape = (groups, len(weights) // groups, *weights.shape[1:])
    return _Reader(node.input[0], weights.reshape(shape), float(figures[node.output[0]].energy.mean()))


def _best(
    group: int,
    places: Sequence[tuple[str, slice]],
    channels: Channels,
    readers: Sequence[_Reader],
    figures: Mapping[str, _Figures],
    outputs: Sequence[str],
    bound: float,
) -> Floats:
    """Return the factors of a group among those that :data:`_POWERS` gives."""
    ranges = np.max([figures[name].largest[place] for name, place in places], axis=0)
    ranges = np.maximum(ranges, ranges.max() * _SMALLEST + _TINY)
    own = [(reader, place) for reader in readers for each, place in channels.slices(reader.tensor) if each == group]
    peaks = [reader.largest.max(axis=1).reshape(-1)[place] / np.sqrt(reader.energy + _TINY) for reader, place in own]
    weights = np.max([*peaks, np.zeros(len(ranges))], axis=0)
    weights = np.maximum(weights, weights.max() * _SMALLEST) if weights.any() else np.ones(len(ranges))
    best, least = np.ones(len(ranges)), np.inf
    for power, counter in _POWERS:
        factors = (ranges / ranges.max()) ** power * (weights / weights.max()) ** -counter
        factors = np.minimum(factors * (ranges / factors).max(), bound)
        noise = 0.0
        for name, place in places:
            if name in outputs:
                errors = _code_errors(factors, place, figures[name])
                noise += float(errors.sum() / (figures[name].energy[place].sum() + _TINY))
        for reader, place in own:
            every = np.maximum(figures[reader.tensor].largest, _TINY)  # those of other groups: about their range
            every[place] = factors
            noise += reader.noise(every, place, figures[reader.tensor])
        if noise < least:
            best, least = factors, noise
    return best
