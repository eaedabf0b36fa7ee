"""What a network does to the image before its first layer: colours in another order, factors, summands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from fmedge.export.native.graph import AXES, Operator, Values

_BEYOND = 1_000_000_000
"""Where a Slice ends, at least, that takes everything: no image has as many rows."""


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """Channels that come from the image's colours: factor * colour + summand.

    Attributes:
        colours: For each channel the number of its colour.
        factors: The factors.
        summands: The summands.
        whole: Whether they are still the bytes of the image, which integers hold, too.
    """

    colours: tuple[int, ...]
    factors: Values
    summands: Values
    whole: bool

    @property
    def complete(self) -> bool:
        """Whether every colour is one channel."""
        return sorted(self.colours) == [0, 1, 2]

    @property
    def unscaled(self) -> bool:
        """Whether a kernel takes them as they are, apart from the mean."""
        return self.colours == (0, 1, 2) and bool((self.factors == 1).all())

    def mean(self) -> Values:
        """Return what is subtracted from each colour: factor * (colour - mean) is what the channels are."""
        found = np.empty(len(self.colours))
        found[[*self.colours]] = -self.summands / self.factors
        return found + 0.0  # no minus zero

    def into(self, kernel: npt.NDArray[np.float32]) -> npt.NDArray[np.floating]:
        """Return the kernel that takes the colours minus their mean instead of the channels."""
        if self.unscaled:
            return kernel
        found = np.empty(kernel.shape)
        found[:, self.colours] = kernel * self.factors.reshape(1, -1, 1, 1)
        return found

    def taken(self, channels: Sequence[int]) -> Pixels:
        """Return some of the channels, in this order."""
        places = [*channels]
        colours = tuple(self.colours[place] for place in places)
        return Pixels(colours, self.factors[places], self.summands[places], self.whole)

    def scaled(self, factors: Values, summands: Values) -> Pixels:
        """Return factor * channel + summand."""
        return Pixels(self.colours, self.factors * factors, self.summands * factors + summands, whole=False)


def joined(parts: Sequence[Pixels]) -> Pixels:
    """Return the channels of all parts."""
    factors, summands = (np.concatenate(each) for each in zip(*((p.factors, p.summands) for p in parts), strict=True))
    colours = tuple(colour for part in parts for colour in part.colours)
    return Pixels(colours, factors, summands, all(part.whole for part in parts))


def channels_taken(operator: Operator, layout: str, channels: int) -> list[list[int]] | None:
    """Return which channels each output has, for an operator that takes some or sorts them; None for any other."""
    axis = layout.index("C")
    found: list[list[int]] | None = None
    if operator.kind == "Gather" and operator.settings.get("axis", 0) % AXES == axis:
        indices = operator.constants.get(1)
        found = None if indices is None or indices.ndim != 1 else [[int(each) for each in indices]]
    elif operator.kind == "Slice":
        taken = _sliced(operator, axis, channels)
        found = None if taken is None else [taken]
    elif operator.kind == "Split" and operator.settings.get("axis", 0) % AXES == axis:
        count = len(operator.node.output)
        sizes = operator.integers(1) or [channels // count] * count
        ends = np.cumsum([0, *sizes]).tolist()
        found = [list(range(start, end)) for start, end in pairwise(ends)]
    if found is None or any(not -channels <= each < channels for part in found for each in part):
        return None
    return found


def _sliced(operator: Operator, axis: int, channels: int) -> list[int] | None:
    """Return the channels that a Slice takes; None if it takes no more than a part of the image."""
    starts, ends = (operator.integers(place) or [] for place in (1, 2))
    axes, steps = operator.integers(3) or list(range(len(starts))), operator.integers(4) or [1] * len(starts)
    if len({len(part) for part in (starts, ends, axes, steps)}) != 1:
        return None
    found = list(range(channels))
    for start, end, along, step in zip(starts, ends, axes, steps, strict=True):
        if along % AXES != axis:
            if (start, step) != (0, 1) or end < _BEYOND:
                return None
        elif step:
            stop = end if step > 0 or end >= -channels else None  # beyond the first, backwards
            found = found[start:stop:step]
    return found
