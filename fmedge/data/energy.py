"""Energy per image from a trace of power, with its uncertainty, and what the machine told about itself meanwhile.

The uncertainty follows the Guide to the expression of uncertainty in measurement (JCGM 100:2008): scatter of turns as a
standard error (4.2.3), steps of the sensor and of time as rectangular distributions (4.3.7), all added in
quadrature (5.1.2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal

import numpy as np

_WIDEST_GAP = 0.25
"""Longest time without a sample within a turn, relative to the turn: a sensor that pauses for longer may have missed
what the turn took."""

_RECTANGULAR = math.sqrt(12)
"""The standard deviation of a rectangular distribution is its full width divided by this."""


@dataclass(frozen=True, slots=True)
class PowerTrace:
    """Samples of a sensor of power or energy.

    Attributes:
        sensor: Name of the sensor.
        measures: Whether the values are watts, or joules since some moment.
        resolution: Smallest step of the values, in watts or joules.
        times_s: When they were taken, in seconds of the monotonic clock, rising.
        values: The values.
    """

    sensor: str
    measures: Literal["power", "energy"]
    resolution: float
    times_s: tuple[float, ...] = ()
    values: tuple[float, ...] = ()

    @property
    def rate_hz(self) -> float:
        """Samples per second that were taken; 0 where there are fewer than two."""
        if len(self.times_s) < 2 or self.times_s[-1] <= self.times_s[0]:
            return 0.0
        return (len(self.times_s) - 1) / (self.times_s[-1] - self.times_s[0])

    def energy_j(self, start_s: float, end_s: float) -> float | None:
        """Return the joules between two moments; None where there are too few samples for that.

        Power is integrated by the trapezoidal rule, with straight lines between samples, also at both ends. A counter
        is read off a straight line at both ends, so whatever happens between two samples is counted.
        """
        times = np.asarray(self.times_s)
        if not self._covers(times, start_s, end_s):
            return None
        values = np.asarray(self.values)
        ends = np.interp((start_s, end_s), times, values)
        if self.measures == "energy":
            return float(ends[1] - ends[0])
        inside = (times > start_s) & (times < end_s)
        moments = np.concatenate(((start_s,), times[inside], (end_s,)))
        watts = np.concatenate((ends[:1], values[inside], ends[1:]))
        return float(np.trapezoid(watts, moments))

    def power_w(self, start_s: float, end_s: float) -> float | None:
        """Return the mean power between two moments in watts; None where there are too few samples for that."""
        joules = self.energy_j(start_s, end_s)
        return None if joules is None or end_s <= start_s else joules / (end_s - start_s)

    def step_w(self, seconds: float) -> float:
        """Return the width of the smallest step of mean power over some time, in watts."""
        return self.resolution if self.measures == "power" else self.resolution / seconds

    def _covers(self, times: np.ndarray, start_s: float, end_s: float) -> bool:
        """Return whether there are samples before and after, and, for power, no long pause between them."""
        if len(times) < 2 or end_s <= start_s or times[0] > start_s or times[-1] < end_s:
            return False
        first = int(np.searchsorted(times, start_s, side="right")) - 1
        last = int(np.searchsorted(times, end_s, side="left"))
        gaps = np.diff(times[first : last + 1])
        widest = gaps.max() if self.measures == "power" else max(gaps[0], gaps[-1])
        return bool(widest <= _WIDEST_GAP * (end_s - start_s))


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn of a configuration.

    Attributes:
        start_s: When it began, in seconds of the monotonic clock.
        end_s: When it ended.
        images: How many images it computed.
    """

    start_s: float
    end_s: float
    images: int


@dataclass(frozen=True, slots=True)
class EnergyPerImage:
    """What an image costs.

    Attributes:
        energy_j: Joules per image, without what the idle machine takes in that time.
        gross_j: Joules per image, with that.
        idle_w: Power of the idle machine, in watts.
        uncertainty_j: Standard uncertainty of ``energy_j``; None where there was a single turn.
        sensor: Name of the sensor.
        rate_hz: Samples per second.
        turns: Number of turns that it was computed from.
    """

    energy_j: float
    gross_j: float
    idle_w: float
    uncertainty_j: float | None
    sensor: str
    rate_hz: float
    turns: int


