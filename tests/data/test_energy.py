"""Energy of power traces whose integral is known, its uncertainty, and turns during which a machine was held back."""

import math

import numpy as np
import pytest

from fmedge.data.energy import EnergyPerImage, PowerTrace, StateTrace, Turn, energy_per_image
from fmedge.data.telemetry import POINTS, power_series, state_series

RATE_HZ = 100
LENGTH_S = 12.0
START_S, END_S = 3.003, 8.997
"""Moments that lie between two samples."""


def steps(times):
    return np.where((times >= START_S) & (times < END_S), 9.0, 3.0)


SIGNALS = {
    "constant": (lambda times: np.full_like(times, 5.0), 5.0 * (END_S - START_S)),
    "ramp": (lambda times: 2.0 + 0.5 * times, 2.0 * (END_S - START_S) + 0.25 * (END_S**2 - START_S**2)),
    "sine": (
        lambda times: 6.0 + 4.0 * np.sin(2 * math.pi * 5 * times),
        6.0 * (END_S - START_S) + 0.4 / math.pi * (math.cos(31.4159265 * START_S) - math.cos(31.4159265 * END_S)),
    ),
    "steps": (steps, 9.0 * (END_S - START_S)),
}
"""Watts over time, and joules between the two moments."""


def moments(kind, seed=0):
    generator = np.random.default_rng(seed)
    times = np.arange(0, LENGTH_S, 1 / RATE_HZ)
    if kind == "jittered":
        times = np.sort(times + generator.uniform(-0.4, 0.4, len(times)) / RATE_HZ)
    if kind == "missing":
        times = times[generator.random(len(times)) > 0.2]
    return times


def counted(watts, times):
    """Joules of a counter, from a fine integral."""
    fine = np.linspace(times[0], times[-1], 200_001)
    total = np.concatenate(([0.0], np.cumsum((watts(fine[1:]) + watts(fine[:-1])) / 2 * np.diff(fine))))
    return np.interp(times, fine, total)


def trace(watts, times, measures="power", resolution=1e-6):
    values = watts(times) if measures == "power" else counted(watts, times)
    return PowerTrace("a sensor", measures, resolution, tuple(times.tolist()), tuple(values.tolist()))


@pytest.mark.parametrize("measures", ["power", "energy"])
@pytest.mark.parametrize("kind", ["regular", "jittered", "missing"])
@pytest.mark.parametrize("signal", SIGNALS)
def test_the_integral_is_within_a_percent(signal, kind, measures):
    watts, joules = SIGNALS[signal]
    found = trace(watts, moments(kind), measures)
    assert found.energy_j(START_S, END_S) == pytest.approx(joules, rel=0.01)
    assert found.power_w(START_S, END_S) == pytest.approx(joules / (END_S - START_S), rel=0.01)


@pytest.mark.parametrize(
    ("times", "start", "end"),
    [
        ((), 1, 2),
        ((1.0,), 1, 2),
        ((1.5, 2.0, 2.5), 1, 2),  # begins later
        ((0.5, 1.0, 1.5), 1, 2),  # ends earlier
        ((0.0, 1.0, 1.2, 1.8, 2.0, 2.2), 1, 2),  # a pause of 0.6 of the turn
        ((0.0, 1.0, 2.0, 3.0), 2, 2),
    ],
)
def test_too_few_samples_give_no_figure(times, start, end):
    assert PowerTrace("a sensor", "power", 1e-3, times, (5.0,) * len(times)).energy_j(start, end) is None


def test_a_counter_may_pause_within_a_turn_but_not_at_its_ends():
    times = (0.0, 1.0, 1.1, 1.9, 2.0, 3.0)
    assert PowerTrace("a sensor", "energy", 1e-3, times, times).energy_j(1.05, 1.95) == pytest.approx(0.9)
    assert PowerTrace("a sensor", "energy", 1e-3, times, times).energy_j(1.5, 2.5) is None


# ---- Per image -----------------------------------------------------------------------------------------

TURNS = tuple(Turn(start, start + 1.0, 20) for start in (3.0, 4.5, 6.0, 7.5))
IDLE = ((0.1, 2.0), (10.0, 11.5))


def working(times, idle=3.0, busy=9.0, seed=None):
    found = np.full_like(times, idle)
    for turn in TURNS:
        found[(times >= turn.start_s) & (times <= turn.end_s)] = busy
    return found if seed is None else found + np.random.default_rng(seed).normal(0, 0.3, len(times))


def test_an_image_costs_what_is_above_idle():
    found = energy_per_image(trace(working, moments("regular")), TURNS, IDLE)
    assert found.idle_w == pytest.approx(3.0)
    assert found.energy_j == pytest.approx((9.0 - 3.0) / 20, rel=0.01)
    assert found.gross_j == pytest.approx(9.0 / 20, rel=0.01)
    assert (found.sensor, found.turns) == ("a sensor", 4)
    assert found.rate_hz == pytest.approx(RATE_HZ)
    assert 0 < found.uncertainty_j < 0.01 * found.energy_j


def test_the_uncertainty_holds_each_of_its_parts():
    times = moments("regular")
    exact = energy_per_image(trace(working, times), TURNS, IDLE).uncertainty_j
    coarse = energy_per_image(trace(working, times, resolution=0.5), TURNS, IDLE).uncertainty_j
    assert coarse == pytest.approx(math.hypot(exact, 0.5 / 20 / math.sqrt(12)), rel=1e-3)
    slow = energy_per_image(trace(working, times[::5]), TURNS, IDLE).uncertainty_j
    assert slow > 4 * exact

    def drifting(times):
        return working(times) + np.where(times > 9, 0.6, 0.0)

    drift = energy_per_image(trace(drifting, times), TURNS, IDLE)
    assert drift.idle_w == pytest.approx(3.3)
    assert drift.uncertainty_j == pytest.approx(math.hypot(exact, 0.6 / 20 / math.sqrt(12)), rel=0.02)


