"""Keras to ONNX by tf2onnx, run by ONNX Runtime with its default options."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from peers import Call, model_file
from peers.vgg16_input import preprocess


def prepare(weights: Path, layer: str, folder: Path) -> None:
    """Convert the model."""
    from peers.keras_predict import cut_vgg16

    convert(cut_vgg16(weights, layer), model_file(folder, layer, ".onnx"))


def convert(model, path: Path) -> None:  # noqa: ANN001 - a keras.Model
    """Write a Keras model as ONNX that takes NHWC and gives NCHW, so that nobody has to transpose maps afterwards."""
    import tensorflow as tf
    import tf2onnx

    signature = [tf.TensorSpec((1, 224, 224, 3), tf.float32, name="image")]

    @tf.function(input_signature=signature)
    def maps(image):  # noqa: ANN001, ANN202
        return {"maps": model(image)}

    tf2onnx.convert.from_function(maps, signature, outputs_as_nchw=["maps"], output_path=str(path))


def load(weights: Path, layer: str, folder: Path, threads: int) -> Call:
    """Load the model into a session and return the call."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        model_file(folder, layer, ".onnx"), options, providers=["CPUExecutionProvider"]
    )

    def call(photo: np.ndarray) -> np.ndarray:
        return session.run(None, {"image": preprocess(photo)})[0]

    return call
