"""Two reports side by side, with times made up: chance is not taken for a change, a change is not taken for chance."""

import dataclasses

import numpy as np
import pytest

from fmedge.bench.compare import Bound, compare_metric, compare_reports, parse_bound, student
from fmedge.data.bench_report import Missing
from fmedge.data.energy import EnergyPerImage
from fmedge.data.measurement import Process
from fmedge.errors import UsageError
from support.measurements import MACHINE, measurement, report


def drawn(seed, factor=1.0, processes=12, runs=60, place=0.03, spread=0.03, state=0.0, **fields):
    """Runs of 10 ms: each process has a pace of its own, and its runs differ by less. The yardstick sees the state."""
    generator = np.random.default_rng(seed)
    states = state + 0.002 * generator.standard_normal(processes)
    paces = generator.normal(1, place, processes)
    made = []
    for pace, beside in zip(paces, states, strict=True):
        seconds = factor * 0.01 * pace * np.exp(beside) * (1 + spread * generator.standard_exponential(runs))
        made.append(Process((tuple(map(float, seconds)),), 1e-4 * float(np.exp(beside))))
    return measurement(processes=tuple(made), **fields)


def test_the_same_thing_twice_is_rarely_called_a_change():
    verdicts = [compare_metric(drawn(seed), drawn(1000 + seed), "p50", 2).verdict for seed in range(40)]
    assert sum(verdict != "same" for verdict in verdicts) <= 2


def test_a_tenth_slower_is_seen():
    changes = [compare_metric(drawn(seed), drawn(1000 + seed, 1.1), "p50", 2) for seed in range(20)]
    assert sum(change.verdict == "slower" for change in changes) >= 18
    assert not any(change.breaks(Bound("p50", 0.12)) for change in changes)
    assert compare_metric(drawn(1000, 1.1), drawn(0), "p50", 2).verdict == "faster"


def test_runs_of_a_process_do_not_count_as_independent():
    """Processes that differ much: taking single runs would give an interval a fifth as long, and a false alarm."""
    before, after = (drawn(seed, place=0.2, processes=6, runs=300) for seed in (1, 2))
    change = compare_metric(before, after, "p50", 2)
    assert change.high - change.low > 0.2


def test_another_state_of_the_machine_is_no_change():
    """All of one report in one state, all of the other in another: nobody can tell. Met in both, it is taken out."""
    apart = [compare_metric(drawn(seed), drawn(100 + seed, state=0.25), "p50", 2).verdict for seed in range(20)]
    assert apart.count("same") >= 19
    mixed = np.array([0.0, 0.25] * 6), np.array([0.0, 0.25, 0.25, 0.25] * 3)
    pairs = [(drawn(seed, state=mixed[0]), drawn(100 + seed, 1.1, state=mixed[1])) for seed in range(20)]
    changes = [compare_metric(*pair, "p50", 2) for pair in pairs]
    assert sum(change.verdict == "slower" for change in changes) >= 18
    assert sum(change.high < 1.25 for change in changes) >= 18


def test_processes_that_others_interrupted_are_left_out():
    before, after = drawn(1), drawn(2)
    last = dataclasses.replace(after.processes[-1], turns=((0.03,) * 60,), yardstick_s=0.004)
    broken = dataclasses.replace(after, processes=(*after.processes[:-1], last))
    change = compare_metric(before, broken, "p50", 2)
    assert change.verdict == "same"
    assert change.high - change.low < 0.1
    all_broken = dataclasses.replace(after, processes=(last,) * 12)
    assert compare_metric(before, all_broken, "p50", 2).verdict == "unsure"


def test_without_a_yardstick_the_processes_speak_alone():
    pair = [drawn(1), drawn(2, 1.2)]
    bare = [
        dataclasses.replace(
            each, processes=tuple(dataclasses.replace(process, yardstick_s=None) for process in each.processes)
        )
        for each in pair
    ]
    assert compare_metric(*bare, "p50", 2).verdict == "slower"
    assert compare_metric(bare[0], pair[1], "p50", 2).verdict == "slower"


def test_student():
    for freedom, value in ((3, 3.182), (4, 2.776), (10, 2.228), (22, 2.074), (100, 1.984)):
        assert student(freedom) == pytest.approx(value, rel=0.01)


