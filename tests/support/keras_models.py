"""Small Keras models, and what the exported ones compute; needs TensorFlow."""

import numpy as np

from fmedge.data.images import parity_image
from fmedge.export.tensorflow.keras_import import keras
from fmedge.model.parity import GATES, measure_parity
from fmedge.model.submodel import ExportOptions
from fmedge.workflow.artifacts import run_batches
from fmedge.workflow.exports import export_submodel

layers = keras.layers


def export(model, folder, layer="conv", activation="relu", **options):
    return export_submodel(layer, activation, keras=model, models=folder, options=ExportOptions(**options))


def run(artifact, images, layer="conv"):
    """(N, H, W, C)."""
    return next(run_batches(artifact, [images]))[layer].transpose(0, 2, 3, 1)


def require_close(found, expected, gate="fp32"):
    parity = measure_parity(found, np.asarray(expected), GATES[gate])
    assert parity.passed, parity.describe()


def photo(size=(32, 32)):
    return parity_image(*size)[np.newaxis]


def chain(*parts, shape=(32, 32, 3), **options):
    keras.utils.set_random_seed(11)
    return keras.Sequential([layers.Input(shape, **options), *parts])


def conv(name="conv", channels=4, **options):
    return layers.Conv2D(channels, 3, name=name, bias_initializer="random_normal", **options)
