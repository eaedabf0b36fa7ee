"""What a machine told about itself while the benchmark ran: sensors, heat, clock, power and throttling over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fmedge.data.energy import PowerTrace, StateTrace

NOT_ASKED = "not asked for"
"""Why there is no energy where nobody wanted it."""

POINTS = 400
"""Most points of a series that a report keeps: more than a chart has pixels for."""


@dataclass(frozen=True, slots=True)
class Telemetry:
    """What was watched, and what was seen. Times are seconds since the benchmark began.

    Attributes:
        power_sensor: The sensor of power or energy; empty where none was used.
        covers: What it measures and what not, in words.
        no_power: Why no energy was measured, in words; empty where it was.
        rate_hz: Its samples per second; 0 where there are none.
        idle_w: Power of the idle machine before and after, in watts, as far as measured.
        thermometer: What the temperature was taken from; empty where there is no sensor.
        signs: Which signs of throttling the machine gives; empty where it gives none.
        limits: What held the machine back from the beginning, in words.
        flags: What held it back during the benchmark, in words.
        clusters: Its kinds of cores, in words; empty where they are alike.
        cooling: How waiting for a temperature went, in words; empty where it was not asked for.
        sampler_load: Cores that the sampler itself kept busy on average.
        times_s: When temperature and clock were read.
        temperature_c: Temperatures, in degrees Celsius; empty where not known.
        clock_mhz: Clocks, in megahertz; empty where not known.
        throttled_s: When the machine was held back.
        power_times_s: When power was read.
        power_w: Powers, in watts.
    """

    power_sensor: str = ""
    covers: str = ""
    no_power: str = ""
    rate_hz: float = 0.0
    idle_w: tuple[float, ...] = ()
    thermometer: str = ""
    signs: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    clusters: str = ""
    cooling: str = ""
    sampler_load: float = 0.0
    times_s: tuple[float, ...] = ()
    temperature_c: tuple[float, ...] = ()
    clock_mhz: tuple[float, ...] = ()
    throttled_s: tuple[float, ...] = ()
    power_times_s: tuple[float, ...] = ()
    power_w: tuple[float, ...] = ()


def telemetry_words(seen: Telemetry) -> dict[str, str]:
    """Return in words what was watched and what not, by the subject: nothing that is not known is left out silently."""
    energy = seen.no_power or "measured"
    if seen.power_sensor:
        idle = " and ".join(f"{watts:.2f} W" for watts in seen.idle_w) or "not measured"
        energy = (
            f"{seen.power_sensor}, {seen.rate_hz:.0f} times a second ({seen.covers}); idle before and after: {idle}"
        )
        energy += f"; {seen.no_power}" if seen.no_power else ""
    heat = "no sensor"
    if seen.temperature_c:
        heat = f"{min(seen.temperature_c):.0f} to {max(seen.temperature_c):.0f} °C ({seen.thermometer})"
    throttling = "the machine gives no sign of it"
    if seen.signs:
        throttling = ", ".join(seen.flags) or "none"
    found = {"Energy": energy, "Temperature": heat, "Throttling": throttling}
    if seen.limits:
        found["Limits"] = "; ".join(seen.limits)
    if seen.clusters:
        found["Kinds of cores"] = seen.clusters
    if seen.cooling:
        found["Cooling"] = seen.cooling
    return found


def short_reason(no_energy: str, seen: Telemetry | None) -> str:
    """Return why a row has no energy in one or two words, for a table.

    Args:
        no_energy: The whole reason; empty where energy was not known of.
        seen: What was watched.
    """
    if no_energy in ("", NOT_ASKED):
        return no_energy or "not recorded"
    return "failed" if seen is not None and seen.power_sensor else "no sensor"


def state_series(states: StateTrace, began_s: float) -> dict[str, tuple[float, ...]]:
    """Return the series of a report's :class:`Telemetry`, by their names; a reading that is missing repeats the last.

    Args:
        states: The states.
        began_s: When the benchmark began, in seconds of the monotonic clock.
    """
    chosen = _evenly(len(states.times_s))
    temperatures = _filled([states.temperatures_c[place] for place in chosen])
    clocks = _filled([states.clocks_mhz[place] for place in chosen])
    times = tuple(_rounded(states.times_s[place] - began_s) for place in chosen)
    return {
        "times_s": times if temperatures or clocks else (),
        "temperature_c": temperatures,
        "clock_mhz": clocks,
        "throttled_s": tuple(
            _rounded(time_s - began_s) for time_s, flags in zip(states.times_s, states.flags, strict=True) if flags
        )[:POINTS],
    }


def power_series(trace: PowerTrace, began_s: float) -> dict[str, tuple[float, ...]]:
    """Return mean power in up to :data:`POINTS` equal parts of the time, by the names of :class:`Telemetry`."""
    if len(trace.times_s) < 2:
        return {}
    borders = np.linspace(trace.times_s[0], trace.times_s[-1], min(POINTS, len(trace.times_s) - 1) + 1)
    values = np.interp(borders, trace.times_s, trace.values)
    if trace.measures == "energy":
        watts, times = np.diff(values) / np.diff(borders), (borders[1:] + borders[:-1]) / 2
    else:
        watts, times = values, borders
    return {
        "power_times_s": tuple(_rounded(float(time_s) - began_s) for time_s in times),
        "power_w": tuple(_rounded(max(0.0, float(each))) for each in watts),
    }


def _evenly(count: int) -> list[int]:
    if count <= POINTS:
        return list(range(count))
    return [int(place) for place in np.linspace(0, count - 1, POINTS).round()]


def _filled(values: Sequence[float | None]) -> tuple[float, ...]:
    """Return the values with the last known one for each that is not; empty where none is known."""
    last = next((value for value in values if value is not None), None)
    if last is None:
        return ()
    found: list[float] = []
    for value in values:
        last = last if value is None else value
        found.append(_rounded(last))
    return tuple(found)


def _rounded(value: float) -> float:
    """Round to milliseconds, millidegrees and so on; a time from just before the beginning counts as the beginning."""
    return max(0.0, round(value, 3))
