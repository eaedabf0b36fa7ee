"""Keras, with `model.predict`, as the tutorial program does it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from peers import Call


def cut_vgg16(weights: Path, layer: str):  # noqa: ANN201 - a keras.Model, not imported yet
    """Build Keras' VGG16 up to a layer."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from tensorflow import keras

    base = keras.applications.VGG16(include_top=False, weights=weights, input_shape=(224, 224, 3))
    return keras.Model(base.input, base.get_layer(layer).output)


def prepare(weights: Path, layer: str, folder: Path) -> None:
    """Do nothing: there is nothing to prepare."""


def load(weights: Path, layer: str, folder: Path, threads: int) -> Call:
    """Load the model with its weights and return the call."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    model = cut_vgg16(weights, layer)
    preprocess = tf.keras.applications.vgg16.preprocess_input

    def call(photo: np.ndarray) -> np.ndarray:
        maps = model.predict(preprocess(photo.astype(np.float32)), verbose=0)
        return np.ascontiguousarray(maps.transpose(0, 3, 1, 2))

    return call
