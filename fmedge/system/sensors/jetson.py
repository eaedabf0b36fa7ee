"""Power of NVIDIA's Jetson boards, where it is not under hwmon: the older driver's files, and the text of tegrastats.

Newer releases of Jetson Linux have the INA3221 under hwmon (:mod:`fmedge.system.sensors.hwmon`). The names of rails are
those of NVIDIA's Jetson Linux Developer Guide.
"""

from __future__ import annotations

import re
from functools import partial

from fmedge.system.sensors.host import Host
from fmedge.system.sensors.source import Found, Source, checked, plausible_power, plausible_rail

KIND_IIO, KIND_TEGRASTATS = "jetson-iio", "tegrastats"

_WHOLE = ("VDD_IN", "POM_5V_IN", "5V_IN")
"""Rails that feed the whole module."""

_RAIL = re.compile(r"\b((?:VDD|POM|VIN|SYS|CV|GPU|CPU|SOC)\w*) (\d{1,7})(?:mW)?/(\d{1,7})(?:mW)?(?=\s|$)")
"""A rail in the text of tegrastats: ``VDD_IN 4940mW/4940mW``, before release 34 ``POM_5V_IN 1750/1628``; milliwatts now
and on average."""

_RESOLUTION_W = 0.04
"""Forty microvolts at a shunt of 5 milliohms, times 5 volts: the step of an INA3221 on these boards."""

_IIO_HZ = 20.0
_TEGRASTATS_HZ = 1.0
"""tegrastats is started for each reading."""


def find_iio(host: Host) -> Found:
    """Find the rails of the older driver (mW): ``/sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_power0_input``."""
    rails = {
        host.text(path.parent / f"rail_name_{number}") or f"rail {number}": path
        for path in host.paths("sys/bus/i2c/drivers/ina3221x/*/iio*device*/in_power[0-2]_input")
        for number in [path.name[len("in_power")]]
    }
    if not rails:
        return []
    whole = next((name for name in rails if name in _WHOLE), None)
    used = {whole: rails[whole]} if whole else rails
    names = " + ".join(name[:40] for name in used)
    covers = "the whole module" if whole else "the sum of these rails; what others feed is not in it"

    def read() -> float:
        total = 0.0
        for name, path in used.items():
            value = host.number(path)
            total += plausible_rail(None if value is None else value / 1e3, f"rail {name[:40]}")
        return plausible_power(total, names)

    resolution = _RESOLUTION_W * len(used)
    source = partial(Source, KIND_IIO, f"ina3221x {names}", covers, "power", resolution, _IIO_HZ)
    return [checked(read, source, KIND_IIO)]


def find_tegrastats(host: Host) -> Found:
    """Find tegrastats, for boards whose rails cannot be read otherwise."""
    rails = parse_tegrastats(_ask(host) or "")
    if not rails:
        return []
    whole = next((name for name in rails if name in _WHOLE), None)
    used = [whole] if whole else list(rails)
    names = " + ".join(used)
    covers = "the whole module" if whole else "the sum of these rails; what others feed is not in it"

    def read() -> float:
        found = parse_tegrastats(_ask(host) or "")
        return plausible_power(sum(found[name] for name in used) if set(used) <= set(found) else None, names)

    source = partial(
        Source, KIND_TEGRASTATS, f"tegrastats {names}", covers, "power", _RESOLUTION_W * len(used), _TEGRASTATS_HZ
    )
    return [checked(read, source, KIND_TEGRASTATS)]


def parse_tegrastats(line: str) -> dict[str, float]:
    """Return the watts of each rail in a line of tegrastats, as they are at the moment."""
    return {name[:40]: int(now) / 1e3 for name, now, _ in _RAIL.findall(line)}


def _ask(host: Host) -> str | None:
    return host.run("tegrastats", "--interval", "100", first_line=True)
