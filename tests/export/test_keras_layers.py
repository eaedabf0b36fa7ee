"""The layers of Keras models: shapes, what a value sees, what it costs, names."""

import json

import numpy as np
import pytest

from fmedge.cli import main
from fmedge.workflow.layers import list_layers
from support.places import TEST_DATA

pytestmark = pytest.mark.keras
tensorflow = pytest.importorskip("tensorflow", reason="needs TensorFlow: pip install 'fmedge[export]'")
from fmedge.export.tensorflow.keras_calls import find_place  # noqa: E402
from fmedge.export.tensorflow.keras_import import keras  # noqa: E402
from fmedge.export.tensorflow.keras_layers import keras_views  # noqa: E402
from fmedge.export.views import tap_view  # noqa: E402

layers = keras.layers


def network():
    image = layers.Input((33, 48, 3), name="image")
    values = layers.Conv2D(4, (3, 5), strides=2, dilation_rate=1, padding="same", name="oblong")(image)
    values = layers.LeakyReLU(name="leaky")(values)
    values = layers.DepthwiseConv2D(3, dilation_rate=2, padding="same", depth_multiplier=2, name="wide")(values)
    narrow = layers.SeparableConv2D(8, 3, padding="same", activation="relu", name="separable")(values)
    values = layers.Add(name="sum")([values, narrow])
    values = layers.AveragePooling2D(3, strides=2, name="mean")(values)
    values = layers.Conv2DTranspose(6, 4, strides=2, name="up")(values)
    values = layers.Conv2D(6, 3, groups=2, name="grouped")(values)
    values = layers.UpSampling2D((2, 3), name="larger")(values)
    values = layers.Cropping2D(((3, 1), (2, 2)), name="cropped")(layers.ZeroPadding2D(((1, 0), (2, 5)))(values))
    values = layers.GlobalAveragePooling2D(name="whole")(values)
    return keras.Model(image, layers.Dense(5, name="head")(values))


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    path = tmp_path_factory.mktemp("layers") / "model.keras"
    network().save(path)
    return {row.name: row for row in list_layers(keras=path)}