def energy_per_image(
    trace: PowerTrace, turns: Sequence[Turn], idle: Sequence[tuple[float, float]]
) -> EnergyPerImage | str:
    """Compute what an image costs.

    With E the joules of all turns, T their seconds, N their images and P the idle power, an image costs
    ``(E - P T) / N``. Its variance is the sum of four:

    - the scatter of n turns: the variance of their joules per image, over n;
    - the sensor's step r: ``(r T / N)**2 / 12``. Steps do not average out where power is constant;
    - the time between two samples d, at both ends of n turns: ``2 n (d (E/T - P) / N)**2 / 12``. The scatter holds a
      part of this, too, so it errs on the safe side;
    - the idle power, which lies somewhere between that before and that after: ``((P1 - P2) T / N)**2 / 12``.

    The sensor's calibration is not known and not in it: 1 % of the shunt is 1 % of all its figures.

    Args:
        trace: The samples.
        turns: The turns.
        idle: Beginnings and ends of the times in which the machine was idle.

    Returns:
        The energy, or why there is none, in words.
    """
    found = [(turn, joules) for turn in turns if (joules := trace.energy_j(turn.start_s, turn.end_s)) is not None]
    if not found:
        return f"{trace.sensor}: too few samples within the turns"
    rests = [power for start, end in idle if (power := trace.power_w(start, end)) is not None]
    if not rests:
        return f"{trace.sensor}: too few samples while the machine was idle"
    idle_w = fmean(rests)
    seconds = sum(turn.end_s - turn.start_s for turn, _ in found)
    images = sum(turn.images for turn, _ in found)
    joules = sum(each for _, each in found)
    net = (joules - idle_w * seconds) / images
    if net <= 0:
        return f"{trace.sensor} saw no more power than while the machine was idle"
    uncertainty = None
    if len(found) > 1:
        count = len(found)
        scatter = stdev(each / turn.images for turn, each in found) / math.sqrt(count)
        step = trace.step_w(seconds) * seconds / images / _RECTANGULAR
        edges = math.sqrt(2 * count) * abs(joules / seconds - idle_w) / trace.rate_hz / images / _RECTANGULAR
        rest = (max(rests) - min(rests)) * seconds / images / _RECTANGULAR
        uncertainty = math.hypot(scatter, step, edges, rest)
    return EnergyPerImage(net, joules / images, idle_w, uncertainty, trace.sensor, trace.rate_hz, len(found))


@dataclass(frozen=True, slots=True)
class StateTrace:
    """States of the machine, one after the other.

    Attributes:
        times_s: When they were read, in seconds of the monotonic clock, rising.
        temperatures_c: Temperatures in degrees Celsius; None where one was not known.
        clocks_mhz: Clocks in megahertz; None where one was not known.
        flags: What held the processor back then, or had since the state before.
    """

    times_s: tuple[float, ...] = ()
    temperatures_c: tuple[float | None, ...] = ()
    clocks_mhz: tuple[float | None, ...] = ()
    flags: tuple[tuple[str, ...], ...] = ()

    def throttled(self, turns: Sequence[Turn]) -> tuple[int, ...]:
        """Return the numbers, from 0, of the turns during which the processor was held back.

        What a state tells holds since the state before, so every turn that overlaps that time counts.
        """
        starts = (-math.inf, *self.times_s[:-1])
        spans = [(begin, end) for begin, end, flags in zip(starts, self.times_s, self.flags, strict=False) if flags]
        return tuple(
            number
            for number, turn in enumerate(turns)
            if any(turn.start_s <= end and begin < turn.end_s for begin, end in spans)
        )

    def hottest_c(self, turns: Sequence[Turn]) -> float | None:
        """Return the highest temperature during turns, or right after each; None where none is known."""
        found: list[float] = []
        for turn in turns:
            after = True
            for time_s, temperature in zip(self.times_s, self.temperatures_c, strict=True):
                if temperature is None or time_s < turn.start_s:
                    continue
                if time_s > turn.end_s and not after:
                    break
                after = time_s <= turn.end_s
                found.append(temperature)
        return max(found, default=None)
