"""Energy of NVIDIA's graphics cards, by their management library.

Functions and units are those of NVIDIA's NVML API Reference: millijoules since the driver was loaded (Volta and newer),
milliwatts otherwise.
"""

from __future__ import annotations

import ctypes
import time
from functools import partial

from fmedge.system.sensors.host import Host, clean
from fmedge.system.sensors.source import Counter, Found, Refused, SensorFailed, Source, checked, plausible_power

KIND = "nvml"

_COVERS = "the first graphics card with its memory; not the processor"
_RATE_HZ = 10.0
"""Cards renew the figure ten to fifty times a second, and some average power over a second; on H100s it covers a
quarter of the time (Yang, Adamek and Armour, "Part-time power measurements", 2024)."""

_NAME_BYTES = 96
"""``NVML_DEVICE_NAME_V2_BUFFER_SIZE``."""

_SUCCESS = 0


def find(host: Host) -> Found:
    """Find the first graphics card."""
    if not host.nvml:
        return []
    try:
        library = ctypes.CDLL(host.nvml)
    except OSError:
        return []
    device = ctypes.c_void_p()
    try:
        for name, arguments in (
            ("nvmlInit_v2", ()),
            ("nvmlDeviceGetHandleByIndex_v2", (ctypes.c_uint(0), ctypes.byref(device))),
        ):
            code = getattr(library, name)(*arguments)
            if code != _SUCCESS:
                return [Refused(KIND, f"{name} of NVIDIA's management library answered {code}")]
        return [_source(library, device)]
    except AttributeError as error:
        return [Refused(KIND, f"NVIDIA's management library is too old: {error}"[:120])]


def _source(library: ctypes.CDLL, device: ctypes.c_void_p) -> Source | Refused:
    letters = ctypes.create_string_buffer(_NAME_BYTES)
    named = library.nvmlDeviceGetName(device, letters, ctypes.c_uint(_NAME_BYTES)) == _SUCCESS
    name = clean(letters.value) if named else "graphics card"
    if _millijoules(library, device) is not None:
        counter = Counter(name, None, time.monotonic)

        def read_energy() -> float:
            millijoules = _millijoules(library, device)
            return counter.add(None if millijoules is None else millijoules / 1e3)

        return checked(read_energy, partial(Source, KIND, name, _COVERS, "energy", 1e-3, _RATE_HZ), KIND)

    def read_power() -> float:
        milliwatts = ctypes.c_uint()
        if library.nvmlDeviceGetPowerUsage(device, ctypes.byref(milliwatts)) != _SUCCESS:
            raise SensorFailed(f"{name} does not tell its power")
        return plausible_power(milliwatts.value / 1e3, name)

    return checked(read_power, partial(Source, KIND, name, _COVERS, "power", 1e-3, _RATE_HZ), KIND)


def _millijoules(library: ctypes.CDLL, device: ctypes.c_void_p) -> float | None:
    value = ctypes.c_ulonglong()
    code = library.nvmlDeviceGetTotalEnergyConsumption(device, ctypes.byref(value))
    return float(value.value) if code == _SUCCESS else None
