"""What a sensor of power is: a name, what it covers, how finely and how often it measures, and how it is read."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

MOST_W = 10_000.0
"""No board, computer or graphics card that fmedge runs on takes more than 10 kW."""

_OFFSET_W = 0.05
"""How far below zero a rail without load may read: the offset of the amplifier at its shunt."""


class SensorFailed(Exception):
    """A sensor has vanished, or says what cannot be; the text gives the reason in a few words."""


@dataclass(frozen=True, slots=True)
class Source:
    """A sensor of power or energy.

    Attributes:
        kind: Name of its row in the table of sensors.
        name: What it is called, such as ``ina3221 VDD_IN``.
        covers: What it measures, and what it does not, in words.
        measures: Whether it reads watts, or joules since some moment.
        resolution: Smallest step of its figures, in watts or joules.
        rate_hz: How often reading it makes sense, in hertz.
        read: Returns watts, or joules since the first reading.

    ``read`` raises :class:`SensorFailed`.
    """

    kind: str
    name: str
    covers: str
    measures: Literal["power", "energy"]
    resolution: float
    rate_hz: float
    read: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Refused:
    """A sensor that is there and cannot be used.

    Attributes:
        kind: Name of its row in the table of sensors.
        reason: Why, in words.
    """

    kind: str
    reason: str


Found = list[Source | Refused]
"""What a kind of sensor finds on a machine."""


def checked(finder: Callable[[], float], make: Callable[[Callable[[], float]], Source], kind: str) -> Source | Refused:
    """Return the source if its first reading can be; otherwise the refusal.

    Args:
        finder: Reads the sensor.
        make: Makes the source of it.
        kind: Name of the row.
    """
    try:
        finder()
    except SensorFailed as error:
        return Refused(kind, str(error))
    return make(finder)


def plausible_power(watts: float | None, name: str, least: float = 0.0) -> float:
    """Return a power if it can be.

    Raises:
        SensorFailed: It is missing, not finite, negative, or more than :data:`MOST_W`.
    """
    if watts is None:
        raise SensorFailed(f"{name} cannot be read")
    if not math.isfinite(watts) or not least <= watts <= MOST_W:
        raise SensorFailed(f"{name} reads {watts:.6g} W, which cannot be")
    return watts


def plausible_rail(watts: float | None, name: str) -> float:
    """Return the power of one rail of several, which may lie a little below zero.

    Raises:
        SensorFailed: As for :func:`plausible_power`.
    """
    return plausible_power(watts, name, -_OFFSET_W)


class Counter:
    """A counter of joules that starts again at zero when it is full."""

    def __init__(self, name: str, range_j: float | None, clock: Callable[[], float]) -> None:
        """Make it.

        Args:
            name: What it is called in a reason.
            range_j: Joules at which it starts again; None where it never does.
            clock: Returns seconds.
        """
        self._name, self._range_j, self._clock = name, range_j, clock
        self._last: tuple[float, float] | None = None
        self._total = 0.0

    def add(self, joules: float | None) -> float:
        """Take a reading, and return the joules since the first one.

        Raises:
            SensorFailed: It is missing, or no machine uses so much in that time: the counter ran backwards.
        """
        now = self._clock()
        if joules is None or not math.isfinite(joules) or joules < 0:
            raise SensorFailed(f"{self._name} cannot be read")
        if self._last is not None:
            before, when = self._last
            gone = joules - before
            if gone < 0 and self._range_j is not None:
                gone += self._range_j
            if gone < 0:
                raise SensorFailed(f"{self._name} ran backwards by {-gone:.6g} J")
            if gone > MOST_W * max(now - when, 1.0):
                raise SensorFailed(f"{self._name} went from {before:.6g} to {joules:.6g} J, which cannot be")
            self._total += gone
        self._last = joules, now
        return self._total
