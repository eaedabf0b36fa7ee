"""Compute what a page reports of every channel: extremes, mean, spread, and the share of zeros."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Statistics:
    """Numbers per channel. Extremes, mean and spread are over its finite values, and 0 where there are none.

    Attributes:
        smallest: Float32, (C,).
        largest: Float32, (C,).
        mean: Float32, (C,).
        spread: Float32, (C,): the standard deviation.
        zeros: Float32, (C,): the share of values that are 0.
        negative: Float32, (C,): the share of values below 0, which ReLU would remove.
        broken: Int32, (C,): how many values are NaN or infinite.
    """

    smallest: FloatArray = field(repr=False)
    largest: FloatArray = field(repr=False)
    mean: FloatArray = field(repr=False)
    spread: FloatArray = field(repr=False)
    zeros: FloatArray = field(repr=False)
    negative: FloatArray = field(repr=False)
    broken: npt.NDArray[np.int32] = field(repr=False)


def measure(values: FloatArray, *, relu: bool = False) -> tuple[Statistics, ...]:
    """Compute the statistics of channels, and with ``relu`` once more after ReLU.

    Args:
        values: Float32, (channels, values per channel), contiguous.
        relu: Whether to compute them after ReLU, too.
    """
    low, high = values.min(axis=1), values.max(axis=1)
    odd = np.flatnonzero(~(np.isfinite(low) & np.isfinite(high)))
    broken = np.zeros(len(values), np.int32)
    if odd.size:
        broken[odd] = np.count_nonzero(~np.isfinite(values[odd]), axis=1)
    found = [_measure(values, low, high, odd, broken)]
    if relu:
        found.append(_measure(np.maximum(values, 0), np.maximum(low, 0), np.maximum(high, 0), odd, broken))
    return tuple(found)


def _measure(
    values: FloatArray,
    low: FloatArray,
    high: FloatArray,
    odd: npt.NDArray[np.intp],
    broken: npt.NDArray[np.int32],
) -> Statistics:
    count = values.shape[1]
    with np.errstate(over="ignore", invalid="ignore"):
        mean = values.mean(axis=1)
        centred = values - mean[:, np.newaxis]
        spread = np.sqrt(np.vecdot(centred, centred) / count)
    found = Statistics(
        smallest=low.copy(),
        largest=high.copy(),
        mean=mean,
        spread=spread,
        zeros=_share(values == 0),
        negative=_negative(values, low),
        broken=broken,
    )
    for channel in {*odd.tolist(), *np.flatnonzero(~np.isfinite(spread)).tolist()}:
        _measure_finite(found, channel, values[channel])
    return found


def _negative(values: FloatArray, low: FloatArray) -> FloatArray:
    if (low >= 0).all():
        return np.zeros(len(values), np.float32)
    return _share(values < 0)


def _share(found: npt.NDArray[np.bool_]) -> FloatArray:
    """Return the share of True in every row; row by row, since NumPy counts along an axis ten times as slowly."""
    return np.array([np.count_nonzero(row) for row in found], np.float32) / np.float32(found.shape[1])


def _measure_finite(found: Statistics, channel: int, values: FloatArray) -> None:
    """Fill in one channel from its finite values, in float64, where float32 would overflow."""
    finite = values[np.isfinite(values)].astype(np.float64)
    if not finite.size:
        finite = np.zeros(1)
    found.smallest[channel], found.largest[channel] = finite.min(), finite.max()
    found.mean[channel], found.spread[channel] = finite.mean(), finite.std()


def join_statistics(parts: Sequence[Statistics]) -> Statistics:
    """Join the statistics of groups of channels into those of all channels."""
    return Statistics(*(np.concatenate([getattr(part, spec.name) for part in parts]) for spec in fields(Statistics)))
