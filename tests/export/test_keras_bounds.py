"""Bounds on Keras files: what breaks one is refused before it is read or built, what keeps it is read."""

import io
import json
import struct
import warnings
import zipfile
import zlib

import h5py
import numpy as np
import pytest

from fmedge.errors import FmedgeError, LimitExceeded, UsageError
from fmedge.model.keras_config import MAX_CONFIG_BYTES, MAX_LINKS, MAX_PARTS, UNPACKED_FREELY, read_config
from fmedge.model.network_input import NetworkInput
from fmedge.model.submodel import ExportOptions
from fmedge.workflow.own_networks import MAX_OWN_PIXELS, settle_options
from support.messages import says
from support.strangers import (
    GOOD,
    called,
    chunked,
    convolution,
    doubled,
    functional,
    hdf5,
    image_layer,
    keras_file,
    kernel_weights,
    layer,
    sequential,
)

SHAPE = (3, 3, 3, 4)
BYTES = 4 * 3 * 3 * 3 * 4


def with_array(put):
    """A ``.keras`` file of which the kernel is put by the function."""

    def fill(file):
        kernel_weights(file)
        group = file["layers/conv2d/vars"]
        del group["0"]
        put(group)

    return lambda folder: keras_file(folder, weights=hdf5(fill))


def with_more(put):
    return lambda folder: keras_file(folder, weights=hdf5(lambda file: (kernel_weights(file), put(file))))


def shared_text(count, length):
    """A list of names that all are one long text: HDF5 writes it once, and the file is changed for the others."""

    def make(folder):
        def fill(file):
            kernel_weights(file)
            file.attrs.create("layer_names", ["x" * length, *["y"] * (count - 1)], dtype=h5py.string_dtype())

        weights = hdf5(fill)
        collections = [at for at in range(0, len(weights), 8) if weights[at : at + 4] == b"GCOL"]
        entries = [
            at
            for at in range(len(weights) - 16 * count)
            if weights[at : at + 4] == struct.pack("<I", length)
            and struct.unpack_from("<Q", weights, at + 4)[0] in collections
        ]
        weights = bytearray(weights)
        weights[entries[0] : entries[0] + 16 * count] = weights[entries[0] : entries[0] + 16] * count
        return keras_file(folder, weights=bytes(weights))

    return make


def packed_twice(group):
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk(SHAPE)
    properties.set_deflate(9)
    properties.set_deflate(9)
    made = h5py.h5d.create(group.id, b"0", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple(SHAPE), dcpl=properties)
    made.write_direct_chunk((0, 0, 0, 0), zlib.compress(zlib.compress(bytes(1 << 24))))


def another_packing(folder):
    path = keras_file(folder)
    content = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(content, "w", zipfile.ZIP_BZIP2) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    path.write_bytes(content.getvalue())
    return path


def of_three(*names):
    """A file of no more members than Keras writes, but others."""

    def make(folder):
        path = keras_file(folder)
        with zipfile.ZipFile(path) as archive:
            contents = {name: archive.read(name) for name in archive.namelist()}
        with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as archive:
            warnings.simplefilter("ignore")  # zipfile's, of a name that stands twice
            for name in names:
                archive.writestr(name, contents.get(name, b"x"))
        return path

    return make


def with_comment(folder):
    path = keras_file(folder)
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"x"
    return path


def nested(group):
    for _ in range(600):
        group = group.create_group("g")


