"""Weights in place: the same model, the same bits."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from fmedge.model.run_options import RunOptions
from fmedge.model.submodel import ExportOptions, Precision
from fmedge.runtime.engines.onnx_weights import detach_weights
from fmedge.runtime.opening import open_session
from fmedge.workflow.request import request_artifact
from support.models import artifact_for


@pytest.fixture(params=[Precision.FP32, Precision.FP16])
def artifact(request, untrained_models):
    options = ExportOptions(precision=request.param)
    asked = request_artifact("block3_conv1", weights="untrained", models=untrained_models, options=options)
    return artifact_for(asked)


@pytest.fixture
def image():
    return np.random.default_rng(5).integers(0, 256, (1, 224, 224, 3), dtype=np.uint8)


def test_every_large_constant_is_detached_and_none_is_copied(artifact):
    skeleton, weights = detach_weights(artifact.model)
    whole = {tensor.name: tensor for tensor in onnx.load_model_from_string(artifact.model).graph.initializer}
    assert set(weights) == {name for name, tensor in whole.items() if len(tensor.raw_data) >= 1 << 16}
    for name, values in weights.items():
        assert np.array_equal(values, numpy_helper.to_array(whole[name]))
        assert not values.flags.owndata
        assert not values.flags.writeable
    assert len(skeleton) < 1 << 16
    assert [node.name for node in onnx.load_model_from_string(skeleton).graph.node]


def test_exported_constants_lie_on_cache_lines(artifact):
    for tensor in onnx.load_model_from_string(artifact.model).graph.initializer:
        if len(tensor.raw_data) >= 1 << 12:
            assert artifact.model.index(tensor.raw_data) % 64 == 0


def test_the_same_bits_as_from_the_file_as_a_whole(artifact, image):
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = 2
    whole = ort.InferenceSession(artifact.model, settings, providers=["CPUExecutionProvider"])
    with open_session(artifact, RunOptions(threads=2)) as session:
        assert np.array_equal(session.run(image)["block3_conv1"], whole.run(None, {"image": image})[0])


def test_what_does_not_lie_aligned_stays_in_the_model(artifact):
    shifted = onnx.load_model_from_string(artifact.model)
    seen = set()
    for length in range(4):
        shifted.producer_name = "x" * (64 + length)
        content = shifted.SerializeToString()
        skeleton, weights = detach_weights(content)
        seen.add(len(weights) > 0)
        onnx.checker.check_model(content)
        assert bool(weights) == (skeleton != content)
    assert seen == {True, False}


def test_once_differs_in_the_last_digits_alone(artifact, image, monkeypatch):
    from fmedge.runtime.engines import onnxruntime_engine

    monkeypatch.setattr(onnxruntime_engine, "_LARGE_BYTES", 0)
    with open_session(artifact, RunOptions()) as often, open_session(artifact, RunOptions(once=True)) as once:
        first, second = often.run(image)["block3_conv1"], once.run(image)["block3_conv1"]
        own = np.empty_like(first)
        once.run(image, out={"block3_conv1": own})
    assert np.abs(first - second).max() <= 1e-5 * np.ptp(first)
    assert np.array_equal(second, own)


def test_constants_as_inputs(artifact):
    skeleton, weights = detach_weights(artifact.model, as_inputs=True)
    read = onnx.load_model_from_string(skeleton)
    onnx.checker.check_model(read)
    declared = {
        node.name: [extent.dim_value for extent in node.type.tensor_type.shape.dim] for node in read.graph.input
    }
    assert {name: declared[name] for name in weights} == {name: list(array.shape) for name, array in weights.items()}
    assert not set(weights) & {tensor.name for tensor in read.graph.initializer}
