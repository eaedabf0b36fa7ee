"""Whether a machine holds its processor back: for heat, for lack of voltage, or by a limit on its clock."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fmedge.system.sensors import raspberry
from fmedge.system.sensors.host import Host

OCCURRED_SHIFT = 16
"""How many places higher the bits of ``get_throttled`` stand that tell what has happened since the start."""

_ALARMS = ("in*_lcrit_alarm", "curr*_crit_alarm", "curr*_max_alarm", "temp*_crit_alarm", "power*_alarm")
"""Alarms of hwmon chips that go with throttling: ``in0_lcrit_alarm`` of rpi_volt is under-voltage, those of an INA3221
make a Jetson lower its clocks."""

_COOLERS = re.compile(r"(thermal-)?cpufreq-(cpu)?\d+|Processor|cpu-cooling.*", re.IGNORECASE)
"""Types of cooling devices that cool by a lower clock."""

Flags = tuple[str, ...]


@dataclass(slots=True)
class Throttling:
    """The signs of throttling that a machine gives; reading them again tells what has come since.

    Attributes:
        signs: What the machine can tell, in words; empty where nothing can be known.
    """

    host: Host
    signs: tuple[str, ...] = ()
    _readers: list[Callable[[], Flags]] = field(default_factory=list[Callable[[], Flags]])

    def read(self) -> Flags:
        """Return what holds the processor back now, or has since the last reading; each a few words."""
        return tuple(dict.fromkeys(flag for reader in self._readers for flag in reader()))


def find_throttling(host: Host) -> Throttling:
    """Look for every sign that the machine gives."""
    found = {
        "get_throttled": _firmware(host),
        "thermal_throttle": _counters(host),
        "hwmon alarms": _alarms(host),
        "cooling devices": _coolers(host),
        "clock limits": _limits(host),
    }
    return Throttling(
        host,
        tuple(name for name, reader in found.items() if reader is not None),
        [reader for reader in found.values() if reader is not None],
    )


def _firmware(host: Host) -> Callable[[], Flags] | None:
    """Bits of a Raspberry Pi: those that hold, and those of the past that were not set before."""
    first = raspberry.throttled_bits(host)
    if first is None:
        return None
    known = first

    def read() -> Flags:
        nonlocal known
        bits = raspberry.throttled_bits(host) or 0
        came = bits & ~known
        known = bits | known
        return tuple(
            words
            for place, words in raspberry.THROTTLED.items()
            if bits >> place & 1 or came >> (place + OCCURRED_SHIFT) & 1
        )

    return read


def _counters(host: Host) -> Callable[[], Flags] | None:
    """Counters of x86: how often a core or the package was slowed down for heat (Documentation/admin-guide)."""
    paths = host.paths("sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/*_throttle_count")
    if not paths:
        return None
    known = {path: host.number(path) for path in paths}

    def read() -> Flags:
        rose = False
        for path in paths:
            now, before = host.number(path), known[path]
            rose = rose or (now is not None and before is not None and now > before)
            known[path] = now
        return ("slowed down for heat",) if rose else ()

    return read


def _alarms(host: Host) -> Callable[[], Flags] | None:
    paths = [path for pattern in _ALARMS for path in host.paths(f"sys/class/hwmon/hwmon*/{pattern}")]
    if not paths:
        return None
    names = {path: _alarm_name(host, path) for path in paths}
    return lambda: tuple(dict.fromkeys(names[path] for path in paths if host.number(path) == 1))


def _alarm_name(host: Host, path: Path) -> str:
    chip = (host.text(path.parent / "name") or "hwmon")[:40]
    return raspberry.THROTTLED[0] if chip == "rpi_volt" else f"alarm of {chip}"


def _coolers(host: Host) -> Callable[[], Flags] | None:
    """Cooling devices of the processor: a state above 0 is a lower clock (sysfs-class-thermal)."""
    paths = [
        path / "cur_state"
        for path in host.paths("sys/class/thermal/cooling_device*")
        if _COOLERS.fullmatch(host.text(path / "type") or "") and host.number(path / "cur_state") is not None
    ]
    if not paths:
        return None
    return lambda: ("clock lowered to cool",) if any((host.number(path) or 0) > 0 for path in paths) else ()


def _limits(host: Host) -> Callable[[], Flags] | None:
    """Highest allowed clocks: one that falls below what it was at the start; a limit from before is the user's."""
    paths = host.paths("sys/devices/system/cpu/cpufreq/policy*/scaling_max_freq")
    first = {path: value for path in paths if (value := host.number(path)) is not None}
    if not first:
        return None

    def read() -> Flags:
        fell = any((host.number(path) or value) < value for path, value in first.items())
        return ("highest clock lowered",) if fell else ()

    return read


def standing_limits(host: Host) -> list[str]:
    """Return what holds the machine back before anything is measured, in words: clock limits and a bad supply."""
    found: list[str] = []
    for path in host.paths("sys/devices/system/cpu/cpufreq/policy*"):
        limit, most = host.number(path / "scaling_max_freq"), host.number(path / "cpuinfo_max_freq")
        if limit is not None and most is not None and limit < most:
            found.append(f"{path.name}: clock limited to {limit / 1e3:.0f} of {most / 1e3:.0f} MHz")
    bits = raspberry.throttled_bits(host) or 0
    found += [
        f"since the start: {words}"
        for place, words in raspberry.THROTTLED.items()
        if bits >> (place + OCCURRED_SHIFT) & 1
    ]
    supply_ma = _supply_milliamperes(host)
    if supply_ma is not None and supply_ma < 5000:
        found.append(f"the supply offers {supply_ma} mA, a Raspberry Pi 5 wants 5000")
    return found


def _supply_milliamperes(host: Host) -> int | None:
    """Return what the supply of a Raspberry Pi 5 agreed to give (device tree, ``chosen/power/max_current``)."""
    try:
        with (host.root / "proc/device-tree/chosen/power/max_current").open("rb") as stream:
            data = stream.read(4)
    except OSError:
        return None
    return int.from_bytes(data, "big") if len(data) == 4 else None
