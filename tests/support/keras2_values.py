"""Compute with Keras 2 what layers of published models give, and keep some of the values.

For an environment with tf_keras: ``python keras2_values.py FOLDER > keras2_values.json``, FOLDER being where the models
are. The values in ``keras2_values.json`` are of tf_keras 2.21.0 with TensorFlow 2.21.0 on x86-64.
"""

import io
import json
import re
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np

MODELS = {
    "vww_96.h5": (1 / 255, 0, ("conv2d", "depthwise_conv2d_6", "conv2d_13")),
    "tm_keras_model.h5": (1 / 127.5, 1, ("Conv1", "block_6_depthwise", "Conv_1")),
    "lane_full_cnn.h5": (1, 0, ("Conv1", "Conv4", "Final")),
    "mert_cifar10.keras": (1 / 255, 0, ("conv2d_12", "conv2d_13", "conv2d_14")),
    "tiny_resnet.h5": (1, 0, ("conv2d", "conv2d_4", "conv2d_8")),
    "dl4j_12net.h5": (1 / 128, 127.5 / 128, ("conv1", "conv2", "conv4-2")),
    "fer_mini_xception.hdf5": (1 / 127.5, 1, ("conv2d_1", "separable_conv2d_4", "conv2d_7")),
}
"""Per file: pixels are multiplied by the first number, less the second; an early, a middle and the last convolution."""


def image(height, width, channels):
    """Pixels that any program can compute again."""
    row, column, channel = np.indices((height, width, channels))
    return ((7 * row + 13 * column + 29 * channel + row * column // 5) % 256).astype(np.float32)[np.newaxis]


def some(values):
    """Some of an array's values, from all over it."""
    return values.ravel()[np.linspace(0, values.size - 1, 24).astype(int)]


def load(path):
    import tf_keras

    if path.suffix != ".keras":
        return tf_keras.models.load_model(path, compile=False)
    with zipfile.ZipFile(path) as archive:  # older than the layout that tf_keras reads
        model = tf_keras.Sequential.from_config(json.loads(archive.read("config.json"))["config"])
        with h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
            groups = file["_layer_checkpoint_dependencies"]
            for kind in ("conv2d", "dense"):
                names = [name for name in groups if re.fullmatch(rf"{kind}(_\d+)?", name)]
                names.sort(key=lambda name: int(name.rpartition("_")[2]) if "_" in name else 0)
                found = [layer for layer in model.layers if layer.name.startswith(kind)]
                for name, layer in zip(names, found, strict=True):
                    layer.set_weights([groups[name]["vars"][index][()] for index in ("0", "1")])
    return model


def output_of(model, name, pixels):
    """The output of a layer, wherever it is nested."""
    import tf_keras

    for layer in model.layers:
        if isinstance(layer, tf_keras.Model):
            found = output_of(layer, name, pixels)
            if found is not None:
                return found
        if layer.name == name:
            return tf_keras.Model(model.inputs, layer.output)(pixels, training=False).numpy()
    return None


def main(folder):
    found = {}
    for file, (scale, offset, names) in MODELS.items():
        model = load(folder / file)
        size = [extent or 40 for extent in model.input_shape[1:]]
        for name in names:
            values = output_of(model, name, image(*size) * np.float32(scale) - np.float32(offset))
            found.setdefault(file, {})[name] = [float(f"{value:.8g}") for value in some(values)]
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
