"""Engines on graphics cards that are there: FMEDGE_TEST_GPU names them, such as ``cuda,vulkan``, and each must work."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from fmedge.export.exporter import EXPORTERS
from fmedge.model.parity import gate_for, measure_parity
from fmedge.model.run_options import RunOptions
from fmedge.model.submodel import ExportOptions, Precision
from fmedge.runtime.backends import BACKENDS, NOT_GPUS, find_backend
from fmedge.runtime.opening import open_session
from fmedge.runtime.placement import describe_placement
from fmedge.workflow.request import request_artifact
from support.models import artifact_for

HERE = [name for name in os.environ.get("FMEDGE_TEST_GPU", "").split(",") if name]
DEVICES = [
    (backend, provider.device)
    for backend in BACKENDS
    for provider in backend.providers
    if provider.device not in NOT_GPUS and {provider.device, f"{backend.name}-{provider.device}"} & set(HERE)
]
LAYERS = ("block1_conv1", "block1_conv2", "block3_conv3", "block5_conv3")

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not HERE, reason="no GPU here; FMEDGE_TEST_GPU names the devices that are, such as cuda,vulkan"),
]


@pytest.fixture(params=DEVICES or [None], ids=lambda pair: "-".join((pair[0].name, pair[1])) if pair else "none")
def device(request):
    backend, name = request.param
    return backend, RunOptions(backend.name, name)


@pytest.fixture
def images():
    return np.random.default_rng(3).integers(0, 256, (3, 224, 224, 3), dtype=np.uint8)


@pytest.fixture
def make(untrained_models):
    def made(backend, layer, activation="relu", precision=Precision.FP32):
        form = backend.formats[0]
        if not any(row.format is form and precision in row.precisions for row in EXPORTERS):
            pytest.skip(f"{form} has no {precision}")
        options = ExportOptions(form, precision)
        request = request_artifact(layer, activation, weights="untrained", models=untrained_models, options=options)
        return artifact_for(request)

    return made


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("precision", [Precision.FP32, Precision.FP16])
def test_the_whole_model_runs_there_and_right(device, make, images, layer, precision):
    backend, run = device
    artifact = make(backend, layer, precision=precision)
    with open_session(artifact, run) as session:
        assert set(session.placement) == {session.active_provider}
        found = session.run(images)[layer]
        again = session.run(images)[layer]
    with open_session(artifact, RunOptions(backend.name)) as session:
        expected = session.run(images)[layer]
    parity = measure_parity(found, expected, gate_for(precision, layer))
    print(f"{layer} {precision} on {run.device}: {parity.describe()}")
    assert parity.passed, parity.describe()
    assert measure_parity(again, found, gate_for("fp32", layer)).passed  # some kernels sum in no fixed order


def test_relu_of_the_raw_map_is_the_map(device, make, images):
    backend, run = device
    seen = {}
    for activation in ("relu", "none"):
        with open_session(make(backend, "block2_conv1", activation), run) as session:
            seen[activation] = session.run(images[:1])["block2_conv1"]
    assert seen["none"].min() < 0
    assert measure_parity(np.maximum(seen["none"], 0), seen["relu"], gate_for("fp32", "block2_conv1")).passed


def test_buffers_and_batches(device, make, images):
    backend, run = device
    buffers = {"block1_conv1": np.empty((3, 64, 224, 224), np.float32)}
    with open_session(make(backend, "block1_conv1"), run) as session:
        expected = session.run(images)["block1_conv1"]
        assert session.run(images, out=buffers)["block1_conv1"] is buffers["block1_conv1"]
        one = session.run(images[1:2])["block1_conv1"]
    np.testing.assert_allclose(buffers["block1_conv1"], expected, rtol=0, atol=1e-3)
    np.testing.assert_allclose(one, expected[1:2], rtol=0, atol=1e-3)


def test_several_sessions_at_once(device, make, images):
    backend, run = device
    artifact = make(backend, "block1_conv1")
    sessions = [open_session(artifact, run) for _ in range(4)]
    maps = [session.run(images)["block1_conv1"] for session in sessions]
    for session in sessions:
        session.close()
    for each in maps[1:]:
        np.testing.assert_allclose(each, maps[0], rtol=0, atol=1e-3)


_FORKED = """
import json, os, pathlib, signal, sys
import numpy as np
import fmedge

path, backend, device = sys.argv[1:]
run, artifact = fmedge.RunOptions(backend, device), fmedge.read_artifact(pathlib.Path(path))
images = np.full((1, 224, 224, 3), 7, np.uint8)
left_open = fmedge.open_session(artifact, run)
wanted = left_open.run(images)["block1_conv1"]
child = os.fork()
if child == 0:
    signal.alarm(60)
    with fmedge.open_session(artifact, run) as own:
        said = {"provider": own.active_provider, "apart": float(abs(own.run(images)["block1_conv1"] - wanted).max())}
    print(json.dumps(said), flush=True)
    os._exit(0)
_, status = os.waitpid(child, 0)
left_open.run(images)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def test_a_forked_child_computes_there_too(device, make):
    backend, run = device
    command = [sys.executable, "-c", _FORKED, str(make(backend, "block1_conv1").path), backend.name, run.device]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout)
    assert "CPU" not in said["provider"]
    assert said["apart"] < 1e-3


def test_a_data_set_has_the_same_bytes_for_any_number_of_threads(device, make, tmp_path, fmedge_process):
    pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'fmedge[bulk]'")
    backend, run = device
    if run.device != "cuda":
        pytest.skip("only CUDA's convolutions are known to sum in a fixed order")
    model = make(backend, "block3_conv3").path
    generator = np.random.default_rng(5)
    (tmp_path / "photos").mkdir()
    for number in range(24):
        pixels = generator.integers(0, 256, (60, 80, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number}.png")
    found = []
    for threads in (1, 8, 8):
        folder = tmp_path / str(len(found))
        words = ["extract", "photos", "--model", model, "--device", run.device, "--threads", threads]
        fmedge_process(*words, "--output", folder)
        found.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert found[0] == found[1] == found[2]


def test_a_card_that_is_not_there(device, make, picture, fmedge_process):
    backend, run = device
    if run.device != "cuda":
        pytest.skip("CUDA_VISIBLE_DEVICES hides cards from CUDA alone")
    words = ["run", picture, "--model", make(backend, "block1_conv1").path, "--device", run.device]
    said = fmedge_process(*words, "--no-page", "--save-maps", "x.npz", code=5, CUDA_VISIBLE_DEVICES="-1").stderr
    assert "there is no NVIDIA GPU" in said


def test_the_command(device, make, picture, fmedge_process, untrained_models):
    backend, run = device
    make(backend, "block1_conv1")
    words = ["run", picture, "--weights", "untrained", "--models", untrained_models, "--output", "page.html"]
    said = fmedge_process(*words, "--backend", backend.name, "--device", run.device)
    assert "1/1 Conv" in said.stdout + said.stderr
    assert "CPUExecutionProvider" not in said.stdout + said.stderr


def test_gpu_is_the_best_that_is_there(make, images):
    with open_session(make(find_backend("onnxruntime"), "block1_conv1"), RunOptions("onnxruntime", "gpu")) as session:
        assert session.active_provider != "CPUExecutionProvider"
        assert describe_placement(session.placement, session.active_provider).startswith("1/1 Conv on ")
        session.run(images)
