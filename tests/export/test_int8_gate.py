"""The gate that knows what an int8 model has to give, and a plan that is the same on every processor."""

import os
import platform
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from fmedge.data.images import parity_image
from fmedge.errors import ParityError
from fmedge.export.calibration import read_calibration
from fmedge.export.exporter import EXPORTERS, build_artifact, describe
from fmedge.export.int8 import plan as int8_plan
from fmedge.export.int8 import recipe as int8_recipe
from fmedge.export.int8 import simulation
from fmedge.export.int8.recipe import make_plan, simulations
from fmedge.export.judging import check, predict
from fmedge.model.parity import GATES, PREDICTION_MARGIN_DB, gate_for, measure_parity
from fmedge.model.run_options import RunOptions
from fmedge.model.submodel import Activation, ExportOptions, Precision, SubModel
from fmedge.runtime.backends import BACKENDS
from fmedge.runtime.engines import onnxruntime_engine
from fmedge.workflow.artifacts import run_batches
from fmedge.workflow.verification import verify_artifact
from support.places import ROOT

SIZE = (24, 32)
FORMATS = sorted({row.format for row in EXPORTERS if Precision.INT8 in row.precisions})
ENGINES = [row.name for row in BACKENDS if set(row.formats) & set(FORMATS)]


@pytest.fixture(scope="module")
def calibration(photos_folder):
    return read_calibration(photos_folder)


@pytest.fixture(scope="module")
def make(untrained_network, calibration, tmp_path_factory):
    def made(backend="onnxruntime", layers="block1_conv2", activation="relu", run=None, **options):
        row = next(row for row in BACKENDS if row.name == backend)
        pytest.importorskip(row.package)
        options = ExportOptions(row.formats[0], Precision.INT8, size=SIZE, **options)
        return build_artifact(
            SubModel(tuple(layers.split("+")), Activation(activation)),
            untrained_network,
            tmp_path_factory.mktemp("made") / f"m{options.format.suffixes[0]}",
            options=options,
            calibration=calibration,
            runner=run or (lambda artifact, sets: run_batches(artifact, sets, RunOptions(backend))),
        )

    return made


