"""Whether something stays as it is: what a process holds, and lines through what was measured over many runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fmedge.bench.compare import INTERRUPTED

POINTS = 200
"""Points that many runs are brought down to before every pair of them is looked at."""

FEWEST = 10
"""Runs of a third from which a 90th percentile is told."""

_NORMAL_975 = 1.959963984540054

Floats = npt.NDArray[np.float64]


def resident_bytes() -> int:
    """Memory of this process that is in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors() -> int:
    """Files, pipes and sockets that this process has open; the folder that is read to count them is one of them."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def threads() -> int:
    """Threads of this process, the engines' own among them."""
    return sum(1 for _ in Path("/proc/self/task").iterdir())


class Slope(NamedTuple):
    """Growth per run.

    Attributes:
        line: By least squares.
        robust: By Theil and Sen: the median of the slopes between all pairs of points.
        low: Lower end of its interval of 95 %, as if what differs between neighbours were chance.
        high: Upper end.
    """

    line: float
    robust: float
    low: float
    high: float


def slope_per_run(values: Sequence[float]) -> Slope:
    """How a figure grows from run to run.

    A single step, such as an allocator's new arena, tilts a line by least squares: one of 5 MB half-way through 5,000
    runs by 1.5 kB per run. Fewer than half of all pairs of runs span it, a third where it comes after a fifth of them,
    so the median of their slopes hardly moves (Sen, "Estimates of the regression coefficient based on Kendall's tau",
    1968, which has the interval, too); what grows all the time, or in many steps, shows in most pairs. Neighbouring
    runs go into one point, their median.

    Args:
        values: One per run, at least two.
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
    """How a kind of work went at the end, over how it went at the beginning.

    Attributes:
        runs: That count.
        first_s: 90th percentile of the first third.
        last_s: Of the last third.
        raw: Increase of the one over the other.
        corrected: The same, without what the yardstick explains.
    """

    runs: int
    first_s: float
    last_s: float
    raw: float
    corrected: float


def drift_of(times: Floats, seconds: Floats, yardstick: Floats, span: tuple[float, float]) -> Drift | None:
    """Hold the last third of the time against the first.

    The machine's own speed goes up and down. How far seconds follow the yardstick is told by a straight line through
    their logarithms, the first and last third each about its own mean, so that a drift of ours is no part of it; what
    the line explains is taken out. Nothing is taken out of a work that does not follow the yardstick, and never more
    than the yardstick itself moved.

    Args:
        times: When each run was.
        seconds: How long it took.
        yardstick: What a work that never changes took beside it. Runs beside which it took more than
            :data:`fmedge.bench.compare.INTERRUPTED` times its lower quartile do not count: others computed, too.
        span: Of which time the thirds are.

    Returns:
        None where a third has fewer than :data:`FEWEST` runs.
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
    """Raw and corrected increase over several kinds of work."""

    raw: float
    corrected: float


def joined(drifts: Sequence[Drift]) -> Joined:
    """The increase over several kinds of work: the geometric mean, each with the weight of its runs.

    A percentile over all kinds would tell how they were mixed.
    """
    weights = [drift.runs for drift in drifts]
    raw, corrected = (
        float(np.expm1(np.average(np.log1p([getattr(drift, name) for drift in drifts]), weights=weights)))
        for name in ("raw", "corrected")
    )
    return Joined(raw, corrected)
