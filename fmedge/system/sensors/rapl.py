"""Energy of Intel's and AMD's processors: the counters of RAPL in /sys/class/powercap.

Documentation/power/powercap/powercap.rst gives the files and units (microjoules). Since Linux 5.10 only root may read
them (CVE-2020-8694).
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

from fmedge.system.sensors.host import Host
from fmedge.system.sensors.source import Counter, Found, Refused, Source, checked

KIND = "rapl"

_COVERS = {
    "package": "the processor's package with its caches and built-in graphics",
    "dram": "its memory",
}
_END = "; not the board, drives, fans and the power supply's losses"

_RESOLUTION_J = 61e-6
"""2 to the power of -14 joules, the unit of most processors (Intel, Software Developer's Manual, volume 3B, 14.10)."""

_RATE_HZ = 20.0
"""The counters are renewed every millisecond, but what is between two readings is not lost, as it is for power: more
readings would only find the ends of a turn more closely."""

_MICRO = 1e-6


def find(host: Host) -> Found:
    """Find the counters of packages and of memory that lies beside them; cores and graphics are part of a package."""
    zones: dict[Path, str] = {}
    for folder in host.paths("sys/class/powercap/intel-rapl:*"):
        name = host.text(folder / "name") or ""
        if name.startswith("package") or name == "dram":
            zones[folder] = name
    if not zones:
        return []
    for folder in zones:
        if refusal := host.refusal(folder / "energy_uj"):
            return [Refused(KIND, f"the processor's energy counters are not readable: {refusal}; root may read them")]
    counters = {folder: _counter(host, folder, name) for folder, name in zones.items()}

    def read() -> float:
        total = 0.0
        for folder, counter in counters.items():
            value = host.number(folder / "energy_uj")
            total += counter.add(None if value is None else value * _MICRO)
        return total

    names = list(dict.fromkeys(name.partition("-")[0] for name in zones.values()))
    covers = " and ".join(_COVERS[name] for name in names) + _END
    resolution = _RESOLUTION_J * len(zones)
    name = f"RAPL {' + '.join(zones.values())}"
    return [checked(read, partial(Source, KIND, name, covers, "energy", resolution, _RATE_HZ), KIND)]


def _counter(host: Host, folder: Path, name: str) -> Counter:
    range_uj = host.number(folder / "max_energy_range_uj")
    return Counter(f"RAPL {name}", range_uj * _MICRO if range_uj else None, time.monotonic)
