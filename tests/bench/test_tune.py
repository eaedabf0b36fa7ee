"""The tuner on real engines, and its rules on made-up figures."""

import json
from dataclasses import replace

import pytest

from fmedge.bench import ways
from fmedge.bench.matrix import BenchMatrix
from fmedge.bench.protocol import Protocol, with_energy
from fmedge.bench.tune import FINALISTS, _better_half, _front, _lost, _rough_s, tune
from fmedge.bench.ways import Given, Goal
from fmedge.data.energy import EnergyPerImage
from fmedge.errors import SensorUnavailable, UsageError
from fmedge.model.parity import GATES, Parity
from fmedge.workflow.tuned_choice import Candidate, read_tuned
from support.messages import says

BRIEF = Protocol(runs=3, seconds=0.02)


def candidate(name: str, p50_s: float, snr_db: float) -> Candidate:
    parity = Parity(0.0, snr_db, 1.0, GATES["fp32"])
    return Candidate(name, "0", name, "1", "cpu", "fp32", 2, "fp32", parity, p50_s, 1 / p50_s, 0.1, 0.1, 100, 200)


def test_front_counts_all_exact_as_equally_accurate():
    exact, exacter, slow = candidate("a", 1.0, 120), candidate("b", 2.0, 140), candidate("c", 3.0, 120)
    fast, rough = candidate("d", 0.5, 40), candidate("e", 0.7, 35)
    assert _front([exact, exacter, slow, fast, rough], "latency") == [exact, fast]


def test_better_half_keeps_the_front_and_says_why_others_went():
    found = {place: candidate(str(place), 1.0 + place, 120) for place in range(12)}
    found[11] = candidate("11", 100.0, 120)
    found[3] = replace(found[3], parity=replace(found[3].parity, snr_db=40.0), p50_s=0.1)
    dropped = []
    kept = _better_half(list(range(12)), found, Goal(), dropped)
    assert kept == [0, 1, 2, 3, 4, 5]
    assert len(dropped) == 6
    assert dropped[-1].reason == "worse than 3, fp32, 2 threads by a factor of 1000.00 (latency)"
    assert len(_better_half(list(range(5)), {p: found[p] for p in range(5)}, Goal(), [])) == FINALISTS


def matrix(models, **changes):
    some = BenchMatrix(("block2_conv1",), ("onnxruntime", "ncnn"), size=(48, 64), weights="untrained", models=models)
    return replace(some, **changes)


def test_threads_are_tried_where_they_compute(untrained_models, monkeypatch):
    monkeypatch.setattr(ways, "default_threads", lambda: 8)
    for device, threads in (("cpu", {8, 4, 1}), ("cuda", {8})):
        asked = matrix(untrained_models, backends=("onnxruntime",), device=device)
        cases, _ = ways.prepare_ways(asked, Goal())
        assert {case.configuration.threads for case in cases} == threads


def test_tune_takes_the_fastest_of_what_it_measured(untrained_models):
    found, report = tune(matrix(untrained_models, threads=(1,)), Goal(), BRIEF)
    fastest = min(report.measurements, key=lambda each: each.p50)
    assert found.choice.backend == fastest.configuration.backend
    assert found.choice.p50_s == fastest.p50
    assert found.choice.exact
    assert len(found.front) == 1
    assert len(found.dropped) == 1
    assert found.dropped[0].reason.startswith(f"worse than {found.choice.describe()} by a factor of ")


@pytest.mark.slow
def test_tune_judges_on_photos_under_a_bound(untrained_models, photos_folder):
    goal = Goal("size", 20.0, tuple(sorted(photos_folder.iterdir())[:2]))
    asked = matrix(untrained_models, backends=("onnxruntime",), threads=(1,), calibration=photos_folder)
    found = tune(asked, goal, BRIEF).tuned
    assert found.judged_on == "2 photos"
    assert found.choice.form.startswith("int8")
    assert 20 <= found.choice.parity.snr_db < 60
    assert found.choice.file_size < 0.6 * max(each.file_size for each in found.front)
    assert found.front[-1].exact


