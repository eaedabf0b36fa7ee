"""Power of a machine that runs from its battery.

Files and units are those of Documentation/ABI/testing/sysfs-class-power: microwatts, microamperes, microvolts.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from fmedge.system.sensors.host import Host
from fmedge.system.sensors.source import Found, Refused, SensorFailed, Source, checked, plausible_power

KIND = "battery"

_COVERS = "the whole machine, its screen included, while it runs from the battery"
_RATE_HZ = 1.0
"""Batteries renew their figures every one to some thirty seconds."""

_RESOLUTION_W = 0.01
"""Their figures have three or four digits: 10 mW or 1 mA at 11 V."""

_MICRO = 1e-6


def find(host: Host) -> Found:
    """Find the machine's batteries, not those of a mouse; they tell its power only while they are discharged."""
    found: Found = []
    for folder in host.paths("sys/class/power_supply/*"):
        if host.text(folder / "type") != "Battery" or host.text(folder / "scope") == "Device":
            continue
        name = f"battery {folder.name[:40]}"
        status = (host.text(folder / "status") or "unknown")[:40]
        if status != "Discharging":
            found.append(Refused(KIND, f"{name} is not being discharged ({status}); unplug the charger to measure"))
            continue
        read = partial(_read, host, folder, name)
        found.append(checked(read, partial(Source, KIND, name, _COVERS, "power", _RESOLUTION_W, _RATE_HZ), KIND))
    return found


def _read(host: Host, folder: Path, name: str) -> float:
    if host.text(folder / "status") != "Discharging":
        raise SensorFailed(f"{name} is no longer being discharged")
    watts = host.number(folder / "power_now")
    if watts is None:
        amperes, volts = host.number(folder / "current_now"), host.number(folder / "voltage_now")
        watts = None if amperes is None or volts is None else abs(amperes) * volts * _MICRO
    return plausible_power(None if watts is None else abs(watts) * _MICRO, name)
