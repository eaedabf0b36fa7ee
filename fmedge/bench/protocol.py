"""How configurations are measured, and how long that takes.

Starting a process and warming it up takes longer than its turns. So the number of processes follows from the time that
a configuration may take, unless it is given; runs and seconds are never fewer than asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fmedge.bench.compare import FEWEST
from fmedge.bench.matrix import Case
from fmedge.system.wording import duration, plural

TURN_S = 0.1
"""Length of a turn: long compared with the change from one process to another (below 1 ms), short compared with the
seconds over which machines drift."""

TURN_RUNS = 3
"""Fewest runs of a turn, for models whose run takes longer."""

STAGE_TURNS = 15
"""How often the stages from a photo to its page are measured at most."""

PROCESSES = 16
"""Processes per configuration, if the time allows: with twelve or sixteen ``fmedge compare`` detects 38 of 42
changes of 10 % (docs/benchmarks.md)."""

BUDGET_S = 18.0
"""Time for a configuration by default: three processes, each of which loads within a second and warms up for five at
most. Two layers on four engines then take 2.4 minutes."""

ENERGY_PERIODS = 20
"""Samples of power in a turn at least, where energy is measured: with fewer, its two ends, which lie between samples,
would count for more than a few percent."""

LONGEST_TURN_S = 10.0
"""Length of a turn at most, in seconds, however rarely a sensor can be read."""

ENERGY_TURNS = 5
"""Turns of a configuration at least, where energy is measured: their scatter is a part of its uncertainty."""

IDLE_S = 3.0
"""How long the machine is left idle before and after, where energy is measured, in seconds; at least."""

_START_S = 1.5
_FLOPS = 4e10
_RUN_S = 0.1
"""What is expected before anything has run: seconds to start, load and warm up a process (0.3 to 2 on two cores of an
EPYC), operations per second of a thread (a Cortex-A76 has 38 * 10^9 at most; for block3_conv3 the EPYC reaches 230),
and seconds of a run of a network whose operations are not known."""

_ROUNDING = 1e-9
"""Ten turns are ten, although 9.0 / 0.9 is a little more in floating point."""

_REFERENCE_S = 0.03
"""Seconds of the reference load, with its request and answer, after each round of turns."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """How to measure.

    Attributes:
        runs: Fewest runs that count.
        seconds: Their least total time, in seconds.
        timeout_s: Longest time for loading, or for a turn, in seconds.
        image: A photo to run on; None takes noise.
        stages: Whether the stages from that photo to its page are measured, too.
        processes: Processes per configuration, one after the other, that share runs and seconds; never more than runs.
        budget_s: Seconds that a configuration may take, loading and warm-up included; there are fewer processes then,
            if fewer fit into it, but three at least. None has exactly as many as ``processes`` says.
        longest_turn_s: Length of a turn, in seconds; shorter where ``seconds`` is.
        idle_s: How long the machine is left idle before and after, in seconds; 0 where energy is not measured.
        cool_down_c: Temperature in degrees Celsius that is waited for before each turn; None does not wait.
        warm_up_s: Least seconds of warm-up of each process.
    """

    runs: int = 30
    seconds: float = 2.0
    timeout_s: float = 300.0
    image: Path | None = None
    stages: bool = False
    processes: int = PROCESSES
    budget_s: float | None = None
    longest_turn_s: float = TURN_S
    idle_s: float = 0.0
    cool_down_c: float | None = None
    warm_up_s: float = 0.0

    @property
    def energy(self) -> bool:
        """Whether energy is measured."""
        return self.idle_s > 0

    @property
    def count(self) -> int:
        """Processes per configuration, at most."""
        return max(1, min(self.processes, self.runs))

    @property
    def fewest(self) -> int:
        """Processes per configuration, at least."""
        return self.count if self.budget_s is None else min(FEWEST, self.count)

    @property
    def turn_runs(self) -> int:
        """Fewest runs of a turn."""
        return min(TURN_RUNS, max(1, self.runs))

    @property
    def turn_s(self) -> float:
        """Least time of a turn, in seconds."""
        return min(self.longest_turn_s, self.seconds)


def with_energy(protocol: Protocol, rate_hz: float) -> Protocol:
    """Return the protocol with turns that are long enough to measure their energy, and with idle times.

    Args:
        protocol: How to measure otherwise.
        rate_hz: How often the sensor can be read; 0 where there is none, which leaves the turns as they are.
    """
    if rate_hz <= 0:
        return replace(protocol, idle_s=IDLE_S)
    turn_s = min(LONGEST_TURN_S, max(TURN_S, ENERGY_PERIODS / rate_hz))
    return replace(
        protocol,
        seconds=max(protocol.seconds, ENERGY_TURNS * turn_s),
        longest_turn_s=turn_s,
        idle_s=max(IDLE_S, turn_s),
    )


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a configuration gets on.

    Attributes:
        start_s: Seconds until a process is loaded and warmed up.
        run_s: Seconds of a run.
        share: The share of its runs and of their time that is still to be done, 0 to 1.
    """

    start_s: float
    run_s: float
    share: float = 1.0


