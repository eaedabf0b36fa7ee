"""The table of power sensors, and which of them is used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fmedge.system.sensors import battery, hwmon, jetson, nvml, rapl, raspberry
from fmedge.system.sensors.host import Host
from fmedge.system.sensors.source import Found, Refused, Source


@dataclass(frozen=True, slots=True)
class PowerKind:
    """A kind of sensor.

    Attributes:
        name: Its name.
        words: What it is, in words.
        find: Looks for it.
        device: Whose power it measures, ``cpu`` standing for the machine with its processor.
    """

    name: str
    words: str
    find: Callable[[Host], Found]
    device: str = "cpu"


SENSORS = (
    PowerKind(hwmon.KIND, "chips that Linux knows as hwmon", hwmon.find),
    PowerKind(jetson.KIND_IIO, "the rails of older Jetson releases", jetson.find_iio),
    PowerKind(jetson.KIND_TEGRASTATS, "NVIDIA's tegrastats", jetson.find_tegrastats),
    PowerKind(raspberry.KIND, "the power chip of a Raspberry Pi 5", raspberry.find),
    PowerKind(rapl.KIND, "energy counters of Intel's and AMD's processors", rapl.find),
    PowerKind(battery.KIND, "a battery that is being discharged", battery.find),
    PowerKind(nvml.KIND, "NVIDIA's management library", nvml.find, "gpu"),
)
"""The kinds, in the order in which they are tried: what covers a whole board and can be read often comes first. A
battery covers more than RAPL does, but renews its figure so rarely that turns would have to last minutes."""


@dataclass(frozen=True, slots=True)
class PowerSearch:
    """What was found.

    Attributes:
        source: The sensor to use; None where there is none.
        refused: Sensors that are there and cannot be used.
    """

    source: Source | None
    refused: tuple[Refused, ...] = ()

    @property
    def reason(self) -> str:
        """Why there is none, in words; empty where there is one."""
        if self.source is not None:
            return ""
        return "; ".join(each.reason for each in self.refused) or "this machine has no power sensor that fmedge knows"


def find_power(host: Host | None = None, device: str = "cpu") -> PowerSearch:
    """Look for a sensor of what computes.

    Args:
        host: The machine; None takes this one.
        device: ``cpu``, or the name of another device: then a graphics card's sensor is looked for.
    """
    host = host or Host()
    wanted = "cpu" if device == "cpu" else "gpu"
    refused: list[Refused] = []
    for kind in SENSORS:
        if kind.device != wanted:
            continue
        for found in kind.find(host):
            if isinstance(found, Source):
                return PowerSearch(found, tuple(refused))
            refused.append(found)
    return PowerSearch(None, tuple(refused))
