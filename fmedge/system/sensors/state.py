"""The state of a machine at a moment: temperature, clock, and whether it is throttled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

from fmedge.system.sensors import raspberry
from fmedge.system.sensors.host import Host
from fmedge.system.sensors.thermal import find_thermometer
from fmedge.system.sensors.throttling import Flags, find_throttling, standing_limits

MOST_MHZ = 10_000.0
"""No processor's clock is higher."""


@dataclass(frozen=True, slots=True)
class State:
    """A machine at a moment.

    Attributes:
        temperature_c: The processor's temperature in degrees Celsius; None where it is not known.
        clock_mhz: Mean clock of the cores in use, in megahertz; None where it is not known.
        flags: What holds the processor back now, or has since the state before.
    """

    temperature_c: float | None
    clock_mhz: float | None
    flags: Flags = ()


class StateReader:
    """Reads states of a machine, one after the other.

    Attributes:
        thermometer: What the temperature is taken from; empty where there is nothing.
        signs: Which signs of throttling the machine gives; empty where it gives none.
        limits: What held the machine back when this was made, in words.
    """

    def __init__(self, host: Host | None = None, cpus: Sequence[int] = ()) -> None:
        """Look for sensors.

        Args:
            host: The machine; None takes this one.
            cpus: The cores whose clock counts; all where there are none.
        """
        self._host = host or Host()
        self._thermometer = find_thermometer(self._host)
        self._throttling = find_throttling(self._host)
        self._counted = raspberry.measured_hertz(self._host) is not None
        folders = [f"sys/devices/system/cpu/cpu{number}" for number in cpus] or ["sys/devices/system/cpu/cpu[0-9]*"]
        self._clocks = [path for folder in folders for path in self._host.paths(f"{folder}/cpufreq/scaling_cur_freq")]
        self.thermometer = self._thermometer.name if self._thermometer else ""
        self.signs = self._throttling.signs
        self.limits = standing_limits(self._host)

    def read(self) -> State:
        """Return the state now."""
        temperature = self._thermometer.read(self._host) if self._thermometer else None
        return State(temperature, self._clock_mhz(), self._throttling.read())

    def temperature_c(self) -> float | None:
        """Return the temperature alone; None where it is not known."""
        return self._thermometer.read(self._host) if self._thermometer else None

    def _clock_mhz(self) -> float | None:
        if self._counted:
            hertz = raspberry.measured_hertz(self._host)
            found = [] if hertz is None else [hertz / 1e6]
        else:
            found = [value / 1e3 for path in self._clocks if (value := self._host.number(path)) is not None]
        return mean(found) if found and 0 < mean(found) <= MOST_MHZ else None