BEYOND = {
    "a file beside the model": (lambda folder: keras_file(folder, **{"assets/x": b""}), 4, "Allowed: metadata.json"),
    "a file in place of another": (of_three("config.json", "model.weights.h5", "assets/x"), 4, "holds 'assets/x'"),
    "a file twice": (of_three("config.json", "model.weights.h5", "config.json"), 4, "holds 'config.json'"),
    "many files": (lambda folder: keras_file(folder, **{f"{n}": b"" for n in range(9)}), 4, "holds 12 files"),
    "an odd packing": (another_packing, 4, "odd way"),
    "a comment": (with_comment, 4, "list of members"),
    "a long configuration": (lambda folder: keras_file(folder, text=b" " * (MAX_CONFIG_BYTES + 1)), 7, "8,388,609"),
    "many parts": (
        lambda folder: keras_file(folder, sequential(*[layer("ReLU", "r")] * MAX_PARTS)),
        7,
        "30,001 parts",
    ),
    "a long integer": (
        lambda folder: keras_file(folder, text=json.dumps(GOOD).replace("[3, 3]", "9" * 20)),
        4,
        "whole",
    ),
    "weights that unpack": (
        lambda folder: keras_file(folder, weights=hdf5() + bytes(UNPACKED_FREELY + (1 << 22))),
        7,
        "unpacks to",
    ),
    "chunks larger than the array": (
        with_array(lambda group: chunked(group, "0", SHAPE, (1 << 16, 3, 3, 4))),
        4,
        "chunks",
    ),
    "tiny chunks": (with_array(lambda group: chunked(group, "0", (1 << 20,), (1,))), 4, "chunks"),
    "a chunk that unpacks": (
        with_array(lambda group: chunked(group, "0", SHAPE, SHAPE, zlib.compress(bytes(BYTES + (1 << 20))))),
        4,
        "unpacks",
    ),
    "a chunk packed twice": (with_array(packed_twice), 4, "chunks"),
    "an array of nothing": (
        with_array(lambda group: group.create_dataset("0", (UNPACKED_FREELY // 4 + (1 << 16),), "f4")),
        7,
        "bytes of weights in a file",
    ),
    "a plug-in": (with_array(lambda group: group.create_dataset("0", SHAPE, "f4", compression="lzf")), 4, "plug-in"),
    "texts for numbers": (
        with_array(lambda group: group.create_dataset("0", (9,), dtype=h5py.string_dtype())),
        4,
        "no numbers",
    ),
    "a long text of many names": (shared_text(900, 100_000), 4, "lists of long texts"),
    "many attributes": (
        with_more(lambda file: [file.attrs.__setitem__(str(index), 1) for index in range(300)]),
        7,
        "300 attributes",
    ),
    "deep groups": (with_more(nested), 7, "very long names"),
    "many groups": (
        with_more(lambda file: [file.create_group(str(index)) for index in range(MAX_LINKS)]),
        7,
        "65,536 entries",
    ),
}


@pytest.mark.few(8)
@pytest.mark.parametrize("what", BEYOND)
def test_beyond_a_bound(what, tmp_path):
    make, code, words = BEYOND[what]
    with pytest.raises(FmedgeError) as caught:
        read_config(make(tmp_path))
    assert (caught.value.exit_code, words in caught.value.in_full()) == (code, True), caught.value


WITHIN = {
    "a plain array": with_more(lambda file: None),
    "packed": with_array(lambda group: group.create_dataset("0", data=np.ones(SHAPE, "f4"), compression="gzip")),
    "packed, with all filters": with_array(
        lambda group: group.create_dataset(
            "0", data=np.ones(SHAPE, "f4"), compression="gzip", shuffle=True, fletcher32=True, chunks=(2, 3, 3, 4)
        )
    ),
    "noise that packs to more": with_array(
        lambda group: group.create_dataset(
            "0", data=np.random.default_rng(0).integers(0, 256, (1 << 20,), np.uint8), compression="gzip"
        )
    ),
    "one that may grow": with_array(
        lambda group: group.create_dataset("0", data=np.ones(SHAPE, "f4"), maxshape=(None,) * 4, chunks=(64, 3, 3, 4))
    ),
    "one text": with_more(lambda file: file.attrs.__setitem__("keras_version", "3.8.0")),
    "names of any length": with_more(
        lambda file: file.attrs.create("layer_names", ["n" * index for index in range(900)], dtype=h5py.string_dtype())
    ),
    "a text of some names": shared_text(100, 100_000),
    "names of one length": with_more(lambda file: file.attrs.__setitem__("names", np.array([b"a" * 60] * 900))),
}


@pytest.mark.parametrize("what", WITHIN)
def test_within_the_bounds(what, tmp_path):
    found = read_config(WITHIN[what](tmp_path))
    assert found.config == GOOD
    assert found.weights_bytes == {"noise that packs to more": 1 << 20}.get(what, BYTES) + 16


@pytest.mark.parametrize("side", [1024, 1025])
def test_a_file_does_not_ask_for_any_size(side):
    own = NetworkInput(((None, side, 1024, 3),))
    wished = ExportOptions(preprocessing="unit")
    assert MAX_OWN_PIXELS == 1024 * 1024
    if side == 1024:
        assert settle_options(wished, own)[0].size == (1024, 1024)
        return
    with pytest.raises(LimitExceeded, check=says("--size 1025x1024")):
        settle_options(wished, own)


def test_large_files_are_not_hashed(tmp_path):
    from fmedge.model.weights import MAX_FILE_BYTES, choose_keras_file, choose_weights

    for name, choose in (("m.keras", choose_keras_file), ("w.h5", lambda path: choose_weights(str(path)))):
        with (tmp_path / name).open("wb") as stream:
            stream.truncate(MAX_FILE_BYTES + 1)
        with pytest.raises(LimitExceeded, match=r"has 1,207,959,553 bytes"):
            choose(tmp_path / name)


def built(folder, config, weights=None):
    from fmedge.export.tensorflow.keras_file import read_keras_model

    return read_keras_model(keras_file(folder, config, weights))


def calls_of(times):
    """A model that calls one layer so many times."""
    nodes = [called(image_layer()), called(layer("ReLU", "r"), *["image"] * times), called(convolution("tap"), "r")]
    return functional(nodes, "image", "tap")


def test_layers_are_no_larger_than_their_weights(tmp_path):
    pytest.importorskip("keras", reason="needs TensorFlow: pip install 'fmedge[export]'")
    assert built(tmp_path, GOOD).count_params() == 112
    for large in (
        convolution("tap", 100_000_000),
        layer("Dense", "tap", units=100_000_000),
        layer("DepthwiseConv2D", "tap", kernel_size=3, depth_multiplier=100_000_000),
        layer("Embedding", "tap", input_dim=1 << 30, output_dim=64),
    ):
        with pytest.raises(FmedgeError, match="larger than its weights") as caught:
            built(tmp_path, sequential(image_layer(), large))
        assert caught.value.exit_code == 4


def test_calls_of_layers_are_counted(tmp_path, monkeypatch):
    keras = pytest.importorskip("keras", reason="needs TensorFlow: pip install 'fmedge[export]'")
    from fmedge.export.tensorflow import keras_bounds

    monkeypatch.setattr(keras_bounds, "MAX_CALLS", 40)
    made, call = keras.Variable.__init__, keras.Operation.__call__
    assert len(built(tmp_path, calls_of(30)).layers) == 3
    with pytest.raises(LimitExceeded, match="more layers than the 40 allowed"):
        built(tmp_path, calls_of(50))
    with pytest.raises(LimitExceeded, match="more layers than"):
        built(tmp_path, doubled(60, None))
    assert (keras.Variable.__init__, keras.Operation.__call__) == (made, call)


@pytest.mark.parametrize("size", [32, None])
def test_models_that_call_models_twice(size, tmp_path):
    """Each doubles the calls: ten are 2,047."""
    pytest.importorskip("keras", reason="needs TensorFlow: pip install 'fmedge[export]'")
    from fmedge.export.tensorflow.keras_calls import count_calls, places

    model = built(tmp_path, doubled(9, size))
    assert count_calls(model) == len(list(places(model))) == 1023
    for depth in (12, 40):
        with pytest.raises(LimitExceeded, match="more layers than the 3,000 allowed"):
            built(tmp_path, doubled(depth, size))


@pytest.mark.slow
def test_long_sequential_models_are_built(tmp_path):
    """Keras calls all layers again for each that it adds."""
    pytest.importorskip("keras", reason="needs TensorFlow: pip install 'fmedge[export]'")
    layers = [layer("ReLU", f"r{index}") for index in range(240)]
    assert len(built(tmp_path, sequential(image_layer(), *layers[:120], convolution("tap"))).layers) == 121
    with pytest.raises(LimitExceeded, match="218 in a sequential model"):
        built(tmp_path, sequential(image_layer(), *layers, convolution("tap")))


def test_unrolled_layers_are_bounded():
    keras = pytest.importorskip("keras", reason="needs TensorFlow: pip install 'fmedge[export]'")
    from fmedge.export.tensorflow.keras_network import network_of_model

    for steps in (16, 512):
        image = keras.Input((32, steps // 2, 3))
        steps_first = keras.layers.Reshape((steps, 48))(image)
        lstm = keras.layers.LSTM(4, unroll=steps < 100, return_sequences=True, name="lstm")
        tap = keras.layers.Reshape((4, steps // 4, 4), name="tap")(lstm(steps_first))
        network = network_of_model(keras.Model(image, tap), "unit")
        lstm.unroll = True
        if steps == 16:
            assert network.output_shape("tap", (32, 8)) == (4, 4, 4)
        else:
            with pytest.raises(LimitExceeded, match=r"'lstm' unrolls 512 steps\. Allowed: 256"):
                network.output_shape("tap", (32, 256))


def test_multiplications_of_a_traced_function():
    tf = pytest.importorskip("tensorflow", reason="needs TensorFlow: pip install 'fmedge[export]'")
    from fmedge.export.tensorflow.trace import multiplications

    @tf.function
    def compute(pixels):
        first = tf.nn.conv2d(pixels, tf.ones((3, 3, 3, 8)), 1, "SAME")  # 10 x 20 x 8 times 27
        second = tf.nn.depthwise_conv2d(first, tf.ones((5, 5, 8, 1)), [1, 1, 1, 1], "SAME")  # 10 x 20 x 8 times 25
        third = tf.nn.conv2d_transpose(second, tf.ones((2, 2, 4, 8)), (1, 20, 40, 4), 2)  # 10 x 20 x 8 times 16
        return tf.reshape(third, (800, 4)) @ tf.ones((4, 7))  # 800 x 4 x 7

    graph = compute.get_concrete_function(tf.TensorSpec((1, 10, 20, 3), tf.float32)).graph
    assert multiplications(graph) == 1600 * (27 + 25 + 16) + 800 * 4 * 7


def test_multiplications_are_bounded(tmp_path):
    keras = pytest.importorskip("keras", reason="needs TensorFlow: pip install 'fmedge[export]'")
    from fmedge.export.tensorflow.keras_network import network_of_model

    image = keras.Input((1024, 1024, 3))
    wide = keras.layers.Conv2D(1, 600, padding="same", name="wide")(image)
    network = network_of_model(keras.Model(image, wide), "unit")
    assert network.output_shape("wide", (64, 64)) == (1, 64, 64)
    with pytest.raises(LimitExceeded, match=r"1,132,462,080,000 multiplications"):
        network.output_shape("wide", (1024, 1024))


def test_what_layers_give_is_bounded(tmp_path):
    pytest.importorskip("keras", reason="needs TensorFlow: pip install 'fmedge[export]'")
    from fmedge.export.tensorflow.keras_network import load_keras_network
    from fmedge.model.weights import choose_keras_file

    def shape(times, size):
        path = keras_file(
            tmp_path, sequential(image_layer(), convolution("c"), layer("UpSampling2D", "tap", size=times))
        )
        return load_keras_network(choose_keras_file(path), "unit").output_shape("tap", size)

    assert shape(2, (32, 32)) == (4, 64, 64)
    assert shape(2, None) == (4, None, None)
    for size in ((32, 32), None):
        with pytest.raises(LimitExceeded, match="GB"):
            shape(300, size)


def test_memory_of_a_traced_function():
    tf = pytest.importorskip("tensorflow", reason="needs TensorFlow: pip install 'fmedge[export]'")
    from fmedge.export.tensorflow.trace import peak_bytes

    @tf.function
    def compute(pixels):
        first = tf.nn.relu(pixels)  # 4000 bytes
        second = tf.tile(first, [1, 3])  # 12000, the first is read again
        third = tf.reduce_max(second, axis=1)  # 4
        return tf.nn.relu(first) + third

    graph = compute.get_concrete_function(tf.TensorSpec((None, 1000), tf.float32)).graph
    assert peak_bytes(graph) == pytest.approx(4000 + 12_000, abs=200)


def test_a_wrong_type_is_no_bug_of_ours(tmp_path):
    pytest.importorskip("keras", reason="needs TensorFlow: pip install 'fmedge[export]'")
    for text in (
        json.dumps(GOOD).replace('"filters": 4', '"filters": "x"'),
        json.dumps(GOOD).replace('"filters": 4', '"filters": 0'),
        json.dumps(GOOD).replace('"filters": 4', '"filters": 1e400'),
        json.dumps(GOOD).replace("[3, 3]", "[[3], null]"),
        "[]",
        "7",
    ):
        path = keras_file(tmp_path, text=text)
        from fmedge.export.tensorflow.keras_file import read_keras_model

        with pytest.raises((FmedgeError, UsageError)) as caught:
            read_keras_model(path)
        assert caught.value.exit_code in (4, 7)
