"""int8 on processors whose fastest byte products saturate: widened and recorded, or refused, never wrong."""

import platform
import shutil
import subprocess
import sys
from functools import cache

import numpy as np
import pytest

import fmedge
from fmedge.data.images import load_photo
from fmedge.export.calibration import read_calibration
from fmedge.export.exporter import build_artifact
from fmedge.model.run_options import RunOptions
from fmedge.model.submodel import ExportOptions, Format, Precision, SubModel
from fmedge.runtime import backends
from fmedge.runtime.opening import open_session
from fmedge.system.processor import sums_saturate
from fmedge.workflow.artifacts import run_batches
from fmedge.workflow.extraction import Extraction

HASWELL = frozenset(("sse4_2", "avx", "avx2", "fma"))

PROCESSORS = {
    "Haswell": ("x86_64", HASWELL, True),
    "Haswell on Windows": ("AMD64", HASWELL, True),
    "Skylake-X": ("x86_64", HASWELL | {"avx512f", "avx512bw", "avx512vl"}, True),
    "Cascade Lake": ("x86_64", HASWELL | {"avx512f", "avx512_vnni"}, False),
    "Alder Lake": ("x86_64", HASWELL | {"avx_vnni"}, False),
    "Zen 4": ("x86_64", HASWELL | {"avx512f", "avx512_vnni", "avx512_bf16"}, False),
    "Raspberry Pi 4": ("aarch64", frozenset(("fp", "asimd")), False),
    "Raspberry Pi 5": ("aarch64", frozenset(("fp", "asimd", "asimddp")), False),
    "a system that says nothing": ("x86_64", frozenset(), None),
}


@pytest.mark.cases("numbers")
@pytest.mark.parametrize(("architecture", "features", "expected"), PROCESSORS.values(), ids=PROCESSORS)
def test_where_sums_saturate(architecture, features, expected):
    assert sums_saturate(architecture, features) is expected


@pytest.fixture(scope="module")
def make(untrained_network, photos_folder, tmp_path_factory):
    calibration = read_calibration(photos_folder)

    @cache
    def made(kind=Format.ONNX, precision=Precision.INT8, **options):
        if kind is Format.TFLITE:
            pytest.importorskip("ai_edge_litert", reason="needs LiteRT: pip install 'fmedge[litert]'")
        form = ExportOptions(kind, precision, size=(24, 32), **options)
        path = tmp_path_factory.mktemp("vnni") / f"m{kind.suffixes[0]}"
        submodel = SubModel(("block1_conv2",))
        return build_artifact(
            submodel, untrained_network, path, options=form, calibration=calibration, runner=run_batches
        )

    return made


@pytest.fixture
def without_vnni(monkeypatch):
    monkeypatch.setattr(backends, "processor_features", lambda: HASWELL)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")


CHOICES = {
    "8 bits on ONNX Runtime": ("onnxruntime", {}, "wide int8"),
    "8 bits on OpenVINO": ("openvino", {}, "wide int8"),
    "7 bits on ONNX Runtime": ("onnxruntime", {"seven_bit": True}, "fp32"),
    "7 bits on OpenVINO": ("openvino", {"seven_bit": True}, "fp32"),
    "float on ONNX Runtime": ("onnxruntime", {"precision": Precision.FP32}, "fp32"),
    "8 bits on LiteRT": ("litert", {"kind": Format.TFLITE}, "fp32"),
}


@pytest.mark.cases("numbers")
@pytest.mark.parametrize(("backend", "options", "math"), CHOICES.values(), ids=CHOICES)
def test_what_is_chosen_is_recorded(backend, options, math, make, without_vnni, picture):
    pytest.importorskip(backends.find_backend(backend).package)
    artifact = make(**options)
    run = RunOptions(backend)
    extraction = Extraction(artifact.card, "nearest", run)
    with open_session(artifact, run) as session:
        assert session.math == math
        (maps,) = extraction.maps(session, extraction.load(picture)).values()
    assert maps.provenance.facts()["math"] == math
    assert maps.maps.any()
    assert (b"wide int8 arithmetic" in fmedge.render_page(maps)) is (math != "fp32")


def _asked_of_onnxruntime(engine):
    return engine._session.get_session_options().get_session_config_entry("session.x64quantprecision") == "1"