def saturating(values, kernel, bias):
    """A convolution that adds pairs of products in 16 bits, as VPMADDUBSW does."""
    height, width, channels = values.shape
    padded = np.pad(values.astype(np.float32), ((1, 1), (1, 1), (0, 0)))
    factors = kernel.astype(np.float32)
    sums = np.zeros((height, width, kernel.shape[-1]))
    for row, column, first in np.ndindex(3, 3, channels // 2):
        pair = slice(2 * first, 2 * first + 2)
        window = padded[row : row + height, column : column + width, pair]
        sums += (window @ factors[row, column, pair]).clip(-(2**15), 2**15 - 1)
    return sums + bias


@pytest.mark.few(6)
@pytest.mark.cases("numbers")
@pytest.mark.parametrize("backend", ENGINES)
@pytest.mark.parametrize(
    ("layers", "activation", "options"),
    [
        ("block1_conv1+block1_conv2+block1_pool+block2_conv1", "relu", {}),
        ("block1_conv1+block2_conv1", "none", {}),
        ("block1_conv2", "relu", {"float_tap": True}),
        ("block1_conv2", "relu", {"seven_bit": True}),
    ],
)
def test_every_engine_gives_what_the_plan_predicts(make, untrained_network, backend, layers, activation, options):
    """Within a fifth of a dB per tap, of 2 that are allowed: engines round a scale's last digit each their own way."""
    artifact = make(backend, layers, activation, **options)
    card, image = artifact.card, parity_image(*SIZE)[np.newaxis]
    (found,) = run_batches(artifact, [image], RunOptions(backend))
    true = untrained_network.reference(card.submodel, image)
    assert set(card.predicted_db) == set(card.submodel.taps)
    for name, predicted in card.predicted_db.items():
        assert measure_parity(found[name], true[name], GATES["int8"]).snr_db == pytest.approx(predicted, abs=0.2)


@pytest.mark.cases("numbers")
def test_wide_sums_take_raw_taps_on_the_way(make, monkeypatch):
    """ONNX Runtime's wide sums failed on weights that two convolutions share."""
    monkeypatch.setattr(onnxruntime_engine, "int8_overflows", lambda card, provider: True)
    artifact = make(layers="block1_conv1+block1_conv2", activation="none")
    assert artifact.card.parity.passed


@pytest.mark.cases("numbers")
@pytest.mark.parametrize("layer", ["block1_conv2", "block2_conv1"])
def test_sums_that_saturate_in_the_calibration_are_caught(make, monkeypatch, layer):
    monkeypatch.setattr(int8_recipe, "_latest", None)
    monkeypatch.setattr(int8_plan, "convolve", saturating)
    with pytest.raises(ParityError, match=r"does not compute.*Allowed: at least \d+"):
        make(layers=layer)


@pytest.mark.cases("numbers")
@pytest.mark.parametrize("layer", ["block1_conv1", "block1_conv2", "block2_conv1"])
def test_sums_that_saturate_in_the_engine_are_caught(make, untrained_network, calibration, monkeypatch, layer):
    """At export, and by ``verify`` on another machine, which knows the card alone."""
    artifact = make(layers=layer)
    plan = make_plan(artifact.card, untrained_network, calibration)

    def engine(artifact, sets, run=None):
        with monkeypatch.context() as patched:
            patched.setattr(simulation, "convolve", saturating)
            yield from [simulations(plan, artifact.card, untrained_network)[0](images) for images in sets]

    with pytest.raises(ParityError, match="does not compute"):
        make(layers=layer, run=engine)
    monkeypatch.setattr("fmedge.workflow.verification.run_batches", engine)
    _, parity = verify_artifact(artifact.path)
    assert not parity.passed
    assert parity.gate.min_snr_db == pytest.approx(artifact.card.predicted_db[layer] - PREDICTION_MARGIN_DB, abs=0.06)


def test_a_card_without_predictions_keeps_the_absolute_gate(make, untrained_network):
    artifact = make()
    old = replace(artifact, card=replace(artifact.card, predicted_db={}))
    assert "predicted_db" not in old.card.to_json()
    assert check(old, untrained_network, run_batches).gate == gate_for("int8", "block1_conv2")


def test_a_prediction_never_loosens_the_gate():
    assert gate_for("int8", "block1_conv2", 25.0) == gate_for("int8", "block1_conv2")
    assert gate_for("int8", "block1_conv2", 40.0).min_snr_db == 38.0
    noise = gate_for("int8", "block3_conv3", 22.7, on_noise=True)  # less than photos have to reach, and than its gate
    assert (noise.min_snr_db, noise.min_cosine) == (20.7, None)
    assert gate_for("int8", "block3_conv3", -99.0, on_noise=True).min_snr_db == 15.0  # a card that asks for nothing
    assert gate_for("fp32", "block1_conv2").max_error_over_range == 1e-4


def test_without_simulations_nothing_is_predicted():
    assert predict((), np.zeros((1, 8, 8, 3)), {}) == {}


def test_a_plan_is_the_same_whether_codes_are_kept_or_computed_anew(untrained_network, calibration, monkeypatch):
    models = []
    for held in (int8_plan.HELD_BYTES, 0):
        monkeypatch.setattr(int8_recipe, "_latest", None)
        monkeypatch.setattr(int8_plan, "HELD_BYTES", held)
        options = ExportOptions(precision=Precision.INT8, size=SIZE)
        card = describe(SubModel(("block1_conv2",)), untrained_network, options)
        models.append(make_plan(card, untrained_network, calibration))
    for kept, computed in zip(*models, strict=True):
        np.testing.assert_array_equal(kept.kernel, computed.kernel)
        np.testing.assert_array_equal(kept.bias, computed.bias)


def test_a_plan_is_taken_again_for_what_it_was_made_for_alone(untrained_network, calibration, monkeypatch):
    monkeypatch.setattr(int8_recipe, "_latest", None)
    made = []
    true = int8_recipe.plan_layers
    monkeypatch.setattr(int8_recipe, "plan_layers", lambda *given, **named: made.append(1) or true(*given, **named))

    def plan(layer, network=untrained_network, photos=calibration, **options):
        card = describe(
            SubModel((layer,)), network, ExportOptions(precision=Precision.INT8, **{"size": SIZE, **options})
        )
        return make_plan(card, network, photos)

    deep = plan("block1_conv2")
    assert [conv.layer for conv in plan("block1_conv1")] == ["block1_conv1"]
    assert plan("block1_conv2", float_tap=True, format="tflite") == deep
    assert len(made) == 1
    plan("block1_conv1", seven_bit=True)
    plan("block1_conv1", size=(32, 32))
    plan("block1_conv1", photos=replace(calibration, sha256="0"))
    kernel, bias = untrained_network.weights["block1_conv1"]
    other = replace(untrained_network, weights={**untrained_network.weights, "block1_conv1": (-kernel, bias)})
    plan("block1_conv1", network=other)
    assert len(made) == 5


ARITHMETIC = {
    "as it is": {},
    "one thread": {"OPENBLAS_NUM_THREADS": "1"},
    "another BLAS kernel": {"OPENBLAS_CORETYPE": "Prescott" if platform.machine() == "x86_64" else "ARMV8"},
    "NumPy with the least": {
        "NPY_DISABLE_CPU_FEATURES": " ".join(np.show_config(mode="dicts")["SIMD Extensions"].get("found", ()))
    },
}


@pytest.mark.cases("numbers")
@pytest.mark.parametrize(
    "model_format", [FORMATS[0], *(pytest.param(each, marks=pytest.mark.slow) for each in FORMATS[1:])]
)
def test_other_kernels_give_the_same_bytes(model_format, photos_folder, tmp_path):
    """The processor chooses how BLAS and NumPy compute; here the environment does."""
    command = [sys.executable, "-m", "fmedge", "export", "--weights", "untrained", "--no-verify", "--precision", "int8"]
    command += ["--layer", "block1_conv2", "--size", "24x32", "--format", str(model_format)]
    found = set()
    for name, settings in ARITHMETIC.items():
        models = tmp_path / name.replace(" ", "_")
        environment = {**{key: value for key, value in os.environ.items() if "OPENBLAS" not in key}, **settings}
        ran = [*command, "--calibration", str(photos_folder), "--models", str(models)]
        subprocess.run(ran, cwd=ROOT, check=True, capture_output=True, env=environment)
        (model,) = models.glob(f"*.{model_format}")
        found.add(model.read_bytes())
    assert len(found) == 1
