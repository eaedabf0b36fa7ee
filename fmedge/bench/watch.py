"""Watch the machine while turns are taken: the other end of the sampler, idle times, and waiting until it is cool."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any, Literal, Self, cast

from fmedge.bench import sampler
from fmedge.bench.protocol import Protocol
from fmedge.bench.worker_pipe import Worker, WorkerFailed
from fmedge.data.energy import EnergyPerImage, PowerTrace, StateTrace, Turn, energy_per_image
from fmedge.data.telemetry import NOT_ASKED, Telemetry, power_series, state_series
from fmedge.system.progress import Progress
from fmedge.system.sensors.host import Host
from fmedge.system.sensors.thermal import find_thermometer
from fmedge.system.topology import describe_clusters, find_clusters

COOL_S = 120.0
"""Longest time to wait before a turn until the machine is cool, in seconds. If that is not enough, the rest of the
benchmark does not wait: the room may be too warm."""

_COOL_STEP_S = 0.5

_TIMEOUT_S = 30.0
"""Longest time that the sampler may take for an answer; the slowest tool takes two seconds."""


class Watch:
    """Watches the machine from its beginning to its end; a context manager.

    Nothing that fails here fails the benchmark: the report says what could not be measured.

    Attributes:
        cooled_s: Seconds that were spent waiting for a temperature.
    """

    def __init__(self, protocol: Protocol, device: str = "cpu", host: Host | None = None) -> None:
        """Prepare to watch.

        Args:
            protocol: Whether energy is measured, how long the machine is left idle, and how cool it has to be.
            device: The device that computes.
            host: The machine; None takes this one.
        """
        self._protocol, self._device, self._host = protocol, device, host or Host()
        self._worker: Worker | None = None
        self._facts: dict[str, Any] = {}
        self._failure = ""
        self._load = 0.0
        self._began_s = time.monotonic()
        self._idle: list[tuple[float, float]] = []
        self._power: tuple[list[float], list[float]] = [], []
        self._states: tuple[list[float], list[float | None], list[float | None], list[tuple[str, ...]]] = [], [], [], []
        self._thermometer = find_thermometer(self._host) if protocol.cool_down_c is not None else None
        self._cooling = ""
        self._gave_up = False
        self.cooled_s = 0.0

    def __enter__(self) -> Self:
        """Start the sampler."""
        host = self._host
        try:
            self._worker = Worker(sampler.MODULE)
            self._facts = self._worker.ask(
                _TIMEOUT_S,
                do="begin",
                host={"root": str(host.root), "tools": host.tools, "nvml": host.nvml},
                power=self._protocol.energy,
                device=self._device,
                cpus=sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [],
            )
        except WorkerFailed as error:
            self._fail(error)
        return self

    def __exit__(self, *_: object) -> None:
        """End the sampler."""
        if self._worker is not None:
            self._worker.stop()
            self._worker = None

    def rest(self, progress: Progress, share: float) -> None:
        """Leave the machine idle for a while, where energy is measured, and remember when."""
        if not self._protocol.energy or not self._facts.get("power_sensor"):
            return
        progress("measuring the idle machine", share)
        start = time.monotonic()
        time.sleep(self._protocol.idle_s)
        self._idle.append((start, time.monotonic()))
        time.sleep(2 / self._facts["rate_hz"])  # a sample after the end

    def take(self) -> None:
        """Fetch what was sampled since the last time."""
        if self._worker is None:
            return
        try:
            found = self._worker.ask(_TIMEOUT_S, do="take")
        except WorkerFailed as error:
            self._fail(error)
            return
        self._failure, self._load = str(found["failure"]), float(found["load"])
        self._power[0].extend(found["power_times_s"])
        self._power[1].extend(found["power"])
        for own, name in zip(self._states, ("state_times_s", "temperatures_c", "clocks_mhz", "flags"), strict=True):
            cast("list[Any]", own).extend(found[name])

    def cool_down(self, progress: Progress, share: float) -> None:
        """Wait until the machine is as cool as the protocol says, for :data:`COOL_S` at most."""
        wanted = self._protocol.cool_down_c
        if wanted is None or self._gave_up:
            return
        start = time.monotonic()
        while (now := self._thermometer.read(self._host) if self._thermometer else None) is None or now > wanted:
            waited = time.monotonic() - start
            if now is None or waited >= COOL_S:
                self._gave_up = True
                what = "no temperature is known" if now is None else f"{now:.0f} °C after {waited:.0f} s"
                self._cooling = f"the machine did not cool to {wanted:g} °C: {what}"
                break
            progress(f"waiting until the machine has cooled to {wanted:g} °C; now {now:.0f} °C", share)
            time.sleep(_COOL_STEP_S)
        self.cooled_s += time.monotonic() - start

    @property
    def power(self) -> PowerTrace:
        """The samples of power so far."""
        measures = cast("Literal['power', 'energy']", self._facts.get("measures", "power"))
        times, values = self._power
        name, resolution = self._facts.get("power_sensor", ""), self._facts.get("resolution", 0.0)
        return PowerTrace(name, measures, resolution, tuple(times), tuple(values))

    @property
    def states(self) -> StateTrace:
        """The states so far."""
        times, temperatures, clocks, flags = self._states
        return StateTrace(tuple(times), tuple(temperatures), tuple(clocks), tuple(map(tuple, flags)))

    def energy(self, turns: Sequence[Turn]) -> EnergyPerImage | str:
        """Return what an image cost in these turns, or why that is not known."""
        if not self._protocol.energy:
            return NOT_ASKED
        if not self._facts.get("power_sensor"):
            return self._failure or self._facts.get("no_power", "") or "no power sensor"
        found = energy_per_image(self.power, turns, self._idle)
        return f"{found}; {self._failure}" if isinstance(found, str) and self._failure else found

    def telemetry(self) -> Telemetry:
        """Return what was watched and seen, for the report."""
        power, states = self.power, self.states
        rests = [watts for start, end in self._idle if (watts := power.power_w(start, end)) is not None]
        why = "" if power.sensor else self._facts.get("no_power", "") or NOT_ASKED
        wanted = self._protocol.cool_down_c
        cooled = "" if wanted is None else f"waited {self.cooled_s:.0f} s in all for {wanted:g} °C before turns"
        return Telemetry(
            power_sensor=power.sensor,
            covers=self._facts.get("covers", ""),
            no_power=self._failure or why,
            rate_hz=power.rate_hz,
            idle_w=tuple(rests),
            thermometer=self._facts.get("thermometer", ""),
            signs=tuple(self._facts.get("signs", ())),
            limits=tuple(self._facts.get("limits", ())),
            flags=tuple(dict.fromkeys(flag for flags in states.flags for flag in flags)),
            clusters=describe_clusters(find_clusters(self._host)),
            cooling=self._cooling or cooled,
            sampler_load=self._load,
            **state_series(states, self._began_s),
            **power_series(power, self._began_s),
        )

    def _fail(self, error: WorkerFailed) -> None:
        """Go on without the sampler."""
        self._failure = f"the sampler failed: {error}"
        if self._worker is not None:
            self._worker.stop()
            self._worker = None
