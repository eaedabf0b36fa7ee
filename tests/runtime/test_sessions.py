"""The contract every engine keeps, over the table of engines and the precisions their formats have."""

import os
import re
import subprocess
import sys
import threading
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from fmedge.data.images import load_photo
from fmedge.errors import ArtifactError, BackendUnavailable, ProviderUnavailable, UsageError
from fmedge.export.exporter import EXPORTERS
from fmedge.model.parity import GATES, gate_for, measure_parity
from fmedge.model.run_options import RunOptions
from fmedge.model.submodel import ExportOptions, Format, Precision
from fmedge.runtime import backends as table
from fmedge.runtime.backends import BACKENDS
from fmedge.runtime.opening import open_session
from fmedge.runtime.placement import describe_placement
from fmedge.system.install import install_command
from fmedge.system.processor import missing_features
from fmedge.workflow.request import request_artifact
from support.messages import says
from support.models import artifact_for
from support.places import ROOT

CASES = [
    (backend.name, form, precision)
    for backend in BACKENDS
    for form in backend.formats
    for precision in Precision
    if any(row.format is form and precision in row.precisions for row in EXPORTERS)
]
"""Every engine with every form and precision that it takes."""

SIZE = (64, 96)
"""Of the images, unless a test says otherwise: no smaller one tells more, and most of the time goes into them."""


def require_engine(name):
    package = table.find_backend(name).package
    pytest.importorskip(package, reason=f"{package} is not installed")


@pytest.fixture(params=CASES, ids=["-".join(case) for case in CASES])
def case(request):
    require_engine(request.param[0])
    return request.param


@pytest.fixture
def backend(case):
    return case[0]


@pytest.fixture
def make(untrained_models, photos_folder):
    """Export a model with untrained weights, or take it where it is already."""

    def made(form, precision, layer="block1_conv1", activation="relu", **options):
        options = ExportOptions(Format(form), Precision(precision), **{"size": SIZE, **options})
        request = request_artifact(layer, activation, weights="untrained", models=untrained_models, options=options)
        return artifact_for(request, photos_folder)

    return made


@pytest.fixture
def artifact(case, make):
    return make(*case[1:])


@pytest.fixture
def images(photos_folder):
    """Three pictures like those that int8 was calibrated on."""
    return np.stack([load_photo(path, SIZE).pixels for path in sorted(photos_folder.iterdir())[:3]])


def test_outputs_are_float32_nchw_and_owned_by_the_caller(backend, artifact, images):
    with open_session(artifact, RunOptions(backend, threads=1)) as session:
        one = session.run(images)["block1_conv1"]
        kept = one.copy()
        two = session.run(images[::-1])["block1_conv1"]
        assert one.dtype == np.float32
        assert one.shape == (3, 64, *SIZE)
        np.testing.assert_array_equal(one, kept)
        one[:] = 0
        np.testing.assert_array_equal(two[0], kept[2])
    assert kept.any()
    np.testing.assert_array_equal(two[2], kept[0])


def test_same_card_same_image_same_gates(case, artifact, images, make):
    exact = make("onnx", "fp32")
    with open_session(exact, RunOptions("onnxruntime")) as session:
        expected = session.run(images)["block1_conv1"]
    with open_session(artifact, RunOptions(case[0])) as session:
        found = session.run(images)["block1_conv1"]
    parity = measure_parity(found, expected, gate_for(case[2], "block1_conv1"))
    assert parity.passed, parity.describe()


def test_out_is_filled_and_returned(backend, artifact, images):
    buffers = {"block1_conv1": np.empty((3, 64, *SIZE), np.float32)}
    with open_session(artifact, RunOptions(backend)) as session:
        expected = session.run(images)["block1_conv1"]
        for batch in (images, images[::-1]):
            found = session.run(batch, out=buffers)
            assert found["block1_conv1"] is buffers["block1_conv1"]
        np.testing.assert_array_equal(buffers["block1_conv1"], expected[::-1])
        kept = buffers["block1_conv1"].copy()
        session.run(images)
        np.testing.assert_array_equal(buffers["block1_conv1"], kept)


