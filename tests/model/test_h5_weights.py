"""Read Keras' weights files: whole, partial and hostile ones."""

import hashlib
import struct

import h5py
import numpy as np
import pytest

from fmedge.errors import WeightsError
from fmedge.model.h5_weights import read_h5
from fmedge.model.stock import STOCK, VGG16
from support.places import TEST_DATA

LAYERS = STOCK[VGG16].through("block1_pool")


@pytest.fixture
def arrays(untrained_weights):
    return {name: untrained_weights[name] for name in ("block1_conv1", "block1_conv2")}


def write(path, arrays, prefix="", kernel="{0}_W_1:0", bias="{0}_b_1:0", **options):
    with h5py.File(path, "w") as file:
        for name, (weight, offset) in arrays.items():
            group = file.create_group(f"{prefix}{name}")
            group.create_dataset(kernel.format(name), data=weight, **options)
            group.create_dataset(bias.format(name), data=offset)
    return path


@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"prefix": "model_weights/", "kernel": "{0}/kernel:0", "bias": "{0}/bias:0"},
        {"prefix": "layers/", "kernel": "vars/0", "bias": "vars/1"},
        {"kernel": "vgg16/{0}/kernel", "bias": "vgg16/{0}/bias", "compression": "gzip"},
    ],
    ids=["official", "whole model", "keras 3", "nested"],
)
def test_layouts(tmp_path, arrays, layout):
    read = read_h5(write(tmp_path / "w.h5", arrays, **layout), LAYERS)
    assert list(read) == list(arrays)
    for name in arrays:
        np.testing.assert_array_equal(read[name][0], arrays[name][0])
        np.testing.assert_array_equal(read[name][1], arrays[name][1])


@pytest.mark.keras
def test_files_that_keras_writes(tmp_path, untrained_weights):
    keras = pytest.importorskip("keras", reason="needs TensorFlow: pip install 'fmedge[export]'")
    model = keras.applications.VGG16(include_top=False, weights=None, input_shape=(32, 32, 3))
    kernel, bias = model.get_layer("block2_conv1").get_weights()
    model.save_weights(tmp_path / "vgg.weights.h5")
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras calls its .h5 models old
        model.save(tmp_path / "vgg.h5")
    for name in ("vgg.weights.h5", "vgg.h5"):
        read = read_h5(tmp_path / name, STOCK[VGG16].through("block5_pool"))
        np.testing.assert_array_equal(read["block2_conv1"][0], kernel)
        np.testing.assert_array_equal(read["block2_conv1"][1], bias)
        assert len(read) == 13


def test_partial_file_names_the_deepest_layer_it_serves(tmp_path, arrays):
    path = write(tmp_path / "w.h5", arrays)
    with pytest.raises(
        WeightsError, match=r"lacks the weights of block2_conv1\. Deepest layer it can serve: block1_pool"
    ):
        read_h5(path, STOCK[VGG16].through("block3_pool"))


def external_link(file):
    file["block1_conv2"] = h5py.ExternalLink("other.h5", "/secret")


def soft_link(file):
    file["block1_conv2"] = h5py.SoftLink("/block1_conv1")


def soft_link_inside(file):
    file["block1_conv2/kernel"] = h5py.SoftLink("/block1_conv1")


def external_storage(file):
    shape = (3, 3, 64, 64)
    file.create_dataset("block1_conv2/k", shape, "f4", external=[("secret.bin", 0, 4 * 9 * 64 * 64)])
    file["block1_conv2/b"] = np.zeros(64, np.float32)


def virtual(file):
    layout = h5py.VirtualLayout((3, 3, 64, 64), "f4")
    layout[...] = h5py.VirtualSource("secret.h5", "k", (3, 3, 64, 64))
    file.create_virtual_dataset("block1_conv2/k", layout)
    file["block1_conv2/b"] = np.zeros(64, np.float32)


def huge(file):
    file.create_dataset("block1_conv2/k", (200_000, 200_000), "f4", chunks=(1000, 1000))
    file["block1_conv2/b"] = np.zeros(64, np.float32)


def wrong_dtype(file):
    file["block1_conv2/k"] = np.zeros((3, 3, 64, 64), np.float64)
    file["block1_conv2/b"] = np.zeros(64, np.float32)


def wrong_shape(file):
    file["block1_conv2/k"] = np.zeros((64, 64, 3, 3), np.float32)
    file["block1_conv2/b"] = np.zeros(64, np.float32)


def not_finite(file):
    file["block1_conv2/k"] = np.full((3, 3, 64, 64), np.nan, np.float32)
    file["block1_conv2/b"] = np.zeros(64, np.float32)


def bias_missing(file):
    file["block1_conv2/k"] = np.zeros((3, 3, 64, 64), np.float32)


def many(file):
    for index in range(50):
        file[f"block1_conv2/{index}"] = np.zeros(1)


def circle(file):
    group = file.create_group("block1_conv2")
    group["again"] = group


def a_dataset(file):
    file["block1_conv2"] = np.zeros(3)


@pytest.mark.parametrize(
    "plant",
    [
        external_link, soft_link, soft_link_inside, external_storage, virtual, huge, wrong_dtype, wrong_shape,
        not_finite, bias_missing, many, circle, a_dataset,
    ],
    ids=lambda plant: plant.__name__,
)  # fmt: skip
def test_hostile_files_are_refused(tmp_path, arrays, plant, monkeypatch):
    path = write(tmp_path / "w.h5", {"block1_conv1": arrays["block1_conv1"]})
    (tmp_path / "secret.bin").write_bytes(bytes(4 * 9 * 64 * 64))
    monkeypatch.chdir(tmp_path)
    with h5py.File(path, "a") as file:
        plant(file)
    with pytest.raises(WeightsError) as caught:
        read_h5(path, LAYERS)
    assert "\n" not in str(caught.value)


def test_truncated_files_are_refused(tmp_path, arrays):
    whole = write(tmp_path / "w.h5", arrays).read_bytes()
    for tenth in range(10):
        path = tmp_path / f"{tenth}.h5"
        path.write_bytes(whole[: len(whole) * tenth // 10])
        with pytest.raises(WeightsError):
            read_h5(path, LAYERS)


def test_not_hdf5(tmp_path):
    path = tmp_path / "w.h5"
    path.write_text("hello")
    with pytest.raises(WeightsError, match="not a readable Keras"):
        read_h5(path, LAYERS)


def npy(array):
    """Return the hash of the array as a .npy file, its header padded to 16 bytes as NumPy did before 1.14."""
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {array.shape}, }}"
    text += " " * (16 - (10 + len(text) + 1) % 16) + "\n"
    header = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()
    return hashlib.sha256(header + np.ascontiguousarray(array, "<f4").tobytes()).hexdigest()


@pytest.mark.imagenet
def test_real_file_holds_the_published_arrays(real_weights):
    published = dict(line.split() for line in (TEST_DATA / "vgg16" / "sha256.txt").read_text().splitlines())
    read = read_h5(real_weights, STOCK[VGG16].through("block3_pool"))
    for name in ("block1_conv1", "block1_conv2", "block2_conv1", "block2_conv2", "block3_conv1"):
        kernel, bias = read[name]
        caffe = f"conv{name[5]}_{name[-1]}"
        rgb = kernel[:, :, ::-1] if name == "block1_conv1" else kernel
        assert npy(rgb) == published[f"{caffe}_W"]
        assert npy(bias) == published[f"{caffe}_b"]
    with pytest.raises(WeightsError, match="Deepest layer it can serve: block3_pool"):
        read_h5(real_weights, STOCK[VGG16].through("block4_conv1"))
