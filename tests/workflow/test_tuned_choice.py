"""A tuned choice: written, read, and taken only where its figures hold."""

import json
from dataclasses import replace

import pytest

from fmedge.errors import ArtifactError, UsageError
from fmedge.model.parity import GATES, Parity
from fmedge.model.run_options import RunOptions
from fmedge.model.submodel import ExportOptions
from fmedge.runtime.backends import find_backend
from fmedge.runtime.opening import engine_version
from fmedge.system.machine import this_machine
from fmedge.workflow import tuned_choice
from fmedge.workflow.request import request_artifact, tuned_path
from fmedge.workflow.tuned_choice import Candidate, Dropped, Tuned, adopt, read_tuned
from support.messages import says


@pytest.fixture
def request_(block1):
    return request_artifact("block1_conv1", weights="untrained", models=block1.path.parent)


@pytest.fixture
def choice(block1):
    return Candidate(
        model=block1.path.name,
        file_sha256=block1.card.file_sha256,
        backend="onnxruntime",
        engine_version=engine_version(find_backend("onnxruntime")),
        device="cpu",
        math="fp32",
        threads=1,
        form="fp32",
        parity=Parity(1e-7, 131.0, 1.0, GATES["fp32"]),
        p50_s=0.001,
        images_per_s=1000.0,
        load_s=0.02,
        first_run_s=0.002,
        peak_memory_bytes=None,
        file_size=block1.size,
    )


@pytest.fixture
def write(request_):
    """Writes a choice where a run looks for it; it is gone after the test."""
    path = tuned_path(request_)

    def write(*front: Candidate, **changes):
        found = Tuned("0.1.0", "2026-11-22T12:00:00+00:00", this_machine(), "latency", 100.0, "noise", 1, front)
        path.write_text(replace(found, **changes).to_json())
        return path

    yield write
    path.unlink(missing_ok=True)


def test_name_is_short_for_the_default_choices_and_tells_all_others(tmp_path):
    def name(layer, activation=None, weights=None, size=(224, 224)):
        options = ExportOptions(size=size)
        return tuned_path(request_artifact(layer, activation, weights=weights, models=tmp_path, options=options)).name

    assert name("block3_conv3") == "block3_conv3.tuned.json"
    names = {
        name("block3_conv3", "none"),
        name("block3_conv3", weights="untrained"),
        name("block3_conv3", size=(112, 112)),
        name("block3_conv3+block1_conv1"),
    }
    assert len(names) == 4
    assert "block3_conv3.tuned.json" not in names


def test_reading_gives_what_was_written(choice, write):
    path = write(replace(choice, parity=replace(choice.parity, snr_db=float("inf"))), dropped=(Dropped("a", "b", 7),))
    found = read_tuned(path)
    assert found.choice.parity.snr_db == float("inf")
    assert found.dropped == (Dropped("a", "b", 7),)
    assert found.to_json() == path.read_text()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data.update(kind="fmedge bench"),
        lambda data: data.update(schema=99),
        lambda data: data.update(front=[]),
        lambda data: data["front"][0].update(threads="2"),
        lambda data: data["front"][0].pop("parity"),
        lambda data: data["front"][0].update(math="fp64"),
    ],
    ids=["another file", "another version", "no choice", "text for a number", "no parity", "unknown arithmetic"],
)
def test_damaged_is_refused_in_one_line(spoil, choice, write):
    path = write(choice)
    data = json.loads(path.read_text())
    spoil(data)
    path.write_text(json.dumps(data))
    with pytest.raises(UsageError, check=says(r"fmedge tune\.$")):
        read_tuned(path)


def test_an_exact_choice_made_here_is_taken(request_, choice, write):
    write(choice)
    found = adopt(request_, RunOptions(), anyway=False)
    assert found.run == RunOptions("onnxruntime", threads=1)
    assert found.artifact.card.file_sha256 == choice.file_sha256
    assert adopt(request_, RunOptions(threads=2), anyway=False).run.threads == 2


def test_without_one_there_is_nothing_to_take(request_):
    assert adopt(request_, RunOptions(), anyway=False) is None
    with pytest.raises(UsageError, check=says("Make one: fmedge tune")):
        adopt(request_, RunOptions(), anyway=True)


def test_a_less_exact_choice_is_taken_only_when_asked_for(request_, choice, write):
    write(replace(choice, parity=replace(choice.parity, snr_db=99.9)))
    assert adopt(request_, RunOptions(), anyway=False) is None
    assert adopt(request_, RunOptions(), anyway=True).artifact.path.name == choice.model


def test_the_best_exact_way_is_taken_beside_a_less_exact_choice(request_, choice, write):
    write(replace(choice, threads=2, parity=replace(choice.parity, snr_db=40.0)), choice)
    assert adopt(request_, RunOptions(), anyway=False).run.threads == 1
    assert adopt(request_, RunOptions(), anyway=True).run.threads == 2


@pytest.mark.parametrize("cause", ["machine", "version"])
def test_a_choice_made_elsewhere_is_taken_only_when_asked_for(cause, request_, choice, write, caplog):
    if cause == "machine":
        write(choice, machine=replace(this_machine(), processor="Cortex-A76"))
    else:
        write(replace(choice, engine_version="1.0"))
    assert adopt(request_, RunOptions(), anyway=False) is None
    assert "not used: it was made " in caplog.messages[-1]
    assert adopt(request_, RunOptions(), anyway=True) is not None
    assert "doubtful" in caplog.messages[-1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": "gone.onnx"}, "No model file"),
        ({"model": "../models/block1.onnx"}, "not a file beside"),
        ({"file_sha256": "0" * 64}, "not the model that was tuned"),
        ({"backend": "abacus"}, "Unknown backend"),
    ],
)
def test_a_choice_that_cannot_be_run_is_told(change, words, request_, choice, write, caplog):
    write(replace(choice, **change))
    assert adopt(request_, RunOptions(), anyway=False) is None
    assert words in caplog.messages[-1]
    with pytest.raises((ArtifactError, UsageError), check=says(words)):
        adopt(request_, RunOptions(), anyway=True)


def test_a_model_of_another_layer_is_not_taken(request_, choice, write, monkeypatch, caplog):
    write(choice)
    other = request_artifact("block1_conv1", "none", weights="untrained", models=request_.folder)
    monkeypatch.setattr(tuned_choice, "tuned_path", lambda *_: tuned_path(request_))
    assert adopt(other, RunOptions(), anyway=False) is None
    assert "another layer" in caplog.messages[-1]


def test_what_is_made_small():
    parity = Parity(1e-7, 131.0, 1.0, GATES["fp32"])
    each = Candidate("m", "0", "ncnn", "1", "cpu", "fp32", 2, "fp32", parity, 0.5, 32.0, 0.1, 0.2, 100, 200)
    assert [each.value(name)[0] for name in ("latency", "throughput", "memory", "size")] == [0.5, 1 / 32, 100, 200]
    assert each.value("first")[0] == pytest.approx(0.3)