@pytest.mark.parametrize(
    "out",
    [
        {},
        {"other": np.empty((3, 64, *SIZE), np.float32)},
        {"block1_conv1": np.empty((3, 64, *SIZE), np.float64)},
        {"block1_conv1": np.empty((3, *SIZE, 64), np.float32)},
        {"block1_conv1": np.empty((2, 64, *SIZE), np.float32)},
        {"block1_conv1": np.empty((3, SIZE[0], 64, SIZE[1]), np.float32).swapaxes(1, 2)},
    ],
    ids=["none", "name", "type", "layout", "batch", "strides"],
)
def test_other_buffers_are_refused(backend, artifact, images, out):
    with open_session(artifact, RunOptions(backend)) as session, pytest.raises(UsageError, match="out"):
        session.run(images, out=out)


def test_session_says_where_it_runs(backend, artifact):
    row = table.find_backend(backend)
    wide = row.without_vnni == "wide" and table.int8_overflows(artifact.card, row.providers[0]) is not False
    with open_session(artifact, RunOptions(backend, threads=2)) as session:
        assert (session.backend, session.threads, session.math) == (backend, 2, table.WIDE if wide else "fp32")
        assert session.active_provider in session.placement
        assert set(session.placement) <= {session.active_provider, "builtin"}  # LiteRT casts by itself
        assert describe_placement(session.placement, session.active_provider).startswith("1/1 ")


def test_threads_default_to_the_usable_cores(backend, artifact):
    with open_session(artifact, RunOptions(backend)) as session:
        assert session.threads == table.usable_cpus()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot bind threads to cores")
def test_threads_are_bound_to_the_cores_named(backend, artifact, images):
    core = max(os.sched_getaffinity(0))
    before = os.sched_getaffinity(0)
    with open_session(artifact, RunOptions(backend, cpus=(core,))) as session:
        assert session.threads == 1
        session.run(images)
    assert os.sched_getaffinity(0) == before
    with pytest.raises(UsageError, check=says("--cpus 99999: allowed here")):
        open_session(artifact, RunOptions(backend, cpus=(99999,)))


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((1, *SIZE, 3), np.float32),
        np.zeros((1, 3, *SIZE), np.uint8),
        np.zeros((*SIZE, 3), np.uint8),
        np.zeros((0, *SIZE, 3), np.uint8),
        np.zeros((1, SIZE[0], SIZE[1] + 1, 3), np.uint8),
    ],
    ids=["float32", "NCHW", "no batch", "empty", "size"],
)
def test_other_images_are_refused(backend, artifact, wrong):
    with (
        open_session(artifact, RunOptions(backend)) as session,
        pytest.raises(UsageError, match="The model takes uint8 N x 64"),
    ):
        session.run(wrong)


def test_images_in_any_memory_order(backend, artifact, images):
    with open_session(artifact, RunOptions(backend)) as session:
        expected = session.run(images)["block1_conv1"]
        np.testing.assert_array_equal(session.run(np.asfortranarray(images))["block1_conv1"], expected)


def test_batches_of_any_size_one_after_the_other(backend, artifact, images):
    with open_session(artifact, RunOptions(backend)) as session:
        whole = session.run(images)["block1_conv1"]
        for count in (1, 3, 2):
            np.testing.assert_allclose(session.run(images[:count])["block1_conv1"], whole[:count], rtol=0, atol=1e-3)


def test_closed_session(backend, artifact, images):
    with open_session(artifact, RunOptions(backend)) as session:
        pass
    session.close()
    with pytest.raises(UsageError, match="closed"):
        session.run(images)


