"""The tutorial program from which fmedge grew, rewritten: Keras, TensorFlow, Plotly subplots.

Load VGG16 without its top, cut it at a layer, preprocess one photo, predict, apply ReLU, draw every channel
as a grey heatmap in a square grid, write HTML. It stays the way such programs are written, including upside-down
heatmaps and a scale per channel, so that `end_to_end.py` can compare with it.

    python tutorial.py photo.jpg block1_conv1 weights.h5 output.html
"""

from __future__ import annotations

import math
import sys

import numpy as np
import plotly.graph_objects as go
import tensorflow as tf
from plotly.subplots import make_subplots
from tensorflow import keras


def main(image: str, layer: str, weights: str, output: str) -> None:
    """Run the whole program."""
    base = keras.applications.VGG16(include_top=False, weights=weights)
    model = keras.Model(inputs=base.input, outputs=base.get_layer(layer).output)

    photo = keras.utils.load_img(image, target_size=(224, 224))
    batch = np.expand_dims(keras.utils.img_to_array(photo), axis=0)
    maps = model.predict(keras.applications.vgg16.preprocess_input(batch), verbose=0)

    channels = maps.shape[-1]
    side = math.ceil(math.sqrt(channels))
    figure = make_subplots(rows=side, cols=side)
    for index in range(channels):
        values = tf.nn.relu(maps[0, :, :, index]).numpy()
        heatmap = go.Heatmap(z=values, colorscale="gray", showscale=False)
        figure.add_trace(heatmap, row=index // side + 1, col=index % side + 1)
    figure.update_layout(title=layer, width=800, height=800)
    figure.write_html(output)


if __name__ == "__main__":
    main(*sys.argv[1:5])
