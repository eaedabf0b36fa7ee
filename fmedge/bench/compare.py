"""Compare two reports: what became slower, and whether it is more than chance.

The runs of a process resemble each other, and so do its turns: they share its place in memory and the machine's state
in those seconds. So each process counts once, by the logarithm of its figure, and two reports are compared as two small
samples: by Student's interval for the difference of their means, with the reference load that was measured alongside
(``yardstick_s``) as a covariate (analysis of covariance; Snedecor and Cochran, "Statistical Methods", chapter 18). So a
state of the machine that shows in the reference load is not mistaken for a change of the program. If the two
reports were measured in different states of the machine only, the two causes cannot be separated, and the interval is
wide.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from fmedge.data.bench_report import Report
from fmedge.data.measurement import Configuration, Measurement, Process
from fmedge.errors import UsageError, closest

SAME = 0.025
"""Change up to which two measurements count as the same. With it, 1 of 42 pairs of reports of one program is called a
change, and 38 of 42 with a planted change of 10 % are detected (docs/benchmarks.md); with 0.03 these are 0 and 36, with
0.02 they are 2 and 38."""

INTERRUPTED = 1.5
"""Ratio of a process's reference load to the shortest one of both reports, above which the process is left out: other
programs were computing, which makes the load take 20 to 50 times as long. States of a quiet machine differ by a
fifth."""

FEWEST = 3
"""Fewest processes that give an interval: of two, nobody knows which is the outlier."""

_NORMAL_975 = 1.959963984540054
"""The normal distribution's 97.5th percentile: all intervals are 95 % intervals."""

Verdict = Literal["slower", "faster", "same", "unsure"]

_TIMES: dict[str, Callable[[npt.NDArray[np.float64]], float]] = {
    "p50": lambda seconds: float(np.quantile(seconds, 0.5)),
    "p90": lambda seconds: float(np.quantile(seconds, 0.9)),
    "p95": lambda seconds: float(np.quantile(seconds, 0.95)),
    "min": lambda seconds: float(seconds.min()),
}
"""Metrics computed from many runs, which have an interval."""

_SINGLES: dict[str, Callable[[Measurement], float | None]] = {
    "load": lambda measured: measured.load_s,
    "first_run": lambda measured: measured.first_run_s,
    "peak_memory": lambda measured: measured.peak_memory_bytes,
    "file_size": lambda measured: measured.file_size,
    "energy": lambda measured: None if measured.energy is None else measured.energy.energy_j,
}
"""Metrics that a measurement has once. They are compared directly, but for energy, which has an uncertainty."""

METRICS = (*_TIMES, *_SINGLES)
"""All metrics that can be compared; for each of them more is worse."""


@dataclass(frozen=True, slots=True)
class Bound:
    """How much worse a metric may become.

    Attributes:
        metric: One of :data:`METRICS`.
        share: The allowed increase, as a fraction of the earlier value.
    """

    metric: str
    share: float


def require_metric(name: str) -> str:
    """Check that a metric of that name exists, and return the name.

    Raises:
        UsageError: There is no such metric.
    """
    if name not in METRICS:
        raise UsageError(f"Unknown metric '{name}'.{closest(name, METRICS)} Allowed: {', '.join(METRICS)}.")
    return name


def parse_bound(text: str) -> Bound:
    """Read a bound written as ``METRIC:PERCENT%``, such as ``p50:5%``.

    Raises:
        UsageError: It is something else.
    """
    metric, _, share = text.partition(":")
    require_metric(metric)
    match = re.fullmatch(r"(\d{1,4}(?:\.\d{1,3})?)%", share)
    if match is None:
        raise UsageError(
            f"fail_on {text}: not a bound. Allowed: a metric and a percentage, such as {metric}:5%.",
            flags=("--fail-on",),
        )
    return Bound(metric, float(match[1]) / 100)