def test_threads_take_turns_or_are_told(backend, artifact, images):
    """A run in another thread is a result like any other, or a clear error while one is going on; never a crash."""
    outcomes = []
    with open_session(artifact, RunOptions(backend, threads=1)) as session:
        expected = session.run(images)["block1_conv1"]

        def work():
            for _ in range(6):
                try:
                    outcomes.append(np.array_equal(session.run(images)["block1_conv1"], expected))
                except UsageError as error:
                    outcomes.append(error.in_full())

        workers = [threading.Thread(target=work) for _ in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    told = {outcome for outcome in outcomes if outcome is not True}  # a wrong result would stand here as False
    assert len(outcomes) == 18
    assert outcomes.count(True) >= 1
    assert told <= {"The session is running in another thread. Open one per thread: fmedge.open_session."}


def test_a_second_thread_is_told(backend, artifact, images, monkeypatch):
    """For certain: it comes while the engine computes."""
    errors = []
    with open_session(artifact, RunOptions(backend, threads=1)) as session:
        expected = session.run(images[:1])["block1_conv1"]
        compute = session._engine.compute

        def intrude():
            try:
                session.run(images[:1])
            except UsageError as error:
                errors.append(error.in_full())

        def computing(*arguments):
            other = threading.Thread(target=intrude)
            other.start()
            other.join()
            return compute(*arguments)

        monkeypatch.setattr(session._engine, "compute", computing)
        np.testing.assert_array_equal(session.run(images[:1])["block1_conv1"], expected)
    assert errors == ["The session is running in another thread. Open one per thread: fmedge.open_session."]


def test_damaged_model(backend, artifact):
    with pytest.raises(ArtifactError, match=artifact.path.name):
        open_session(replace(artifact, model=artifact.model[:200]), RunOptions(backend))


def test_dynamic_sizes(case, make, images):
    backend, form, precision = case
    if (form, precision) == ("tflite", "int8"):
        pytest.skip("int8 TFLite has a fixed size")
    found = make(form, precision, size=None)
    with (
        open_session(found, RunOptions(backend)) as session,
        open_session(make("onnx", "fp32", size=None), RunOptions("onnxruntime")) as exact,
    ):
        for height, width in ((64, 96), (33, 47), (1, 1), (64, 96)):
            part = images[:1, :height, :width]
            maps = session.run(part)["block1_conv1"]
            assert maps.shape == (1, 64, height, width)
            gate = replace(gate_for(precision, "block1_conv1"), max_error_over_range=None)
            parity = measure_parity(maps, exact.run(part)["block1_conv1"], gate)
            assert parity.passed or (height, width) == (1, 1), parity.describe()  # one pixel is no signal


@pytest.mark.parametrize("name", [backend.name for backend in BACKENDS])
def test_relu_of_the_raw_map_is_the_map(name, make, images):
    require_engine(name)
    form = table.find_backend(name).formats[0]
    seen = {}
    for activation in ("relu", "none"):
        with open_session(make(form, "fp32", "block2_conv1", activation), RunOptions(name)) as session:
            seen[activation] = session.run(images[:1])["block2_conv1"]
    assert seen["none"].min() < 0
    np.testing.assert_array_equal(np.maximum(seen["none"], 0), seen["relu"])


@pytest.mark.parametrize("pair", list(combinations([backend.name for backend in BACKENDS], 2)), ids="-".join)
def test_any_two_engines_agree(pair, make, images):
    found = []
    for name in pair:
        require_engine(name)
        with open_session(make(table.find_backend(name).formats[0], "fp32", "block3_conv3"), RunOptions(name)) as one:
            found.append(one.run(images[:1])["block3_conv3"])
    parity = measure_parity(*found, GATES["fp32"])
    assert parity.passed, parity.describe()


@pytest.mark.imagenet
@pytest.mark.parametrize("name", [backend.name for backend in BACKENDS])
def test_engines_agree_on_real_weights_and_a_photo(name, real_weights, photos, untrained_models):
    require_engine(name)
    form = table.find_backend(name).formats[0]
    pixels = load_photo(photos[0], (224, 224)).pixels[np.newaxis]
    found = []
    for kind, engine in ((Format.ONNX, "onnxruntime"), (form, name)):
        options = ExportOptions(format=kind)
        request = request_artifact("block3_conv3", weights=str(real_weights), models=untrained_models, options=options)
        with open_session(artifact_for(request), RunOptions(engine)) as session:
            found.append(session.run(pixels)["block3_conv3"])
    parity = measure_parity(found[1], found[0], GATES["fp32"])
    assert parity.passed, parity.describe()


def test_wrong_choices(block1):
    for options, message in (
        (RunOptions("onnxruntim"), "Closest: 'onnxruntime'"),
        (RunOptions("litert"), "litert does not run onnx models"),
        (RunOptions(device="tpu"), "Unknown device 'tpu'"),
        (RunOptions("onnxruntime", "vulkan"), "Unknown device 'vulkan' for onnxruntime"),
        (RunOptions("onnxruntime", math="bf16"), "onnxruntime does not offer --math bf16"),
        (RunOptions(threads=0), "--threads 0"),
        (RunOptions(threads=100_000), "--threads 100000"),
    ):
        with pytest.raises(UsageError, check=says(message)):
            open_session(block1, options)


EXTRAS = {"onnxruntime": "cpu", "openvino": "openvino", "ncnn": "ncnn", "litert": "litert", "native": "native"}


@pytest.mark.parametrize("name", [backend.name for backend in BACKENDS])
def test_missing_engine_names_the_command(name, make, monkeypatch):
    row = table.find_backend(name)
    require_engine(name)
    artifact = make(row.formats[0], "fp32")
    for module in [row.package, *(module for module in sys.modules if module.startswith(f"{row.package}."))]:
        monkeypatch.setitem(sys.modules, module, None)
    for module in (row.module, row.module.replace("_engine", "_library")):
        monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(BackendUnavailable, check=says(re.escape(f"Install it: {install_command(EXTRAS[name])}."))):
        open_session(artifact, RunOptions(name))


@pytest.mark.parametrize(
    ("name", "device", "said"),
    [
        ("onnxruntime", "cuda", "no CUDAExecutionProvider"),
        ("onnxruntime", "FpgaExecutionProvider", "no FpgaExecutionProvider"),
        ("onnxruntime", "gpu", "No GPU works here (onnxruntime: cuda, tensorrt, dml, coreml)"),
        ("openvino", "gpu", "OpenVINO finds no GPU"),
        ("litert", "gpu", "LiteRT"),
    ],
)
def test_a_device_that_is_not_there(name, device, said, make, images):
    require_engine(name)
    artifact = make(table.find_backend(name).formats[0], "fp32")
    try:
        session = open_session(artifact, RunOptions(name, device))
    except ProviderUnavailable as error:
        assert said in str(error)
    else:
        session.close()
        pytest.skip(f"there is a {device} here")
    with open_session(artifact, RunOptions(name, device, allow_fallback=True)) as session:
        assert "CPU" in session.active_provider or session.active_provider == "XNNPACK"
        assert session.run(images)["block1_conv1"].any()


def test_litert_gpu_by_itself(make):
    """In a process of ours without TensorFlow: a session on the GPU, or one clear line and nothing else on stderr."""
    require_engine("litert")
    script = (
        "import sys; from pathlib import Path; import fmedge; from fmedge.system.stderr import own_process\n"
        "artifact = fmedge.read_artifact(Path(sys.argv[1]))\n"
        "try:\n"
        "  with own_process(): fmedge.open_session(artifact, fmedge.RunOptions('litert', 'gpu')).close()\n"
        "except fmedge.FmedgeError as error: print(error, file=sys.stderr); sys.exit(error.exit_code)"
    )
    words = [sys.executable, "-c", script, str(make("tflite", "int8").path)]
    ran = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert ran.returncode in (0, 5), ran.stderr
    assert ran.returncode == 0 or (ran.stderr.startswith("LiteRT") and ran.stderr.count("\n") == 1), ran.stderr


def test_litert_compiled_model_computes_the_same(make, images):
    """The engine for accelerators, on the one accelerator that every machine has."""
    require_engine("litert")
    if lacking := missing_features("LiteRT's GPU"):
        pytest.skip(f"LiteRT's accelerators need {', '.join(lacking)}")
    artifact = make("tflite", "int8")
    script = (
        "import sys, numpy as np; from pathlib import Path\n"
        "from fmedge.model.artifact import read_artifact\n"
        "from fmedge.runtime.engines.litert_engine import open_compiled\n"
        "engine = open_compiled(read_artifact(Path(sys.argv[1])), 'CPU')\n"
        "images = np.load(sys.argv[2])\n"
        "for count in (1, 3, 2): maps = engine.compute(images[:count], {})['block1_conv1']\n"
        "np.save(sys.argv[3], maps.transpose(0, 3, 1, 2)); engine.close()"
    )
    pixels, maps = artifact.path.with_name("pixels.npy"), artifact.path.with_name("maps.npy")
    np.save(pixels, images)
    words = [str(artifact.path), str(pixels), str(maps)]
    ran = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, cwd=ROOT)
    assert ran.returncode == 0, ran.stderr
    with open_session(artifact) as session:
        np.testing.assert_array_equal(np.load(maps), session.run(images[:2])["block1_conv1"])
