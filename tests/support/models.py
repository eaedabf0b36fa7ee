"""Artifacts that tests share: each is made once, whichever worker needs it first; and those that runs make."""

import pytest

from fmedge.model.submodel import Format, Precision
from fmedge.workflow.artifacts import create_artifact
from fmedge.workflow.request import default_options, find_artifact, request_artifact
from support.locks import locked


def artifact_for(request, calibration=None):
    """What was asked for: found, or made by one process while others wait for it; int8 with these photos.

    Some machines cannot make all of them, and find them in FMEDGE_TEST_MODELS.
    """
    int8 = request.options.precision is Precision.INT8
    request.path.parent.mkdir(parents=True, exist_ok=True)
    with locked(request.path.with_name(f"{request.path.name}.lock")):
        found = find_artifact(request)
        if found is None and request.options.format is Format.TFLITE and not int8:
            pytest.importorskip("tensorflow", reason="writing TFLite needs TensorFlow: pip install 'fmedge[export]'")
        return found or create_artifact(request, calibration=calibration if int8 else None)


def name_of_run(layer="block1_conv1", activation="relu"):
    """Name of the model with untrained weights that a run makes of a layer, on the engine that is taken by default."""
    return request_artifact(layer, activation, weights="untrained", options=default_options()).path.name
