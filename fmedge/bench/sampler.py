"""Sample the machine's sensors beside the turns, in a process of its own: power often, the state once a second.

The process keeps its samples until they are taken, so that a turn never waits for it. It holds itself to
:data:`MOST_LOAD` of a core: where a reading costs more than that allows, as it does where a tool has to be started, it
reads less often. It runs on cores that are not measured, where there are others.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from threading import Lock, Thread
from typing import Any

from fmedge.bench.worker_pipe import serve
from fmedge.system.sensors.host import Host
from fmedge.system.sensors.source import SensorFailed, Source
from fmedge.system.sensors.state import State, StateReader
from fmedge.system.sensors.table import find_power

MODULE = "fmedge.bench.sampler"

STATE_S = 1.0
"""Seconds between two readings of the state: heat takes longer, and firmware keeps the bits of shorter events."""

MOST_LOAD = 0.01
"""Cores that sampling may keep busy on average."""

_MOST_SAMPLES = 200_000
"""Samples that are kept at most until they are taken: almost three hours at 20 Hz, about 20 MB."""

_MOST_FAILURES = 5
"""Readings that may fail one after the other until a sensor counts as gone: a bus may be busy for a moment."""

_BURST_S = 0.05
"""Seconds of a core that may be used at once, before :data:`MOST_LOAD` holds: the first readings load code."""

_COSTS = 15
"""Readings of power whose median cost is the usual one. One that costs many times as much, as where a driver is busy,
must not be made up for by silence: 0.2 s of a core would be 20 s without a sample."""


@dataclass(slots=True)
class Samples:
    """What has been sampled since it was last taken; lists of equal lengths, times by the monotonic clock."""

    power_times_s: list[float]
    power: list[float]
    state_times_s: list[float]
    states: list[State]


class Sampler:
    """Reads the sensors from a thread; every public method but ``sample`` serves one request."""

    def __init__(self) -> None:
        self._source: Source | None = None
        self._states: StateReader | None = None
        self._samples = _no_samples()
        self._lock = Lock()
        self._failure, self._failures = "", 0
        self._cpu_s, self._begun_s, self._read_s = 0.0, 0.0, 0.0
        self._costs: deque[float] = deque(maxlen=_COSTS)
        self._power_due, self._state_due = 0.0, 0.0

    def begin(self, host: Mapping[str, Any], power: bool, device: str, cpus: Sequence[int]) -> dict[str, Any]:
        """Look for sensors and begin to sample; report what was found.

        Args:
            host: The fields of the machine, a :class:`Host`.
            power: Whether power is wanted; the state always is.
            device: Whose power.
            cpus: The cores that are measured.
        """
        _leave(cpus)
        machine = Host(Path(host["root"]), host["tools"], host["nvml"])
        self._states = StateReader(machine, cpus)
        reason = ""
        if power:
            search = find_power(machine, device)
            self._source, reason = search.source, search.reason
        self._begun_s, self._cpu_s = time.monotonic(), _cpu_seconds()
        self._read_state()
        Thread(target=self._run, daemon=True).start()
        source = self._source
        return {
            "power_sensor": source.name if source else "",
            "covers": source.covers if source else "",
            "measures": source.measures if source else "power",
            "resolution": source.resolution if source else 0.0,
            "rate_hz": source.rate_hz if source else 0.0,
            "no_power": reason,
            "thermometer": self._states.thermometer,
            "signs": self._states.signs,
            "limits": self._states.limits,
        }

    def take(self) -> dict[str, Any]:
        """Read the state once more, and return all samples since they were last taken."""
        self._read_state()
        with self._lock:
            samples, self._samples = self._samples, _no_samples()
        states = [asdict(state) for state in samples.states]
        return {
            "power_times_s": samples.power_times_s,
            "power": samples.power,
            "state_times_s": samples.state_times_s,
            "temperatures_c": [state["temperature_c"] for state in states],
            "clocks_mhz": [state["clock_mhz"] for state in states],
            "flags": [state["flags"] for state in states],
            "failure": self._failure,
            "load": (_cpu_seconds() - self._cpu_s) / max(1e-3, time.monotonic() - self._begun_s),
        }

    def _run(self) -> None:
        """Sample until the process ends."""
        self._power_due = self._state_due = time.monotonic()
        while True:
            time.sleep(self._step())

    def _step(self) -> float:
        """Read what is due, if :data:`MOST_LOAD` allows, and return how long to sleep, in seconds."""
        now, source = time.monotonic(), self._source
        affordable = self._affordable_s()
        if now >= affordable:
            if source is not None and now >= self._power_due:
                spent_s = _cpu_seconds()
                self._read_power(source)
                self._costs.append(_cpu_seconds() - spent_s)
                self._read_s = now
                self._power_due = _after(self._power_due, 1 / source.rate_hz, now)
            if now >= self._state_due:
                self._read_state()
                self._state_due = _after(self._state_due, STATE_S, now)
        due = self._state_due if source is None else min(self._power_due, self._state_due)
        return max(0.0, max(due, affordable) - time.monotonic())

    def _affordable_s(self) -> float:
        """Return from when on a reading keeps to :data:`MOST_LOAD`: all of them together, or each of the usual cost."""
        together = self._begun_s + (_cpu_seconds() - self._cpu_s - _BURST_S) / MOST_LOAD
        return min(together, self._read_s + median(self._costs) / MOST_LOAD) if self._costs else together

    def _read_power(self, source: Source) -> None:
        """Read power; the time is that in the middle of the reading. A sensor that is gone is left out from then on."""
        start = time.monotonic()
        try:
            value = source.read()
        except SensorFailed as error:
            self._failures += 1
            if self._failures >= _MOST_FAILURES:
                self._failure, self._source = str(error), None
            return
        self._failures = 0
        when = (start + time.monotonic()) / 2
        with self._lock:
            if len(self._samples.power) < _MOST_SAMPLES:
                self._samples.power_times_s.append(when)
                self._samples.power.append(value)

    def _read_state(self) -> None:
        if self._states is None:
            return
        with self._lock:  # requests read the state, too, and the signs of throttling are counted between two readings
            state = self._states.read()
            if len(self._samples.states) < _MOST_SAMPLES:
                self._samples.state_times_s.append(time.monotonic())
                self._samples.states.append(state)


def _no_samples() -> Samples:
    return Samples([], [], [], [])


def _after(due: float, period_s: float, now: float) -> float:
    """Return when to read again: in step with what was due, or a period from now where that has passed."""
    return due + period_s if due + period_s > now else now + period_s


def _cpu_seconds() -> float:
    """Return the CPU time of this process and of the tools that it has started, in seconds."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def _leave(cpus: Sequence[int]) -> None:
    """Move this process to cores that are not measured, where there are others that it may use."""
    if not cpus or not hasattr(os, "sched_setaffinity"):
        return
    others = set(range(os.cpu_count() or 1)) - set(cpus)
    if others:
        with contextlib.suppress(OSError):  # a container may not allow them
            os.sched_setaffinity(0, others)


if __name__ == "__main__":
    sampler = Sampler()
    serve({order.__name__: order for order in (sampler.begin, sampler.take)})
