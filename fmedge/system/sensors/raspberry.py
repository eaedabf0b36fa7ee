"""Power of a Raspberry Pi 5, and what the firmware of every Raspberry Pi tells about voltage, heat and clock.

The tool is ``vcgencmd`` (raspberrypi.com, Documentation, "Raspberry Pi OS", vcgencmd).
"""

from __future__ import annotations

import re
from functools import partial

from fmedge.system.sensors.host import Host
from fmedge.system.sensors.source import Found, Refused, Source, checked, plausible_power

KIND = "pmic"

_LINE = re.compile(r"\s*(\w{1,40})_([AV]) (?:current|volt)\(\d{1,3}\)=(\d{1,6}(?:\.\d{1,12})?)([AV])\s*")
"""A line of ``vcgencmd pmic_read_adc``: ``VDD_CORE_A current(7)=0.56259000A``."""

_COVERS = (
    "the rails behind the power chip: processor, memory, 3.3 V, 1.8 V, HDMI; not what takes 5 V directly (USB devices, "
    "fan, HATs), nor the losses of the converters"
)
"""``EXT5V`` has a voltage and no current, so what the board takes at its plug is not known."""

_RESOLUTION_W = 0.02
"""Steps of about 1 mA on each of twelve rails of 0.6 to 5 V, as recorded outputs show them, added up."""

_RATE_HZ = 4.0
"""Each reading starts ``vcgencmd``, which takes some milliseconds of a core; more often, it would disturb what is
measured."""

THROTTLED = {
    0: "under-voltage",
    1: "clock capped",
    2: "throttled by the firmware",
    3: "soft temperature limit",
}
"""Bits of ``get_throttled`` that hold now; sixteen places higher, whether they have held since the start."""

_SYSFS = "sys/devices/platform/soc/soc:firmware/get_throttled"
"""The same bits, in hexadecimal digits, where the kernel of Raspberry Pi OS has them: reading it starts no process."""


def find(host: Host) -> Found:
    """Find the power chip of a Raspberry Pi 5; older models have none that can be read."""
    text = host.run("vcgencmd", "pmic_read_adc")
    if text is None or not parse_rails(text):
        model = host.text("proc/device-tree/model") or ""
        if "Raspberry Pi" in model and "Pi 5" not in model:
            return [Refused(KIND, "this Raspberry Pi cannot measure its current; a Pi 5 can")]
        if "Raspberry Pi 5" in model:
            return [Refused(KIND, "vcgencmd pmic_read_adc gave nothing; is the user in the group video?")]
        return []

    def read() -> float:
        rails = parse_rails(host.run("vcgencmd", "pmic_read_adc") or "")
        return plausible_power(sum(rails.values()) if rails else None, "vcgencmd pmic_read_adc")

    return [checked(read, partial(Source, KIND, "pmic_read_adc", _COVERS, "power", _RESOLUTION_W, _RATE_HZ), KIND)]


def parse_rails(text: str) -> dict[str, float]:
    """Return the watts of each rail for which ``pmic_read_adc`` gives both current and voltage."""
    values: dict[tuple[str, str], float] = {}
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if match and match[2] == match[4]:
            values[match[1], match[2]] = float(match[3])
    return {
        rail: amperes * values[rail, "V"]
        for (rail, unit), amperes in values.items()
        if unit == "A" and (rail, "V") in values
    }


def throttled_bits(host: Host) -> int | None:
    """Return the bits of ``get_throttled``; None where the machine is no Raspberry Pi, or does not tell."""
    text = host.text(_SYSFS)
    if text is None:
        text = (host.run("vcgencmd", "get_throttled") or "").removeprefix("throttled=")
    match = re.fullmatch(r"(?:0x)?([0-9a-fA-F]{1,8})", text)
    return int(match[1], 16) if match else None


def measured_hertz(host: Host) -> float | None:
    """Return the clock of the processor as the firmware counts it; cpufreq tells only what was asked for."""
    match = re.fullmatch(r"frequency\(\d+\)=(\d{1,11})", host.run("vcgencmd", "measure_clock", "arm") or "")
    return float(match[1]) if match else None
