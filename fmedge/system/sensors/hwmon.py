"""Power by the kernel's hwmon drivers: chips that report watts, or volts and amperes of up to three rails.

Units are those of Documentation/hwmon/sysfs-interface.rst: microwatts, millivolts, milliamperes. The channels of an
INA3221 are explained in Documentation/hwmon/ina3221.rst.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fmedge.system.sensors.host import Host
from fmedge.system.sensors.source import Found, Refused, Source, checked, plausible_power, plausible_rail

KIND = "hwmon"

_CHIPS: Mapping[str, str] = {
    "power_meter": "the whole machine, by its ACPI power meter",
    "ina219": "the rail that the chip is soldered to",
    "ina220": "the rail that the chip is soldered to",
    "ina226": "the rail that the chip is soldered to",
    "ina230": "the rail that the chip is soldered to",
    "ina231": "the rail that the chip is soldered to",
    "ina238": "the rail that the chip is soldered to",
    "ina260": "the rail that the chip is soldered to",
    "corsairpsu": "the whole machine, by its power supply",
}
"""Chips whose ``power1_input`` is the machine's, and what they cover. A graphics card's, a drive's or a network card's
is not, so other chips are named and not used."""

_WHOLE = ("VDD_IN", "POM_5V_IN")
"""Labels of rails that feed the whole module: Jetson Orin Nano, Orin NX and Xavier NX; Jetson Nano (NVIDIA's Jetson
Linux Developer Guide). Where there is none, all rails are added, as jetson-stats does."""

_SHUNT_LSB_V, _BUS_LSB_V = 40e-6, 8e-3
"""Smallest steps of an INA3221 (TI, SBOS576): 40 microvolts at the shunt, 8 millivolts at the rail."""

_RATE_HZ = 20.0
"""An INA3221 converts three rails within about 7 ms by default; each reading is a few bytes over I2C."""

_MICRO = 1e-6


@dataclass(frozen=True, slots=True)
class _Rail:
    """A rail of a chip: its label, its folder, and its number in the names of files."""

    label: str
    folder: Path
    number: int

    def watts(self, host: Host) -> float:
        volts = host.number(self.folder / f"in{self.number}_input")
        amperes = host.number(self.folder / f"curr{self.number}_input")
        found = None if volts is None or amperes is None else volts * amperes * _MICRO
        return plausible_rail(found, f"rail {self.label}")

    def resolution_w(self, host: Host) -> float:
        """Return the power of one step in current and one in voltage."""
        millivolts = host.number(self.folder / f"in{self.number}_input") or 5000.0
        milliamperes = host.number(self.folder / f"curr{self.number}_input") or 0.0
        shunt = host.number(self.folder / f"shunt{self.number}_resistor")  # microohms
        step_a = _SHUNT_LSB_V / (shunt * _MICRO) if shunt else 1e-3
        return millivolts / 1e3 * step_a + milliamperes / 1e3 * _BUS_LSB_V


def find(host: Host) -> Found:
    """Find the chips that report the machine's power."""
    found: Found = []
    rails: list[_Rail] = []
    for folder in host.paths("sys/class/hwmon/hwmon*"):
        name = host.text(folder / "name") or folder.name
        if name == "ina3221":
            rails += _rails(host, folder)
            continue
        for field in ("power1_input", "power1_average"):
            if host.text(folder / field) is not None:
                found.append(_chip(host, name, folder / field))
                break
    return ([_sum(host, rails)] if rails else []) + sorted(found, key=lambda each: isinstance(each, Refused))


def _rails(host: Host, folder: Path) -> list[_Rail]:
    """Return the rails of an INA3221 that are connected: a channel that is not says ``NC``, or is switched off."""
    found: list[_Rail] = []
    for number in (1, 2, 3):
        label = host.text(folder / f"in{number}_label") or f"{folder.name} channel {number}"
        off = host.text(folder / f"in{number}_enable") == "0"
        if label != "NC" and not off and host.text(folder / f"curr{number}_input") is not None:
            found.append(_Rail(label[:40], folder, number))
    return found


def _sum(host: Host, rails: Sequence[_Rail]) -> Source | Refused:
    """Return the rail that feeds the module, or the sum of all."""
    whole = [rail for rail in rails if rail.label in _WHOLE]
    used = whole[:1] or rails
    names = " + ".join(rail.label for rail in used)
    covers = "the whole module" if whole else "the sum of these rails; what others feed is not in it"

    def read() -> float:
        return plausible_power(sum(rail.watts(host) for rail in used), names)

    resolution = sum(rail.resolution_w(host) for rail in used)
    return checked(read, partial(Source, KIND, f"ina3221 {names}", covers, "power", resolution, _RATE_HZ), KIND)


def _chip(host: Host, name: str, path: Path) -> Source | Refused:
    if name not in _CHIPS:
        return Refused(KIND, f"chip '{name[:40]}' is not known to measure the whole machine")

    def read() -> float:
        value = host.number(path)
        return plausible_power(None if value is None else value * _MICRO, name)

    averaged_s = (host.number(path.parent / "power1_average_interval") or 0.0) / 1e3
    rate = min(_RATE_HZ, 1 / averaged_s) if averaged_s else _RATE_HZ
    return checked(read, partial(Source, KIND, name, _CHIPS[name], "power", 1e-3, rate), KIND)
