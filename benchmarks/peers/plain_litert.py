"""Keras to TFLite by TensorFlow's converter, run by LiteRT's interpreter."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from peers import Call, model_file
from peers.vgg16_input import preprocess


def prepare(weights: Path, layer: str, folder: Path) -> None:
    """Convert the model."""
    import tensorflow as tf

    from peers.keras_predict import cut_vgg16

    converter = tf.lite.TFLiteConverter.from_keras_model(cut_vgg16(weights, layer))
    model_file(folder, layer, ".tflite").write_bytes(converter.convert())


def load(weights: Path, layer: str, folder: Path, threads: int) -> Call:
    """Load the model into an interpreter and return the call."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(model_file(folder, layer, ".tflite")), num_threads=threads)
    interpreter.allocate_tensors()
    image, maps = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def call(photo: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(image, preprocess(photo))
        interpreter.invoke()
        return np.ascontiguousarray(interpreter.get_tensor(maps).transpose(0, 3, 1, 2))

    return call
