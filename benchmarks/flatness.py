"""Check that something stays flat: read a process's resources, and fit lines through measurements of many runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fmedge.bench.compare import INTERRUPTED

POINTS = 200
"""Points to which many runs are reduced before all pairs of points are compared."""

FEWEST = 10
"""Fewest runs in a third that give a 90th percentile."""

_NORMAL_975 = 1.959963984540054

Floats = npt.NDArray[np.float64]


def resident_bytes() -> int:
    """Return the resident memory of this process in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors() -> int:
    """Count the open files, pipes and sockets of this process, including the folder that is read to count them."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def threads() -> int:
    """Count the threads of this process, including those of engines."""
    return sum(1 for _ in Path("/proc/self/task").iterdir())


class Slope(NamedTuple):
    """Growth per run.

    Attributes:
        line: Slope by least squares.
        robust: Slope by Theil and Sen: the median of the slopes between all pairs of points.
        low: Lower end of its 95 % interval, on the assumption that neighbours differ by chance.
        high: Upper end of that interval.
    """

    line: float
    robust: float
    low: float
    high: float


def slope_per_run(values: Sequence[float]) -> Slope:
    """Compute how a figure grows from run to run.

    A single step, such as an allocator's new arena, tilts a line by least squares: a step of 5 MB half-way through
    5,000 runs tilts it by 1.5 kB per run. At most about half of all pairs of runs span a step, and a third if it comes
    after a fifth of the runs, so the median of their slopes hardly moves (Sen, "Estimates of the regression coefficient
    based on Kendall's tau", 1968, which also gives the interval). What grows all the time, or in many steps, shows in
    most pairs. Neighbouring runs are reduced to one point, their median.

    Args:
        values: One value per run, at least two.
    """
    series = np.asarray(values, np.float64)
    parts = np.array_split(np.arange(len(series)), min(POINTS, len(series)))
    places = np.array([part.mean() for part in parts])
    points = np.array([np.median(series[part]) for part in parts])
    later, earlier = np.tril_indices(len(parts), -1)
    slopes = np.sort((points[later] - points[earlier]) / (places[later] - places[earlier]))
    count = len(parts)
    reach = _NORMAL_975 * np.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    low, high = (round((len(slopes) + sign * reach) / 2) for sign in (-1, 1))
    line = float(np.polyfit(np.arange(len(series)), series, 1)[0])
    return Slope(line, float(np.median(slopes)), float(slopes[max(0, low)]), float(slopes[min(high, len(slopes)) - 1]))


class Drift(NamedTuple):
    """How much slower a kind of work became from the beginning to the end.

    Attributes:
        runs: Number of runs that count.
        first_s: 90th percentile of the first third, in seconds.
        last_s: 90th percentile of the last third, in seconds.
        raw: Increase from the first third to the last.
        corrected: The same without the part that the reference load explains.
    """

    runs: int
    first_s: float
    last_s: float
    raw: float
    corrected: float


def drift_of(times: Floats, seconds: Floats, yardstick: Floats, span: tuple[float, float]) -> Drift | None:
    """Compare the last third of the time with the first.

    The machine's own speed goes up and down. A straight line through the logarithms shows how far the seconds follow
    the reference load; the first and the last third each count about their own mean, so that a drift of fmedge's own is
    no part of it. What the line explains is removed: nothing from work that does not follow the reference load, and
    never more than the reference load itself changed.

    Args:
        times: Time of each run.
        seconds: Duration of each run.
        yardstick: Duration of the reference load, which never changes, next to each run. Runs for which it took more
            than :data:`fmedge.bench.compare.INTERRUPTED` times its lower quartile do not count: other programs were
            computing.
        span: Start and end of the time that is divided into thirds.

    Returns:
        The drift; None where a third has fewer than :data:`FEWEST` runs.
    """
    quiet = yardstick <= INTERRUPTED * np.quantile(yardstick, 0.25) if len(yardstick) else yardstick > 0
    third = (span[1] - span[0]) / 3
    parts = [quiet & (times < span[0] + third), quiet & (times >= span[1] - third)]
    if min(part.sum() for part in parts) < FEWEST:
        return None
    work, states = ([np.log(each[part]) for part in parts] for each in (seconds, yardstick))
    centred = [np.concatenate([part - part.mean() for part in each]) for each in (work, states)]
    spread = float(centred[1] @ centred[1])
    follows = min(1.0, max(0.0, float(centred[0] @ centred[1]) / spread)) if spread > 0 else 0.0
    first, last = (float(np.quantile(part, 0.9)) for part in work)
    plain, mended = (
        last_p90 - first_p90
        for first_p90, last_p90 in (
            (first, last),
            [float(np.quantile(part - follows * state, 0.9)) for part, state in zip(work, states, strict=True)],
        )
    )
    raw, corrected = float(np.expm1(plain)), float(np.expm1(mended))
    return Drift(sum(map(len, work)), float(np.exp(first)), float(np.exp(last)), raw, corrected)


class Joined(NamedTuple):
    """The raw and the corrected increase over several kinds of work."""

    raw: float
    corrected: float


def joined(drifts: Sequence[Drift]) -> Joined:
    """Return the increase over several kinds of work: the geometric mean, each weighted by its runs.

    A percentile over all kinds together would show how they were mixed.
    """
    weights = [drift.runs for drift in drifts]
    raw, corrected = (
        float(np.expm1(np.average(np.log1p([getattr(drift, name) for drift in drifts]), weights=weights)))
        for name in ("raw", "corrected")
    )
    return Joined(raw, corrected)
