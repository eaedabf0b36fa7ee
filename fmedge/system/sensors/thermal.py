"""Temperatures: the kernel's thermal zones, and hwmon where there is no zone of the processor.

Both are in thousandths of a degree Celsius (Documentation/ABI/testing/sysfs-class-thermal,
Documentation/hwmon/sysfs-interface.rst).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fmedge.system.sensors.host import Host

COLDEST_C, HOTTEST_C = -40.0, 150.0
"""Temperatures that a running processor can have; sensors that are switched off say -256 or 0 kelvin."""

_ZONES = (
    r"cpu.?therm\w*|bigcore\d*-thermal|littlecore\d*-thermal|x86_pkg_temp|tj-thermal",
    r"soc.?\d*-thermal|package-thermal",
)
"""Types of the zones that lie in a processor: of the first row that finds any, the hottest counts. Raspberry Pi says
cpu-thermal, Jetson CPU-therm and cpu-thermal, RK3588 bigcore0-thermal and soc-thermal, Intel x86_pkg_temp."""

_CHIPS = ("coretemp", "k10temp", "zenpower", "cpu_thermal")
"""hwmon chips in a processor: Intel's, AMD's, and the zones' own names on boards."""

_LAST = r"acpitz"
"""The mainboard's zone, where there is nothing better; on some machines it never changes."""


@dataclass(frozen=True, slots=True)
class Thermometer:
    """The sensors that together give a processor's temperature.

    Attributes:
        name: What they are called.
        paths: Their files.
    """

    name: str
    paths: tuple[Path, ...]

    def read(self, host: Host) -> float | None:
        """Return the temperature of the hottest, in degrees Celsius; None where none tells one that can be."""
        found = [celsius for path in self.paths if (celsius := _celsius(host, path)) is not None]
        return max(found, default=None)


def find_thermometer(host: Host) -> Thermometer | None:
    """Find the sensors of the processor's temperature; None where there are none."""
    zones = {path: host.text(path / "type") or "" for path in host.paths("sys/class/thermal/thermal_zone*")}
    for row in _ZONES:
        if found := _readable(host, [path / "temp" for path, name in zones.items() if _is(row, name)]):
            return Thermometer(" and ".join(dict.fromkeys(zones[path.parent][:40] for path in found)), found)
    for chip in host.paths("sys/class/hwmon/hwmon*"):
        name = host.text(chip / "name") or ""
        if name in _CHIPS and (found := _readable(host, host.paths(f"{chip}/temp*_input"))):
            return Thermometer(name, found)
    found = _readable(host, [path / "temp" for path, name in zones.items() if _is(_LAST, name)])
    return Thermometer("acpitz (the mainboard's)", found) if found else None


def _is(row: str, name: str) -> bool:
    return re.fullmatch(row, name, re.IGNORECASE) is not None


def _readable(host: Host, paths: Sequence[Path]) -> tuple[Path, ...]:
    return tuple(path for path in paths if _celsius(host, path) is not None)


def _celsius(host: Host, path: Path) -> float | None:
    value = host.number(path)
    if value is None or not COLDEST_C <= value / 1e3 <= HOTTEST_C:
        return None
    return value / 1e3