EXPECTED = {
    # shape, stride, receptive field, parameters, multiplications
    "oblong": ((4, 17, 24), (2, 2), (3, 5), 184, 17 * 24 * 4 * 45),
    "leaky": ((4, 17, 24), (2, 2), (3, 5), 0, 0),
    "wide": ((8, 17, 24), (2, 2), (11, 13), 80, 17 * 24 * 8 * 9),
    "separable": ((8, 17, 24), (2, 2), (15, 17), 144, 17 * 24 * 8 * (9 + 8)),
    "sum": ((8, 17, 24), (2, 2), (15, 17), 0, 0),
    "mean": ((8, 8, 11), (4, 4), (19, 21), 0, 0),
    "up": ((6, 18, 24), (2, 2), (23, 25), 774, 8 * 11 * 8 * 6 * 16),
    "grouped": ((6, 16, 22), (2, 2), (27, 29), 168, 16 * 22 * 6 * 27),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_keras_model(rows, name):
    row = rows[name]
    found = (row.shape, row.stride, row.receptive_field, row.parameters, row.macs)
    assert found == EXPECTED[name]
    assert row.obstacle is None


def test_activations_and_what_cannot_be_cut(rows):
    activations = {name: row.activation for name, row in rows.items() if row.activation}
    slope = "leaky_relu(negative_slope=0.3)"
    assert activations == {"oblong": slope, "leaky": slope, "separable": "relu"}
    assert rows["whole"].obstacle == "a tensor of shape (None, 6)"
    assert (rows["head"].kind, rows["head"].macs, rows["head"].stride) == ("Dense", 30, None)


@pytest.mark.parametrize(
    ("name", "axis"),
    [(name, axis) for name in ("oblong", "wide", "mean", "up", "grouped", "larger", "cropped") for axis in (0, 1)],
)
def test_the_receptive_field_is_what_a_value_depends_on(name, axis):
    """Seen from outside: which pixels change a value in the middle of the map."""
    model = network()
    generator = np.random.default_rng(3)
    model.set_weights([generator.uniform(0.1, 1, array.shape) for array in model.get_weights()])
    (views,) = keras_views(model, [find_place(model, name)], (33, 48))
    view = tap_view(views)
    pixels = tensorflow.Variable(np.full((1, 33, 48, 3), 0.5, np.float32))
    with tensorflow.GradientTape() as tape:
        values = keras.Model(model.inputs, model.get_layer(name).output)(pixels, training=False)
        place = values.shape[1] // 2, values.shape[2] // 2
        middle = values[0, *place, 0]
    seen = np.abs(tape.gradient(middle, pixels).numpy()[0]).sum(axis=(1 - axis, 2))
    (places,) = np.nonzero(seen)
    centre = view.centre[axis] + place[axis] * view.stride[axis]
    low, high = centre - view.receptive_field[axis] / 2, centre + view.receptive_field[axis] / 2
    extent = pixels.shape[1 + axis]
    # In an enlarged map neighbours share what they see, so it lies up to half a step of the map before to one side.
    aside = {"up": 2, "grouped": 2, "larger": 3, "cropped": 3}.get(name, 0)
    assert abs(places.min() - max(low, 0)) <= aside
    assert abs(places.max() + 1 - min(high, extent)) <= aside


def list_rows(model):
    from fmedge.export.tensorflow.keras_layers import keras_rows

    return keras_rows(model, model.inputs[0].shape[1:3])


def test_every_name_can_be_asked_for():
    inner = keras.Sequential([layers.Input((8, 8, 3)), layers.Conv2D(3, 3, padding="same", name="conv")], name="inner")
    other = keras.Sequential([layers.Input((8, 8, 3)), layers.Conv2D(3, 3, padding="same", name="conv")], name="other")
    image = layers.Input((8, 8, 3))
    shared = layers.Conv2D(3, 1, name="shared")
    model = keras.Model(image, shared(other(inner(shared(image)))))
    names = [row.name for row in list_rows(model)]
    assert names == ["shared#1", "inner/conv", "inner", "other/conv", "other", "shared#2"]
    assert len({id(find_place(model, name).node) for name in names}) == len(names)


def test_open_and_other_sizes(tmp_path, capsys):
    image = layers.Input((None, None, 3))
    small = layers.MaxPooling2D(name="pool")(layers.Conv2D(2, 3, padding="same", name="conv")(image))
    both = layers.Concatenate(name="both")([image, layers.UpSampling2D(name="up")(small)])
    keras.Model(image, both).save(tmp_path / "any.keras")
    rows = {row.name: row for row in list_layers(keras=tmp_path / "any.keras")}
    assert (rows["conv"].shape, rows["conv"].macs, rows["up"].stride) == ((2, None, None), None, (1, 1))
    rows = {row.name: row for row in list_layers(keras=tmp_path / "any.keras", size=(12, 16))}
    assert (rows["both"].shape, rows["conv"].macs) == ((5, 12, 16), 12 * 16 * 2 * 27)
    assert main(["layers", "--keras", str(tmp_path / "any.keras"), "--size", "13"]) == 2
    said = capsys.readouterr().err
    assert "'both' does not work at this --size: its inputs are (12, 12) and (13, 13) pixels" in said


@pytest.mark.imagenet
def test_published_models(capsys):
    for name in ("tm_keras_model.h5", "vww_96.h5", "unet_model.keras", "fer_mini_xception.hdf5"):
        assert main(["layers", "--keras", str(TEST_DATA / "public_models" / name), "--json"]) == 0
        rows = json.loads(capsys.readouterr().out)
        assert len({row["name"] for row in rows}) == len(rows)
        assert sum("Conv2D" in row["kind"] and not row["obstacle"] for row in rows) >= 9
