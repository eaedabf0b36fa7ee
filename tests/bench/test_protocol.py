"""How many processes fit into a time, and what is said of it beforehand: arithmetic, nothing is measured."""

from dataclasses import replace

import pytest

from fmedge.bench.matrix import BenchMatrix, prepare_cases
from fmedge.bench.protocol import (
    BUDGET_S,
    PROCESSES,
    Pace,
    Protocol,
    announce,
    expected_pace,
    expected_seconds,
    processes_that_fit,
    seconds_left,
)
from fmedge.system.wording import duration

DEFAULT = Protocol(budget_s=BUDGET_S)
QUICK, SLOW = Pace(0.4, 0.001), Pace(1.8, 0.08)


def needed(count, *paces, started=1):
    """Seconds from the moment at which so many processes are loaded."""
    return sum(seconds_left(DEFAULT, pace, count - started, count - started + 1) for pace in paces)


def test_as_many_processes_as_fit():
    paces = [QUICK] * 4 + [SLOW] * 4
    for count in range(4, PROCESSES + 1):
        assert processes_that_fit(DEFAULT, paces, 1, needed(count, *paces)) == count
        assert processes_that_fit(DEFAULT, paces, 1, needed(count, *paces) - 0.01) == count - 1
    assert processes_that_fit(DEFAULT, paces, 1, 1e6) == PROCESSES


def test_never_fewer_than_an_interval_needs_or_than_have_started():
    assert processes_that_fit(DEFAULT, [SLOW], 1, 0.0) == 3
    assert processes_that_fit(DEFAULT, [SLOW], 5, -100.0) == 5
    assert processes_that_fit(replace(DEFAULT, runs=2), [SLOW], 1, 0.0) == 2


@pytest.mark.parametrize("processes", [1, 3, 24])
def test_a_number_that_is_asked_for_counts_whatever_the_time(processes):
    asked = Protocol(runs=100, processes=processes)
    assert processes_that_fit(asked, [SLOW] * 50, 1, -1.0) == processes


def test_runs_and_seconds_are_never_fewer():
    """All of 30 runs of 0.3 s, in ten turns of three runs, each after one that does not count; and two starts."""
    assert seconds_left(DEFAULT, Pace(2.0, 0.3), 2, 3) == pytest.approx(2 * 2.0 + 10 * (4 * 0.3 + 0.03))
    half = Pace(2.0, 0.3, share=0.5)
    assert seconds_left(DEFAULT, half, 0, 1) == pytest.approx(5 * (4 * 0.3 + 0.03))
    assert seconds_left(replace(DEFAULT, seconds=60), QUICK, 0, 1) > 60
    assert seconds_left(DEFAULT, Pace(0.0, 0.001), 0, 40) == pytest.approx(40 * (0.1 + 0.001 + 0.03))  # a turn each
    staged = replace(DEFAULT, stages=True)
    assert seconds_left(staged, SLOW, 0, 3) - seconds_left(DEFAULT, SLOW, 0, 3) == pytest.approx(15 * 0.08)


def test_a_budget_is_the_bound_unless_its_least_takes_longer():
    assert expected_seconds(DEFAULT, [QUICK, SLOW]) == 2 * BUDGET_S
    slowest = Pace(1.5, 1.0)
    least = seconds_left(DEFAULT, slowest, 3, 3)
    assert least > BUDGET_S
    assert expected_seconds(DEFAULT, [QUICK, slowest]) == BUDGET_S + least
    asked = Protocol(processes=16)
    assert expected_seconds(asked, [QUICK]) == seconds_left(asked, QUICK, 16, 16)


def test_times_in_words():
    found = [duration(seconds) for seconds in (0.2, 72, 100, 101, 144, 600, 601, 7200, 7201)]
    assert found == ["1 s", "72 s", "100 s", "2 min", "2.5 min", "10 min", "11 min", "120 min", "2.5 h"]


@pytest.fixture
def cases(untrained_models):
    def prepare(*layers, **matrix):
        wanted = {"size": (64, 64), "weights": "untrained", "models": untrained_models, "threads": (2,), **matrix}
        return prepare_cases(BenchMatrix(layers, ("onnxruntime", "ncnn"), **wanted))[0]

    return prepare


def test_a_line_says_how_long_it_takes(cases):
    four = cases("block1_conv1", "block1_conv2")
    assert announce(DEFAULT, four) == "Measuring 4 configurations, 18 s each: up to about 72 s."
    assert announce(DEFAULT, four * 2) == "Measuring 8 configurations, 18 s each: up to about 2.5 min."
    assert announce(DEFAULT, four[:1]) == "Measuring 1 configuration: up to about 18 s."
    assert announce(Protocol(runs=1, seconds=0), four[:1]).startswith(
        "Measuring 1 configuration, 1 process each: about "
    )
    asked = Protocol()
    time = expected_seconds(asked, map(expected_pace, four))
    assert time == pytest.approx(4 * seconds_left(asked, expected_pace(four[0]), 16, 16), rel=0.1)
    assert announce(asked, four) == "Measuring 4 configurations, 16 processes each: about 2 min."


def test_long_runs_are_foreseen_by_their_operations(cases):
    large = cases("block1_conv2", scenario="offline", batch=512)[0]
    operations = 2 * 512 * sum(spec.macs(64, 64) for spec in large.card.submodel.stock_layers)
    assert expected_pace(large).run_s == pytest.approx(operations / 2 / 4e10)
    time = duration(expected_seconds(DEFAULT, [expected_pace(large)]))
    assert announce(DEFAULT, [large]) == f"Measuring 1 configuration: up to about {time}."
    time = duration(expected_seconds(DEFAULT, map(expected_pace, [large, large])))
    said = announce(DEFAULT, [large, large])
    assert said == f"Measuring 2 configurations, 18 s each, more where runs are long: up to about {time}."