@dataclass(frozen=True, slots=True)
class Change:
    """A metric of a configuration, in both reports.

    Attributes:
        configuration: The configuration.
        metric: The metric, one of :data:`METRICS`.
        before: Its value in the first report, in seconds, bytes or joules per image.
        after: Its value in the second report.
        low: Lower end of the interval of their ratio, after over before.
        high: Upper end of that interval.
    """

    configuration: Configuration
    metric: str
    before: float
    after: float
    low: float
    high: float

    @property
    def ratio(self) -> float:
        """The value after over the value before."""
        return self.after / self.before

    @property
    def verdict(self) -> Verdict:
        """What the interval says; for metrics without one, what the ratio says."""
        if not np.isfinite(self.high):
            return "unsure"
        if self.low > 1 + SAME:
            return "slower"
        return "faster" if self.high < 1 - SAME else "same"

    def breaks(self, bound: Bound) -> bool:
        """Return whether the change is certainly worse than the bound allows."""
        return bound.metric == self.metric and self.low > 1 + bound.share


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two reports, side by side.

    Attributes:
        changes: Every metric of every configuration that both have.
        only_before: Configurations that the second report did not measure.
        only_after: Configurations that the first report did not measure.
        failed: Those of ``only_before`` that were tried for the second report and failed.
    """

    changes: tuple[Change, ...]
    only_before: tuple[Configuration, ...]
    only_after: tuple[Configuration, ...]
    failed: tuple[Configuration, ...]

    def regressions(self, bounds: Sequence[Bound]) -> list[str]:
        """Return a line for each change that is worse than allowed; given any bound, also for each new failure."""
        broken = [
            f"{change.configuration.describe()}: {change.metric} {100 * (change.ratio - 1):+.1f} %, allowed "
            f"{100 * bound.share:+g} %"
            for bound in bounds
            for change in self.changes
            if change.breaks(bound)
        ]
        return broken + [f"{each.describe()}: now fails" for each in self.failed if bounds]


def compare_reports(
    before: Report, after: Report, metrics: Sequence[str] = ("p50",), *, across_machines: bool = False
) -> Comparison:
    """Compare the configurations that two reports have in common.

    Args:
        before: The reference.
        after: The report to compare with it.
        metrics: Which of :data:`METRICS` to compare.
        across_machines: Whether reports from different machines may be compared.

    Raises:
        UsageError: They come from different machines, or have no configuration in common.
    """
    if before.machine.hardware != after.machine.hardware and not across_machines:
        names = (f"{each.machine.processor}, {each.machine.cores} cores" for each in (before, after))
        raise UsageError(
            f"Measured on different machines: {'; '.join(names)}.", hint="To compare them anyway: --across-machines."
        )
    first, second = ({each.configuration: each for each in report.measurements} for report in (before, after))
    common = [configuration for configuration in first if configuration in second]
    if not common:
        raise UsageError(
            "The reports have no configuration in common.", hint="Run fmedge bench with the same options for both."
        )
    cores = min(before.machine.cores, after.machine.cores)
    changes = [
        change
        for configuration in common
        for metric in dict.fromkeys(metrics)
        if (change := compare_metric(first[configuration], second[configuration], metric, cores)) is not None
    ]
    failed = {each.configuration for each in after.missing if each.exit_code}
    only_before = tuple(configuration for configuration in first if configuration not in second)
    return Comparison(
        tuple(changes),
        only_before,
        tuple(configuration for configuration in second if configuration not in first),
        tuple(configuration for configuration in only_before if configuration in failed),
    )


def compare_metric(before: Measurement, after: Measurement, metric: str, cores: int) -> Change | None:
    """Compare a metric of two measurements of one configuration; None where one of them lacks it.

    Args:
        before: The reference.
        after: The measurement to compare with it.
        metric: One of :data:`METRICS`.
        cores: Cores of the machine.
    """
    if metric in _TIMES:
        figure = _TIMES[metric]
        values = [figure(np.array(each.seconds)) for each in (before, after)]
        low, high = _interval(before, after, figure)
        # Other programs may have slowed a row by the share of the machine that they took: that is not our change.
        low, high = low * (1 - _others(after, cores)), high / (1 - _others(before, cores))
        return Change(before.configuration, metric, values[0], values[1], low, high)
    first, second = (_SINGLES[metric](each) for each in (before, after))
    if not first or second is None:
        return None
    low = high = second / first
    if metric == "energy":
        low, high = _energy_interval(before, after)
    return Change(before.configuration, metric, first, second, low, high)


def _energy_interval(before: Measurement, after: Measurement) -> tuple[float, float]:
    """Return the interval of a ratio of energies, by their standard uncertainties u: ``(u1/E1)**2 + (u2/E2)**2``.

    That is how relative uncertainties of a quotient add up (JCGM 100:2008, 5.1.6).
    """
    first, second = before.energy, after.energy
    if first is None or second is None or first.uncertainty_j is None or second.uncertainty_j is None:
        return 0.0, math.inf
    ratio = second.energy_j / first.energy_j
    share = math.hypot(first.uncertainty_j / first.energy_j, second.uncertainty_j / second.energy_j)
    return ratio - _NORMAL_975 * share * abs(ratio), ratio + _NORMAL_975 * share * abs(ratio)


def _others(measured: Measurement, cores: int) -> float:
    """Return the share of the machine that other programs took meanwhile, below 1."""
    return min(0.99, (measured.others_s or 0.0) / (measured.wall_s * cores)) if measured.wall_s else 0.0


def _interval(
    before: Measurement, after: Measurement, figure: Callable[[npt.NDArray[np.float64]], float]
) -> tuple[float, float]:
    """Compute the interval of the ratio of a figure; it is zero to infinity where there are too few processes."""
    pair = _undisturbed(before.processes, after.processes)
    if min(map(len, pair)) < FEWEST:
        return 0.0, math.inf
    values = [np.log([figure(np.array(process.seconds)) for process in each]) for each in pair]
    state_before, state_after = map(_states, pair)
    first, second = (each - each.mean() for each in values)
    difference = float(values[1].mean() - values[0].mean())
    squares, freedom = float(first @ first + second @ second), len(first) + len(second) - 2
    variance = 1 / len(first) + 1 / len(second)
    if state_before is not None and state_after is not None:
        left, right = state_before - state_before.mean(), state_after - state_after.mean()
        spread = float(left @ left + right @ right)
        shift = float(state_after.mean() - state_before.mean())
        if spread > 0:
            slope = float(left @ first + right @ second) / spread
            difference -= slope * shift
            squares -= slope**2 * spread
            variance += shift**2 / spread
            freedom -= 1
    reach = student(freedom) * math.sqrt(max(0.0, squares) / freedom * variance)
    return math.exp(difference - reach), math.exp(difference + reach)


def _undisturbed(*reports: Sequence[Process]) -> tuple[Sequence[Process], ...]:
    """Leave out the processes that other programs interrupted, as their reference load shows."""
    best = min((process.yardstick_s for each in reports for process in each if process.yardstick_s), default=0.0)
    return tuple(
        [process for process in each if (process.yardstick_s or 0.0) <= INTERRUPTED * best or not best]
        for each in reports
    )


def _states(processes: Sequence[Process]) -> npt.NDArray[np.float64] | None:
    """Return the logarithm of each process's reference load; None unless all of them are known."""
    found = [process.yardstick_s for process in processes if process.yardstick_s]
    return np.log(found) if len(found) == len(processes) else None


def student(freedom: int) -> float:
    """Compute Student's 97.5th percentile, with an error below 1 % from three degrees of freedom on.

    Abramowitz and Stegun, "Handbook of Mathematical Functions" (1964), 26.7.5.
    """
    x = _NORMAL_975
    terms = (x, (x**3 + x) / 4, (5 * x**5 + 16 * x**3 + 3 * x) / 96, (3 * x**7 + 19 * x**5 + 17 * x**3 - 15 * x) / 384)
    return sum(term / freedom**power for power, term in enumerate(terms))
