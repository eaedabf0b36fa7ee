"""The contract every engine keeps."""

from dataclasses import replace

import numpy as np
import pytest

from fmedge.errors import ArtifactError, BackendUnavailable, UsageError
from fmedge.provision import create_artifact, find_artifact, request_artifact
from fmedge.runtime import BACKENDS, open_session
from fmedge.runtime import backends as table
from fmedge.submodel import ExportOptions, Format


@pytest.fixture(params=[backend.name for backend in BACKENDS])
def backend(request):
    package = table.find_backend(request.param).package
    pytest.importorskip(package, reason=f"{package} is not installed")
    return request.param


def options_for(name):
    """Options that make a model the engine takes."""
    return ExportOptions(format=table.find_backend(name).formats[0])


def model_for(request, verify=True):
    """The model asked for: found (Arm is given those that it cannot make), else made."""
    found = find_artifact(request)
    if found is None and request.options.format is Format.TFLITE:
        pytest.importorskip("tensorflow", reason="writing TFLite needs TensorFlow: pip install 'fmedge[export]'")
    return found or create_artifact(request, verify=verify)


@pytest.fixture
def artifact(backend, untrained_models):
    """block1_conv1 with untrained weights, in a format of the engine's."""
    request = request_artifact(
        "block1_conv1", weights="untrained", models=untrained_models, options=options_for(backend)
    )
    return model_for(request)


@pytest.fixture
def images():
    return np.random.default_rng(3).integers(0, 256, (3, 224, 224, 3), dtype=np.uint8)


def test_outputs_are_float32_nchw_and_owned_by_the_caller(backend, artifact, images):
    with open_session(artifact, backend=backend, threads=1) as session:
        one = session.run(images)["block1_conv1"]
        kept = one.copy()
        two = session.run(images[::-1])["block1_conv1"]
        assert one.dtype == np.float32
        assert one.shape == (3, 64, 224, 224)
        np.testing.assert_array_equal(one, kept)
        one[:] = 0
        np.testing.assert_array_equal(two[0], kept[2])
    assert kept.any()


def test_session_says_where_it_runs(backend, artifact):
    with open_session(artifact, backend=backend, threads=2) as session:
        assert session.backend == backend
        assert session.threads == 2
        assert session.active_provider
        assert session.active_provider in session.placement
        assert set(session.placement) <= {session.active_provider, "builtin"}  # LiteRT casts by itself
        assert sum(session.placement.values()) >= 1


def test_threads_default_to_the_usable_cores(backend, artifact):
    with open_session(artifact, backend=backend) as session:
        assert session.threads == table.usable_cpus()


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((1, 224, 224, 3), np.float32),
        np.zeros((1, 3, 224, 224), np.uint8),
        np.zeros((224, 224, 3), np.uint8),
        np.zeros((0, 224, 224, 3), np.uint8),
        np.zeros((1, 224, 225, 3), np.uint8),
    ],
    ids=["float32", "NCHW", "no batch", "empty", "size"],
)
def test_other_images_are_refused(backend, artifact, wrong):
    with (
        open_session(artifact, backend=backend) as session,
        pytest.raises(UsageError, match="The model takes uint8 N x 224"),
    ):
        session.run(wrong)


def test_images_in_any_memory_order(backend, artifact, images):
    with open_session(artifact, backend=backend) as session:
        expected = session.run(images)["block1_conv1"]
        np.testing.assert_array_equal(session.run(np.asfortranarray(images))["block1_conv1"], expected)


def test_closed_session(backend, artifact, images):
    with open_session(artifact, backend=backend) as session:
        pass
    session.close()
    with pytest.raises(UsageError, match="closed"):
        session.run(images)


def test_damaged_model(backend, artifact):
    with pytest.raises(ArtifactError, match="cannot load"):
        open_session(replace(artifact, model=artifact.model[:200]), backend=backend)


def test_relu_of_the_raw_map_is_the_map(backend, untrained_models, images):
    seen = {}
    for activation in ("relu", "none"):
        request = request_artifact(
            "block2_conv1", activation, weights="untrained", models=untrained_models, options=options_for(backend)
        )
        with open_session(model_for(request, verify=False), backend=backend) as session:
            seen[activation] = session.run(images[:1])["block2_conv1"]
    assert seen["none"].min() < 0
    np.testing.assert_array_equal(np.maximum(seen["none"], 0), seen["relu"])


def test_wrong_choices(block1):
    with pytest.raises(UsageError, match="Closest: 'onnxruntime'"):
        open_session(block1, backend="onnxruntim")
    with pytest.raises(UsageError, match="Unknown device 'tpu'"):
        open_session(block1, device="tpu")
    with pytest.raises(UsageError, match="--threads 0"):
        open_session(block1, threads=0)


def test_missing_engine_names_the_command(block1, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "fmedge.runtime.onnxruntime_backend", raising=False)
    with pytest.raises(BackendUnavailable, match=r"pip install 'fmedge\[cpu\]'"):
        open_session(block1)
