"""Measure how far B is from A in every channel of a layer, over any number of photos: only sums are kept, no maps."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fmedge.model.parity import Gate, Parity
from fmedge.model.tap_codes import TapCodes

FloatArray = npt.NDArray[np.float64]
Maps = npt.NDArray[np.float32]

_BEYOND = 2**-9
"""By which share of the end of B's values A has to lie beyond it for B to be cut off there: half a step of 8 bits."""


@dataclass(frozen=True, slots=True, eq=False)
class ChannelErrors:
    """How far B is from A, the reference, per channel; arrays are float64, (C,).

    Attributes:
        photos: Over how many photos.
        snr_db: Signal-to-noise ratio of B relative to A; infinite where they are equal, minus infinite where A is zero
            throughout and B is not.
        bias: Mean of B minus A.
        max_error: Largest absolute difference.
        saturated: Share of B's values that are cut off. Where B's codes are known, these are the values at the lowest
            or the highest code, except at a bound of zero, which is where ReLU ends. Elsewhere they are those at the
            smallest or the largest of B's own values, where A lies beyond it by more than 1/512 of it, if more than one
            value is there.
        scale: What one step of B's codes stands for; NaN where B has no codes, or they are not known.
        zero_point: The code that stands for 0; NaN likewise.
        lowest: The value of B's lowest code; NaN likewise.
        highest: The value of B's highest code; NaN likewise.
    """

    photos: int
    snr_db: FloatArray = field(repr=False)
    bias: FloatArray = field(repr=False)
    max_error: FloatArray = field(repr=False)
    saturated: FloatArray = field(repr=False)
    scale: FloatArray = field(repr=False)
    zero_point: FloatArray = field(repr=False)
    lowest: FloatArray = field(repr=False)
    highest: FloatArray = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class _End:
    """One end of B's values: float64, (C,).

    Attributes:
        value: The bound of the codes, or the largest value so far. At the lower end all signs are changed.
        hits: How many of B's values are there.
        beyond: At how many of these A lies beyond.
    """

    value: FloatArray = field(repr=False)
    hits: FloatArray = field(repr=False)
    beyond: FloatArray = field(repr=False)

    def __add__(self, other: _End) -> _End:
        value = np.fmax(self.value, other.value)
        ours, theirs = self.value == value, other.value == value
        hits, beyond = (
            np.where(ours, one, 0.0) + np.where(theirs, another, 0.0)
            for one, another in ((self.hits, other.hits), (self.beyond, other.beyond))
        )
        return _End(value, hits, beyond)

    def cut_off(self) -> FloatArray:
        """How many values are taken as cut off: one alone is the largest of any channel."""
        return np.where(self.hits > 1, self.beyond, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class ErrorSums:
    """What the figures of a layer are worked out from; those of several photos add up.

    Attributes:
        photos: How many photos.
        count: Values per channel.
        sums: Float64, (5, C): of A squared, of the error squared, of A times B, of B squared, and of the error.
        max_error: Float64, (C,): the largest absolute difference.
        low: The smallest value of A.
        high: The largest value of A.
        ends: The upper and the lower end of B's values.
        codes: B's codes, where they are known.
    """

    photos: int
    count: int
    sums: FloatArray = field(repr=False)
    max_error: FloatArray = field(repr=False)
    low: float
    high: float
    ends: tuple[_End, _End] = field(repr=False)
    codes: TapCodes | None = field(repr=False)

    def __add__(self, other: ErrorSums) -> ErrorSums:
        upper, lower = (one + another for one, another in zip(self.ends, other.ends, strict=True))
        with np.errstate(invalid="ignore"):
            sums = self.sums + other.sums
        return ErrorSums(
            self.photos + other.photos,
            self.count + other.count,
            sums,
            np.maximum(self.max_error, other.max_error),
            float(np.minimum(self.low, other.low)),
            float(np.maximum(self.high, other.high)),
            (upper, lower),
            self.codes,
        )

    def channels(self) -> ChannelErrors:
        """Return the figures of every channel."""
        signal, noise, _, _, error = self.sums
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = np.where(noise == 0, np.inf, 10 * np.log10(signal / noise))
        upper, lower = self.ends
        cut_off = upper.hits + lower.hits if self.codes else upper.cut_off() + lower.cut_off()
        codes = (self.codes.scale, self.codes.zero_point, *self.codes.bounds()) if self.codes else 4 * (np.nan,)
        facts = (np.broadcast_to(np.asarray(each, np.float64), ratios.shape) for each in codes)
        return ChannelErrors(self.photos, ratios, error / self.count, self.max_error, cut_off / self.count, *facts)

    def parity(self, gate: Gate) -> Parity:
        """Return the agreement of the whole layer, as :func:`fmedge.model.parity.measure_parity` defines it."""
        signal, noise, product, power, _ = (math.fsum(each) for each in self.sums.tolist())
        largest, spread = float(self.max_error.max()), self.high - self.low
        norms = math.sqrt(signal) * math.sqrt(power)
        if noise == 0.0:
            return Parity(0.0, float("inf"), 1.0, gate)
        return Parity(
            max_error_over_range=largest / spread if spread else float("inf"),
            snr_db=10 * (math.log10(signal) - math.log10(noise)) if signal else float("-inf"),
            cosine=product / norms if norms else 0.0,
            gate=gate,
        )


def measure_errors(first: Maps, second: Maps, codes: TapCodes | None = None) -> ErrorSums:
    """Compare the maps of one photo, in float64.

    Args:
        first: Maps of A, the reference: float32, (C, H, W).
        second: Maps of B, of the same shape.
        codes: B's codes, where they are known.
    """
    rows = [
        _measure_channel(
            first[channel].ravel().astype(np.float64), second[channel].ravel().astype(np.float64), codes, channel
        )
        for channel in range(len(first))
    ]
    figures = np.array(rows, np.float64).T
    return ErrorSums(
        photos=1,
        count=first[0].size,
        sums=figures[:5],
        max_error=figures[5],
        low=float(first.min()),
        high=float(first.max()),
        ends=(_End(*figures[6:9]), _End(*figures[9:12])),
        codes=codes,
    )


def _measure_channel(
    first: FloatArray, second: FloatArray, codes: TapCodes | None, channel: int
) -> tuple[float | np.floating, ...]:
    with np.errstate(invalid="ignore", over="ignore"):
        error = second - first
        sums = (
            np.vdot(first, first), np.vdot(error, error), np.vdot(first, second), np.vdot(second, second), error.sum()
        )  # fmt: skip
        if codes is None:
            ends = (*_own_end(first, second), *_own_end(-first, -second))
        else:
            place = min(channel, len(codes.scale) - 1)
            half = codes.scale[place] / 2
            low, high = (float(bound[place]) for bound in codes.bounds())
            ends = (*_code_end(high, second, half), *_code_end(-low, -second, half))
        return (*sums, np.abs(error).max(), *ends)


def _code_end(bound: float, values: FloatArray, half_step: float) -> tuple[float, float, float]:
    """Count the values at a bound of the codes; at one of zero ReLU ends."""
    hits = float(np.count_nonzero(values > bound - half_step)) if bound else 0.0
    return bound, hits, hits


def _own_end(first: FloatArray, second: FloatArray) -> tuple[float, float, float]:
    """Count the values that are the largest of a channel, and where A lies beyond."""
    largest = float(np.fmax.reduce(second))
    if largest == 0 or not np.isfinite(largest):
        return largest, 0.0, 0.0
    there = first[second == largest]
    return largest, float(there.size), float(np.count_nonzero(there > largest + abs(largest) * _BEYOND))
