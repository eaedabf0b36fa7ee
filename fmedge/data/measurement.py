"""Measurements: raw seconds, and the statistics computed from them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from fmedge.data.energy import EnergyPerImage
from fmedge.model.parity import Parity
from fmedge.model.run_options import Math
from fmedge.system.wording import plural

NOISY = 0.10
"""Interquartile range of the runs, relative to their median, above which a median is not to be trusted; PyTorch's
benchmark utilities warn at the same ratio."""

DISTURBED = 0.1
"""Cores that other processes may keep busy during a measurement: the system's own housekeeping stays far below."""

CROWDED = 1.15
IDLE = 0.75
"""Busy cores, divided by the requested threads, above and below which rows of equal threads are not a fair comparison.
Two engines that compute all the time lie between 0.9 and 1.05; serial parts (copies, short layers) explain the rest."""

P99_RUNS = 1000
"""Runs from which a p99 is reported: ten of them then lie above it."""

DOUBTS = ("noisy", "disturbed", "unsettled", "crowded", "throttled")
"""What may be wrong with a row; see the properties of :class:`Measurement`."""

Scenario = Literal["single-stream", "offline"]
"""One image after the other, or as many images per second as possible, in batches. The words are MLPerf's; its rules
are longer, and these are not MLPerf results."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """What is measured. Two measurements are compared where these are equal.

    Attributes:
        layer: Taps, with ``+`` between.
        activation: ``relu`` or ``none``.
        weights: Which weights, in words.
        size: Height and width of the image, in pixels.
        batch: Images per run.
        scenario: See :data:`Scenario`.
        backend: Name of the engine.
        device: Where it computes.
        precision: Number format of the model.
        math: Arithmetic of its float parts.
        threads: CPU threads that compute.
        variant: Which variant of the model file; empty for the plain one.
    """

    layer: str
    activation: str
    weights: str
    size: tuple[int, int]
    batch: int
    scenario: Scenario
    backend: str
    device: str
    precision: str
    math: Math
    threads: int
    variant: str = ""

    @property
    def form(self) -> str:
        """Precision, with the arithmetic where it is not float32 and the variant where it is not the plain one."""
        return "/".join(filter(None, (self.precision, "" if self.math == "fp32" else self.math, self.variant)))

    def describe(self) -> str:
        """Return it in words, for a line: ``block3_conv3 on ncnn, fp32, 2 threads``."""
        threads = plural(self.threads, "thread")
        return f"{self.layer} on {self.backend}, {self.form}, {threads}"


@dataclass(frozen=True, slots=True)
class Process:
    """What one of the processes of a configuration did.

    Attributes:
        turns: Seconds of every run, per turn: the runs of a turn followed each other; between turns others ran.
        yardstick_s: Seconds of a reference load between those turns: always the same small piece of work on all
            threads, independent of the engine, which shows the state of the machine at that time. None where it was not
            measured.
    """

    turns: tuple[tuple[float, ...], ...]
    yardstick_s: float | None = None

    @property
    def seconds(self) -> tuple[float, ...]:
        """Seconds of every counted run."""
        return tuple(second for turn in self.turns for second in turn)


@dataclass(frozen=True, slots=True)
class Measurement:
    """A configuration that was measured.

    Attributes:
        configuration: The configuration.
        processes: The runs, by the process that did them; the processes followed each other.
        load_s: Seconds to read, check and load the model, without importing the engine: median of the processes.
        first_run_s: Seconds of the first run, likewise.
        warm_up_runs: Runs after it that do not count, in the process that took most.
        steady: Whether the median had settled by then, in every process.
        cpu_s: CPU time of the counted turns, all threads together.
        wall_s: Wall-clock time of the counted turns.
        others_s: CPU time that other processes used meanwhile; None where the system does not report it.
        peak_memory_bytes: Most memory that any of the processes held; None where the system does not report it.
        macs: Multiply-accumulate operations per image; None for a network of the user's own.
        limit_s: Seconds that a direct float32 computation needs at least, by what this machine's processor and memory
            achieved in the same run; None where that was not measured.
        file_size: Size of the model's files, in bytes.
        file_sha256: Their hash.
        parity: Agreement with the reference when it was exported; None when it was not checked.
        engine_version: Version of the engine.
        active_provider: What computed, as reported by the engine.
        placement: Where the nodes ran, in words.
        stages: Seconds per stage from a photo to a page, where requested.
        energy: What an image costs; None where that was not measured.
        no_energy: Why not, in words; empty where it was, and in reports from before energy was measured.
        throttled: Numbers of the turns, of all processes and from 0, during which the machine held the processor back.
        hottest_c: Highest temperature of the processor during the turns, in degrees Celsius; None where not known.

    Raises:
        ValueError: There is no run, or one that took no time.
    """

    configuration: Configuration
    processes: tuple[Process, ...]
    load_s: float
    first_run_s: float
    warm_up_runs: int
    steady: bool
    cpu_s: float
    wall_s: float
    others_s: float | None
    peak_memory_bytes: int | None
    macs: int | None
    limit_s: float | None
    file_size: int
    file_sha256: str
    parity: Parity | None
    engine_version: str
    active_provider: str
    placement: str
    stages: Mapping[str, tuple[float, ...]] = field(default_factory=dict[str, tuple[float, ...]])
    energy: EnergyPerImage | None = None
    no_energy: str = ""
    throttled: tuple[int, ...] = ()
    hottest_c: float | None = None

    def __post_init__(self) -> None:
        if not self.turns or not all(self.turns) or not all(0 < second < math.inf for second in self.seconds):
            raise ValueError("no runs, or none that took time")

    @property
    def turns(self) -> tuple[tuple[float, ...], ...]:
        """Seconds of every run, per turn, one process after the other."""
        return tuple(turn for process in self.processes for turn in process.turns)

    @property
    def seconds(self) -> tuple[float, ...]:
        """Seconds of every counted run."""
        return tuple(second for turn in self.turns for second in turn)

    @property
    def n(self) -> int:
        """Number of counted runs."""
        return sum(map(len, self.turns))

    def quantile(self, share: float) -> float:
        """Return the seconds that this share of the runs, 0 to 1, did not exceed; interpolated between two runs."""
        return float(np.quantile(self.seconds, share))

    @property
    def p50(self) -> float:
        """Median, in seconds."""
        return self.quantile(0.5)

    @property
    def p90(self) -> float:
        """90th percentile, in seconds."""
        return self.quantile(0.9)

    @property
    def p95(self) -> float:
        """95th percentile, in seconds."""
        return self.quantile(0.95)

    @property
    def p99(self) -> float | None:
        """99th percentile, in seconds; None below :data:`P99_RUNS` runs."""
        return self.quantile(0.99) if self.n >= P99_RUNS else None

    @property
    def min(self) -> float:
        """The fastest run, in seconds."""
        return min(self.seconds)

    @property
    def iqr(self) -> float:
        """Interquartile range of the runs, in seconds."""
        return self.quantile(0.75) - self.quantile(0.25)

    @property
    def noisy(self) -> bool:
        """Whether the runs differ so much that their median is not to be trusted."""
        return self.iqr > NOISY * self.p50

    @property
    def images_per_s(self) -> float:
        """Images per second over all runs."""
        return self.configuration.batch * self.n / sum(self.seconds)

    @property
    def gflops(self) -> float | None:
        """10^9 operations per second at the median; a multiplication with its addition counts as two."""
        return None if self.macs is None else 2 * self.macs * self.configuration.batch / self.p50 / 1e9

    @property
    def limit_share(self) -> float | None:
        """Speed relative to a direct float32 computation at the machine's limit: 1 is at the limit."""
        return None if self.limit_s is None else self.limit_s / self.p50

    @property
    def load(self) -> float:
        """Cores that were busy on average."""
        return self.cpu_s / self.wall_s if self.wall_s else 0.0

    @property
    def disturbed(self) -> bool:
        """Whether other processes, or other virtual machines, used the CPU meanwhile."""
        return self.others_s is not None and self.others_s > DISTURBED * self.wall_s

    @property
    def crowded(self) -> bool:
        """Whether the engine kept clearly more cores busy than it was given threads: comparing is then unfair."""
        return self._on_cpu and self.load > CROWDED * self.configuration.threads

    @property
    def idle(self) -> bool:
        """Whether the engine left its threads without work for much of the time; the figure is valid all the same."""
        return self._on_cpu and self.load < IDLE * self.configuration.threads

    @property
    def _on_cpu(self) -> bool:
        return self.configuration.device == "cpu" and self.wall_s > 0

    @property
    def doubts(self) -> tuple[str, ...]:
        """Return why the figures are not to be trusted, one word of :data:`DOUBTS` each."""
        states = (self.noisy, self.disturbed, not self.steady, self.crowded, bool(self.throttled))
        return tuple(word for word, state in zip(DOUBTS, states, strict=True) if state)

    def warnings(self) -> list[str]:
        """Return why the figures are not to be trusted, one line each."""
        name = self.configuration.describe()
        found: list[str] = []
        if self.noisy:
            share = 100 * self.iqr / self.p50
            found.append(f"{name}: noisy; the middle half of the runs spans {share:.0f} % of the median.")
        if self.disturbed:
            cores = (self.others_s or 0.0) / self.wall_s
            found.append(f"{name}: disturbed; other processes kept {cores:.1f} cores busy. Measure on a quiet machine.")
        if not self.steady:
            found.append(f"{name}: unsettled; the median was still changing after {self.warm_up_runs} warm-up runs.")
        if self.crowded:
            found.append(
                f"{name}: crowded; {self.load:.1f} cores were busy, so it is no fair comparison with others of "
                f"{plural(self.configuration.threads, 'thread')}."
            )
        if self.throttled:
            turns = f"{len(self.throttled)} of {plural(len(self.turns), 'turn')}"
            found.append(f"{name}: throttled; the machine slowed its processor down during {turns}.")
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {**asdict(self), "parity": self.parity and self.parity.to_dict()}
