"""The ONNX file of tf2onnx, run by OpenVINO with its hint for latency."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from peers import Call, model_file
from peers.plain_onnxruntime import prepare as prepare
from peers.vgg16_input import preprocess


def load(weights: Path, layer: str, folder: Path, threads: int) -> Call:
    """Compile the model and return the call; in f32, because by default OpenVINO takes bf16 where it can."""
    import openvino

    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.Core().compile_model(model_file(folder, layer, ".onnx"), "CPU", settings)

    def call(photo: np.ndarray) -> np.ndarray:
        return model(preprocess(photo))[0]

    return call