def _asked_of_openvino(engine):
    nodes = [node.get_rt_info() for node in engine._compiled.get_runtime_model().get_ops()]
    kinds = {node["runtimePrecision"].astype(str) for node in nodes if node["layerType"].astype(str) == "Convolution"}
    return kinds == {"f32"}


ASKED = {"onnxruntime": _asked_of_onnxruntime, "openvino": _asked_of_openvino}


@pytest.mark.cases("numbers")
@pytest.mark.parametrize("features", [HASWELL, HASWELL | {"avx_vnni"}], ids=["without VNNI", "with VNNI"])
@pytest.mark.parametrize("seven_bit", [False, True], ids=["8 bits", "7 bits"])
@pytest.mark.parametrize("backend", ASKED)
def test_sums_that_fit_are_asked_for_where_they_are_needed(
    backend, seven_bit, features, make, without_vnni, monkeypatch
):
    pytest.importorskip(backends.find_backend(backend).package)
    artifact = make(seven_bit=seven_bit)
    monkeypatch.setattr(backends, "processor_features", lambda: features)
    needed = features == HASWELL and not seven_bit
    with open_session(artifact, RunOptions(backend)) as session:
        assert ASKED[backend](session._engine) is needed
        assert session.math == ("wide int8" if needed else "fp32")


def test_every_engine_of_wide_sums_is_looked_at():
    assert {row.name for row in backends.BACKENDS if row.without_vnni == "wide"} == set(ASKED)


EMULATED = """
import sys
from pathlib import Path
import numpy as np
import onnxruntime
from fmedge import RunOptions, open_session, read_artifact
folder = Path(sys.argv[1])
images = np.load(folder / "images.npy")
artifact = read_artifact(folder / "m.onnx")
for backend in sys.argv[2:]:
    with open_session(artifact, RunOptions(backend, threads=1)) as session:
        assert session._engine.name == backend and "Isolated" not in type(session._engine).__name__  # it is emulated
        np.save(folder / f"{backend}.npy", session.run(images)["block1_conv2"])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
plain = onnxruntime.InferenceSession(artifact.model, options, providers=["CPUExecutionProvider"])
np.save(folder / "plain.npy", plain.run(None, {"image": images})[0])
"""


@pytest.mark.slow
@pytest.mark.parametrize("processor", ["Haswell", "Skylake-Server"])
def test_on_an_emulated_processor_without_vnni(processor, make, photos_folder, untrained_network, tmp_path, cases):
    """As exact as where there is VNNI, ONNX Runtime to the bit; left to itself it saturates."""
    qemu = shutil.which("qemu-x86_64-static") or shutil.which("qemu-x86_64")
    if qemu is None or platform.machine() != "x86_64":
        pytest.skip("needs x86-64 and its emulator: apt install qemu-user-static")
    pytest.importorskip("onnxruntime")
    artifact = make()
    folder = artifact.path.parent
    images = np.stack([load_photo(path, (24, 32)).pixels for path in sorted(photos_folder.iterdir())[:3]])
    np.save(folder / "images.npy", images)
    with open_session(artifact, RunOptions("onnxruntime", threads=1)) as session:
        expected = session.run(images)["block1_conv2"]
    engines = [name for name in ASKED if backends.find_backend(name).installed]
    command = [qemu, "-cpu", processor, "-U", "OPENBLAS_CORETYPE", sys.executable, "-c", EMULATED, str(folder)]
    subprocess.run([*command, *engines], check=True, capture_output=True, timeout=300)
    exact = untrained_network.reference(artifact.card.submodel, images)["block1_conv2"]
    found = {name: np.load(folder / f"{name}.npy") for name in (*engines, "plain")}
    noise = {name: _snr_db(maps, exact) for name, maps in {**found, "here": expected}.items()}
    print(f"{processor}: {noise}")
    np.testing.assert_array_equal(found["onnxruntime"], expected)
    assert min(noise[name] for name in engines) > noise["here"] - 0.5
    assert noise["plain"] < noise["here"] - 3
    cases("numbers", 1 + len(engines))


def _snr_db(maps, exact):
    return 10 * np.log10((exact**2).sum() / ((maps - exact) ** 2).sum())