@pytest.mark.parametrize("metric", ["p50", "p90", "p95", "min"])
def test_the_interval_is_the_same_every_time_and_holds_the_ratio(metric):
    first, second = (compare_metric(drawn(1), drawn(2, 1.2), metric, 2) for _ in range(2))
    assert first == second
    assert first.low <= 1.2 <= first.high
    assert first.ratio == pytest.approx(1.2, rel=0.1)


def test_few_processes_tell_nothing():
    change = compare_metric(drawn(1, processes=2), drawn(2, 3.0, processes=2), "p50", 2)
    assert change.verdict == "unsure"
    assert not change.breaks(Bound("p50", 0.05))


def test_what_others_took_is_no_change():
    before, after = drawn(1), drawn(2, 1.2)
    assert compare_metric(before, after, "p50", 2).verdict == "slower"
    busy = dataclasses.replace(after, others_s=0.5 * after.wall_s)
    assert compare_metric(before, busy, "p50", 2).verdict == "same"
    assert compare_metric(before, busy, "p50", 16).verdict == "slower"
    assert compare_metric(busy, before, "p50", 2).verdict == "same"


def test_single_figures_are_compared_as_they_are():
    before = measurement(peak_memory_bytes=100)
    change = compare_metric(before, measurement(peak_memory_bytes=120), "peak_memory", 2)
    assert (change.ratio, change.verdict) == (1.2, "slower")
    assert change.breaks(Bound("peak_memory", 0.1))
    assert compare_metric(before, before, "file_size", 2).verdict == "same"
    assert compare_metric(before, measurement(peak_memory_bytes=None), "peak_memory", 2) is None


def test_configurations_are_paired():
    gone, kept, new = (measurement(backend=name) for name in ("ncnn", "openvino", "litert"))
    failed = Missing(gone.configuration, "the process ended by signal 9", 7)
    found = compare_reports(report(gone, kept), report(kept, new, missing=(failed,)))
    assert [change.configuration.backend for change in found.changes] == ["openvino"]
    assert [each.backend for each in found.only_before] == ["ncnn"]
    assert [each.backend for each in found.only_after] == ["litert"]
    assert found.regressions([]) == []
    assert found.regressions([Bound("p50", 0.05)]) == ["block1_conv1 on ncnn, fp32, 2 threads: now fails"]


def test_nothing_in_common():
    with pytest.raises(UsageError, match="no configuration in common"):
        compare_reports(report(measurement()), report(measurement(layer="block2_conv1")))


def test_different_machines_are_refused_unless_told():
    other = dataclasses.replace(MACHINE, processor="Another CPU")
    pair = report(measurement()), report(measurement(), machine=other)
    with pytest.raises(UsageError, match="different machines: Some CPU, 2 cores; Another CPU, 2 cores"):
        compare_reports(*pair)
    assert len(compare_reports(*pair, across_machines=True).changes) == 1
    busier = dataclasses.replace(MACHINE, memory_bytes=1, system="Linux 7")
    assert len(compare_reports(report(measurement()), report(measurement(), machine=busier)).changes) == 1


def test_bounds_as_they_are_typed():
    assert parse_bound("p50:5%") == Bound("p50", 0.05)
    assert parse_bound("peak_memory:2.5%") == Bound("peak_memory", 0.025)
    for text, message in [("p5:5%", "Closest: 'p50'"), ("p50:5", "p50:5%"), ("p50", "p50:5%"), ("p50:-5%", "p50:5%")]:
        with pytest.raises(UsageError, match=message):
            parse_bound(text)


def with_energy(joules, uncertainty):
    return measurement(energy=EnergyPerImage(joules, 2 * joules, 3.0, uncertainty, "rail", 20.0, 5))


@pytest.mark.parametrize(
    ("joules", "uncertainty", "verdict"),
    [(1.2, 0.01, "slower"), (1.2, 0.2, "same"), (0.8, 0.01, "faster"), (1.01, 0.001, "same"), (1.2, None, "unsure")],
)
def test_energies_differ_where_their_uncertainties_say_so(joules, uncertainty, verdict):
    change = compare_metric(with_energy(1.0, 0.01), with_energy(joules, uncertainty), "energy", 2)
    assert (change.before, change.after, change.verdict) == (1.0, joules, verdict)
    if verdict == "slower":
        assert change.high - change.low == pytest.approx(
            2 * 1.96 * 1.2 * (0.01**2 + (0.01 / 1.2) ** 2) ** 0.5, rel=1e-3
        )


def test_without_energy_there_is_nothing_to_compare():
    assert compare_metric(measurement(), with_energy(1.0, 0.1), "energy", 2) is None