def test_two_of_three_true_values_lie_within_the_uncertainty():
    times = moments("regular")
    hits = 0
    for seed in range(200):
        generator = np.random.default_rng(seed)
        moved = [Turn(turn.start_s, turn.end_s, turn.images) for turn in TURNS]
        levels = generator.normal(9.0, 0.5, len(moved))

        def watts(times, moved=moved, levels=levels):
            found = np.full_like(times, 3.0)
            for turn, level in zip(moved, levels, strict=True):
                found[(times >= turn.start_s) & (times <= turn.end_s)] = level
            return found

        found = energy_per_image(trace(watts, times), moved, IDLE)
        hits += abs(found.energy_j - 0.3) <= found.uncertainty_j
    assert 0.5 < hits / 200 < 0.85  # 0.61 for a standard error of four values, by Student's t


def test_one_turn_has_no_uncertainty():
    assert energy_per_image(trace(working, moments("regular")), TURNS[:1], IDLE).uncertainty_j is None


@pytest.mark.parametrize(
    ("turns", "idle", "reason"),
    [
        ((), IDLE, "too few samples within the turns"),
        ((Turn(20, 21, 5),), IDLE, "too few samples within the turns"),
        (TURNS, (), "too few samples while the machine was idle"),
        ((Turn(0.2, 1.5, 5),), IDLE, "saw no more power than while the machine was idle"),
    ],
)
def test_no_energy_says_why(turns, idle, reason):
    assert energy_per_image(trace(working, moments("regular")), turns, idle) == f"a sensor: {reason}".replace(
        "sensor: saw", "sensor saw"
    )


def test_turns_that_the_sensor_missed_are_left_out():
    times = moments("regular")
    found = energy_per_image(trace(working, times[(times < 4.6) | (times > 5.4)]), TURNS, IDLE)
    assert found.turns == 3


def test_a_batch_counts_as_so_many_images():
    double = tuple(Turn(turn.start_s, turn.end_s, 2 * turn.images) for turn in TURNS)
    one, two = (energy_per_image(trace(working, moments("regular")), turns, IDLE) for turns in (TURNS, double))
    assert isinstance(one, EnergyPerImage)
    assert two.energy_j == pytest.approx(one.energy_j / 2)
    assert two.uncertainty_j == pytest.approx(one.uncertainty_j / 2)


# ---- Throttling and heat -------------------------------------------------------------------------------


def states(*flags, temperatures=None):
    """One a second."""
    count = len(flags)
    return StateTrace(
        tuple(map(float, range(count))), temperatures or (40.0,) * count, (None,) * count, tuple(map(tuple, flags))
    )


def test_throttled_turns_are_found():
    trace = states((), (), (), ("hot",), (), (), ("hot",), ())
    turns = [Turn(0.1, 0.9, 1), Turn(1.5, 2.5, 1), Turn(2.5, 2.6, 1), Turn(3.1, 4.9, 1), Turn(4.0, 5.5, 1)]
    assert trace.throttled(turns) == (1, 2, 4)
    assert states((), (), ()).throttled(turns) == ()
    assert StateTrace().throttled(turns) == ()


def test_what_was_so_at_the_first_reading_holds_before_it():
    assert states(("hot",), ()).throttled([Turn(-5, -4, 1), Turn(0.2, 0.4, 1)]) == (0,)


def test_the_hottest_moment_of_turns():
    trace = states(*[()] * 6, temperatures=(40.0, 90.0, 50.0, None, 60.0, 70.0))
    assert trace.hottest_c([Turn(1.5, 2.5, 1)]) == 60.0  # the state after the turn counts
    assert trace.hottest_c([Turn(1.5, 1.6, 1)]) == 50.0
    assert trace.hottest_c([Turn(0.5, 1.5, 1), Turn(4.2, 4.4, 1)]) == 90.0
    assert StateTrace().hottest_c([Turn(0, 1, 1)]) is None


# ---- Series of the report ------------------------------------------------------------------------------


def test_series_are_thinned_and_start_at_the_beginning():
    count = 5000
    trace = states(*[()] * (count - 1), ("hot",), temperatures=(None, *[45.0] * (count - 1)))
    series = state_series(trace, 0.0)
    assert len(series["times_s"]) == len(series["temperature_c"]) == POINTS
    assert (series["times_s"][0], series["times_s"][-1]) == (0.0, count - 1)
    assert set(series["temperature_c"]) == {45.0}
    assert series["clock_mhz"] == ()
    assert series["throttled_s"] == (count - 1,)


@pytest.mark.parametrize("measures", ["power", "energy"])
def test_power_over_time(measures):
    series = power_series(trace(working, moments("regular"), measures), 0.0)
    assert len(series["power_w"]) == len(series["power_times_s"]) <= POINTS + 1
    levels = np.array(series["power_w"])[(np.array(series["power_times_s"]) % 1.5 > 0.2)]
    assert min(levels) == pytest.approx(3.0, abs=0.01)
    assert max(levels) == pytest.approx(9.0, abs=0.01)


def test_no_power_no_series():
    assert power_series(PowerTrace("", "power", 0.0), 0.0) == {}