def test_models_and_a_reference_from_elsewhere(untrained_models, tmp_path):
    asked = matrix(untrained_models, threads=(1,))
    cases, _ = ways.prepare_ways(asked, Goal())
    ways.write_reference(tmp_path / "reference.npz", asked, Goal())
    given = Given(tuple(dict.fromkeys(case.model for case in cases)), tmp_path / "reference.npz")
    elsewhere = replace(asked, layers=("",), weights=None, models=None)
    tuned = tune(elsewhere, Goal(), BRIEF, given=given).tuned
    assert {each.model for each in tuned.front} <= {path.name for path in given.models}
    assert len(tuned.front) + len(tuned.dropped) == len(cases) == 2
    assert tuned.choice.exact
    assert tuned.judged_on == "a given reference"


def test_nothing_keeps_the_bound(untrained_models, monkeypatch):
    monkeypatch.setattr(ways, "EXACT_DB", 200.0)
    with pytest.raises(UsageError, check=says(r"--min-snr 200: nothing reaches it\. Best: 1\d\d\.\d dB")):
        tune(matrix(untrained_models, threads=(1,)), Goal(min_snr_db=200.0), BRIEF)


def test_int8_without_photos_is_left_out_with_its_reason(untrained_models, tmp_path):
    asked = matrix(tmp_path, backends=("onnxruntime",), threads=(1,))
    found = tune(asked, Goal("latency", 20.0), BRIEF).tuned
    assert any("--calibration DIR" in each.reason for each in found.dropped)
    assert found.choice.exact or found.choice.form != "int8"


def test_judges_are_spread_over_the_photos():
    photos = tuple(map(str, range(20)))
    assert Goal(photos=photos).judges == ("0", "2", "5", "7", "10", "12", "15", "17")
    assert Goal(photos=photos[:3]).judges == photos[:3]


# ---- Energy --------------------------------------------------------------------------------------------


def test_what_has_no_energy_loses():
    little, much = replace(candidate("a", 2.0, 120), energy_j=0.2), replace(candidate("b", 1.0, 120), energy_j=0.5)
    unknown = candidate("c", 0.5, 120)
    assert _front([much, little, unknown], "energy") == [little]
    assert _lost(much, little, "energy").reason == "worse than a, fp32, 2 threads by a factor of 2.50 (energy)"
    assert _lost(unknown, little, "energy").reason == "its energy could not be measured"


def test_rounds_before_the_last_have_two_turns():
    assert _rough_s(Protocol(), 0.3) == 0.3
    assert _rough_s(with_energy(Protocol(), 20.0), 0.3) == 2.0


@pytest.fixture
def measured_energy(monkeypatch):
    """Give the rows that are measured an energy: the slowest takes the least."""
    from fmedge.bench import tune as module

    def install(known):
        measure = module.measure

        def measured(*arguments, **settings):
            report = measure(*arguments, **settings)
            order = sorted(report.measurements, key=lambda each: -each.p50)
            rows = [
                replace(each, energy=EnergyPerImage(0.1 + place, 1.0 + place, 3.0, 0.01, "x", 20.0, 5))
                if known
                else replace(each, no_energy="rail x cannot be read")
                for place, each in enumerate(order)
            ]
            return replace(report, measurements=tuple(rows))

        monkeypatch.setattr(module, "measure", measured)

    return install


def test_tune_takes_what_needs_the_least_energy(untrained_models, measured_energy, tmp_path):
    measured_energy(known=True)
    found, report = tune(matrix(untrained_models, threads=(1,)), Goal("energy"), BRIEF)
    slowest = max(report.measurements, key=lambda each: each.p50)
    assert (found.choice.backend, found.choice.energy_j) == (slowest.configuration.backend, 0.1)
    path = tmp_path / "x.tuned.json"
    path.write_text(found.to_json())
    assert read_tuned(path) == found
    old = json.loads(found.to_json()) | {"schema": 1, "objective": "latency"}
    for each in old["front"]:
        del each["energy_j"]
    path.write_text(json.dumps(old))
    assert read_tuned(path).choice.energy_j is None


def test_a_sensor_that_fails_makes_no_choice(untrained_models, measured_energy):
    measured_energy(known=False)
    asked = matrix(untrained_models, backends=("onnxruntime",), threads=(1,))
    with pytest.raises(SensorUnavailable, match="Energy could not be measured: rail x cannot be read"):
        tune(asked, Goal("energy"), BRIEF)