def expected_pace(case: Case) -> Pace:
    """Return the pace of a configuration that has not run yet, by the operations of its layers where they are known."""
    what, layers = case.configuration, case.card.submodel.stock_layers
    operations = 2 * what.batch * sum(spec.macs(*what.size) for spec in layers) if layers else 0
    return Pace(_START_S, operations / (_FLOPS * what.threads) if operations else _RUN_S)


def seconds_left(protocol: Protocol, pace: Pace, starts: int, processes: int) -> float:
    """Return the seconds until a configuration is measured.

    Args:
        protocol: How it is measured.
        pace: How fast it gets on.
        starts: Processes that have yet to be started.
        processes: Those and the ones that have yet to take their turns.
    """
    turn_s = max(protocol.turn_s, protocol.turn_runs * pace.run_s)
    start_s = max(pace.start_s, protocol.warm_up_s)
    counted = pace.share * max(protocol.seconds, protocol.runs * pace.run_s)
    turns = max(processes, math.ceil(counted / turn_s - _ROUNDING))
    stages = min(STAGE_TURNS, protocol.runs) * pace.run_s if protocol.stages else 0.0
    return starts * start_s + turns * (turn_s + pace.run_s + _REFERENCE_S) + stages


def processes_that_fit(protocol: Protocol, paces: Sequence[Pace], started: int, left_s: float) -> int:
    """Return how many processes each of some configurations gets in all, so that the time left is enough.

    Args:
        protocol: How they are measured.
        paces: How fast they get on.
        started: Processes of each that have been started; the last has yet to take its turns.
        left_s: Seconds that are left to all of them together.
    """
    if protocol.budget_s is None:
        return protocol.count

    def needed(count: int) -> float:
        return sum(seconds_left(protocol, pace, count - started, count - started + 1) for pace in paces)

    fewest = max(protocol.fewest, started)
    return next((count for count in range(protocol.count, fewest, -1) if needed(count) <= left_s), fewest)


def expected_seconds(protocol: Protocol, paces: Iterable[Pace]) -> float:
    """Return how long configurations take that have not been started; with a budget: at most."""
    counts = protocol.fewest
    return sum(max(protocol.budget_s or 0.0, seconds_left(protocol, pace, counts, counts)) for pace in paces)


def announce(protocol: Protocol, cases: Sequence[Case]) -> str:
    """Say how long the configurations will take, in a line."""
    paces = [expected_pace(case) for case in cases]
    time = duration(expected_seconds(protocol, paces))
    words = f"Measuring {plural(len(cases), 'configuration')}"
    if protocol.budget_s is None:
        return f"{words}, {plural(protocol.count, 'process', 'processes')} each: about {time}."
    long = any(seconds_left(protocol, pace, protocol.fewest, protocol.fewest) > protocol.budget_s for pace in paces)
    each = f", {protocol.budget_s:g} s each" if len(cases) > 1 else ""
    return f"{words}{each}{', more where runs are long' if long and each else ''}: up to about {time}."
