"""Files from strangers that ask for more than they are, made anew by a seeded generator; and what reading them takes.

Each kind makes a command line and the files that it names. What the command takes is measured by the system
(``wait4``), from a process that is itself small.
"""

import hashlib
import io
import json
import os
import struct
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from math import prod
from pathlib import Path
from typing import NamedTuple

import flatbuffers
import h5py
import numpy as np
from PIL import Image

from fmedge.export.tflite.schema import schema
from support import stranger_models
from support.image_files import bitmap_runs, chunk, png, segment, with_scans, with_segments, zeros
from support.measurements import measurement, report
from support.places import ROOT

LAUNCHER = """
import json, os, resource, subprocess, sys, threading, time
words, seconds, space = json.loads(sys.argv[1])
def limit():
    resource.setrlimit(resource.RLIMIT_AS, (space, space))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
began = time.monotonic()
child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=limit)
timer = threading.Timer(seconds, child.kill)
timer.start()
said = child.stdout.read().decode(errors="replace")
_, status, usage = os.wait4(child.pid, 0)
timer.cancel()
cpu = usage.ru_utime + usage.ru_stime
print(json.dumps([os.waitstatus_to_exitcode(status), time.monotonic() - began, cpu, usage.ru_maxrss / 1024, said]))
"""

SECONDS = 60
SPACE = 8 << 30
"""When a command is ended, and what it may map: much more than it should take, and less than the machine has."""


class Outcome(NamedTuple):
    """What became of a command: exit code, seconds by the clock and of computing, megabytes, what it said and left."""

    code: int
    seconds: float
    cpu: float
    megabytes: float
    said: str
    left: list[str]


def measured(words, folder: Path) -> Outcome:
    """Run ``fmedge`` in a folder of its own."""
    place, home = folder / "tmp", folder / "home"
    place.mkdir(exist_ok=True)
    home.mkdir(exist_ok=True)
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "TMPDIR": str(place),
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home),
    }
    start = "from fmedge.cli.main import entry; entry()"
    command = [sys.executable, "-c", start, *map(str, words)]
    task = json.dumps([command, SECONDS, SPACE])
    found = subprocess.run(
        [sys.executable, "-S", "-c", LAUNCHER, task], env=environment, capture_output=True, check=True, cwd=folder
    )
    code, seconds, cpu, megabytes, said = json.loads(found.stdout)
    left = [str(path) for path in place.rglob("*")] + [str(path) for path in folder.rglob("*.tmp")]
    return Outcome(code, seconds, cpu, megabytes, said, left)


def wrong(outcome: Outcome, least: float) -> str:
    """What is wrong with an outcome, where a good file takes so many megabytes; empty where nothing is."""
    lines = [line for line in outcome.said.splitlines() if line.startswith(("Error:", "Traceback"))]
    reasons = {
        "exit code": outcome.code not in (0, 2, 3, 4, 7, 9),
        "no single line": outcome.code not in (0, 9) and len(lines) != 1,
        "traceback": "Traceback" in outcome.said,
        "memory": outcome.megabytes > least + 1000,
        "left behind": bool(outcome.left),
    }
    return ", ".join(what for what, holds in reasons.items() if holds)


# Keras files, without Keras


def layer(kind, name, **config):
    return {"module": "keras.layers", "class_name": kind, "config": {"name": name, **config}, "registered_name": None}


def image_layer(*shape):
    return layer("InputLayer", "image", batch_shape=[None, *(shape or (32, 32, 3))], dtype="float32")


def convolution(name, filters=4, **config):
    return layer("Conv2D", name, **{"filters": filters, "kernel_size": [3, 3], "padding": "same", **config})


def sequential(*layers, name="model"):
    return layer("Sequential", name, layers=list(layers)) | {"module": "keras"}


def called(what, *before):
    """A layer of a functional model that reads others, each given as the name of a layer."""
    arguments = [
        {
            "class_name": "__keras_tensor__",
            "config": {"shape": [None, 32, 32, 3], "dtype": "float32", "keras_history": [name, 0, 0]},
        }
        for name in before
    ]
    nodes = [{"args": [part], "kwargs": {}} for part in arguments] if before else []
    return {**what, "name": what["config"]["name"], "inbound_nodes": nodes}


def functional(layers, first, last, name="model"):
    config = {"name": name, "layers": layers, "input_layers": [[first, 0, 0]], "output_layers": [[last, 0, 0]]}
    return {
        "module": "keras.src.models.functional",
        "class_name": "Functional",
        "config": config,
        "registered_name": None,
    }


def doubled(depth, size=32):
    """A model that calls another one twice, which calls another one twice…; made for images of a size, or any."""

    def result(name, number):
        config = {"shape": [None, 32, 32, 3], "dtype": "float32", "keras_history": [name, number, 0]}
        return {"class_name": "__keras_tensor__", "config": config}

    image = called(image_layer(size, size, 3))
    model = functional([image, called(layer("ReLU", "r"), "image")], "image", "r", "m0")
    for number in range(1, depth):
        name = model["config"]["name"]
        twice = {**model, "name": name, "inbound_nodes": [{"args": [result("image", 0)], "kwargs": {}}] * 2}
        both = [{"args": [[result(name, 0), result(name, 1)]], "kwargs": {}}]
        added = {**layer("Add", "add"), "name": "add", "inbound_nodes": both}
        model = functional([image, twice, added], "image", "add", f"m{number}")
    name = model["config"]["name"]
    return functional([called(image_layer()), called(model, "image"), called(convolution("tap"), name)], "image", "tap")


GOOD = sequential(image_layer(), convolution("tap"))


def kernel_weights(file):
    group = file.create_group("layers/conv2d/vars")
    group["0"] = np.full((3, 3, 3, 4), 0.1, np.float32)
    group["1"] = np.zeros(4, np.float32)


def hdf5(fill=kernel_weights):
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        fill(file)
    return stream.getvalue()


def keras_file(folder, config=GOOD, weights=None, text=None, **more):
    """Write a ``.keras`` file; ``more`` are other members, or the same again."""
    path = folder / "model.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.8.0"}))
        archive.writestr("config.json", json.dumps(config) if text is None else text)
        archive.writestr("model.weights.h5", hdf5() if weights is None else weights)
        for name, content in more.items():
            archive.writestr(name, content)
    return path


def export_words(path, folder, tap="tap"):
    return ["export", "--keras", path, "--layer", tap, "--preprocessing", "unit", "--models", folder / "models"]


def good_keras(folder):
    return export_words(keras_file(folder), folder)


def many_bytes(rng):
    return bytes(int(rng.integers(20, 200)) << 20)


def zip_members(rng, folder):
    """More members than Keras writes, larger ones than they say, or packed so that little becomes much."""
    path = keras_file(folder)
    choice = rng.integers(8)
    if choice == 0:  # Keras unpacks all to a temporary folder
        path = keras_file(folder, **{f"assets/{index}": many_bytes(rng) for index in range(rng.integers(1, 5))})
    elif choice == 1:
        path = keras_file(folder, **{f"assets/{index}": b"" for index in range(rng.integers(1000, 70_000))})
    elif choice == 2:
        path = keras_file(folder, text=json.dumps(GOOD).encode() + b" " * len(many_bytes(rng)))
    elif choice == 3:
        path = keras_file(folder, weights=hdf5() + many_bytes(rng))
    elif choice == 4:
        with zipfile.ZipFile(path, "a", (zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2)[rng.integers(2)]) as archive:
            archive.writestr(f"assets/{rng.integers(99)}", many_bytes(rng))
    elif choice == 5:  # sizes in the list of members that are not true
        content = bytearray(path.read_bytes())
        at = content.index(b"PK\1\2", content.rindex(b"PK\1\2") - 1 if rng.integers(2) else 0)
        struct.pack_into("<L", content, at + 20 + 4 * int(rng.integers(2)), int(rng.integers(1 << 20, 1 << 32)))
        path.write_bytes(content)
    elif choice == 6:
        with path.open("ab") as stream:
            stream.truncate(int(rng.integers(1 << 31, 1 << 40)))
    else:
        content = path.read_bytes()
        listed = struct.pack("<4s6H3L5H2L", b"PK\1\2", *[0] * 15, 0)[:46]
        count = int(rng.integers(1 << 16, 1 << 20))
        start = len(content)
        end = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, 46 * count, start)
        locator = struct.pack("<4sLQL", b"PK\6\7", 0, start + 46 * count, 1)
        last = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
        path.write_bytes(content + listed * count + end + locator + last)
    return export_words(path, folder)


def large(rng, least=16, most=34):
    return int(2 ** rng.uniform(least, most))


def configured_layers(rng, folder):
    """Layers that the configuration alone makes huge, slow or many."""
    size = large(rng)
    units = {
        "Dense": lambda: layer("Dense", "tap", units=size),
        "Conv2D": lambda: convolution("tap", size),
        "kernel": lambda: convolution("tap", kernel_size=[int(size**0.5)] * 2),
        "DepthwiseConv2D": lambda: layer("DepthwiseConv2D", "tap", kernel_size=3, depth_multiplier=size),
        "SeparableConv2D": lambda: layer("SeparableConv2D", "tap", filters=size, kernel_size=3),
        "Conv2DTranspose": lambda: layer("Conv2DTranspose", "tap", filters=size, kernel_size=3, strides=2),
        "EinsumDense": lambda: layer("EinsumDense", "tap", equation="abcd,de->abce", output_shape=[None, None, size]),
        "UpSampling2D": lambda: layer("UpSampling2D", "tap", size=[size, 1]),
        "ups": lambda: layer("UpSampling2D", "tap", size=[int(size**0.25)] * 2),
        "ZeroPadding2D": lambda: layer("ZeroPadding2D", "tap", padding=[size, 1]),
        "Resizing": lambda: layer("Resizing", "tap", height=int(size**0.5), width=int(size**0.5)),
        "Reshape": lambda: layer("Reshape", "tap", target_shape=[size, -1, 1]),
        "RepeatVector": lambda: layer("RepeatVector", "tap", n=size),
        "Embedding": lambda: layer("Embedding", "tap", input_dim=size, output_dim=64),
        "CategoryEncoding": lambda: layer("CategoryEncoding", "tap", num_tokens=size),
    }
    rows = list(units)
    inner = [image_layer(), units[rows[rng.integers(len(rows))]]()]
    choice = rng.integers(9)
    if choice < 4:
        config = sequential(*inner)
    elif choice == 4:
        side = int(large(rng, 20, 40) ** 0.5)
        config = sequential(image_layer(side, side, 3), convolution("tap"))
    elif choice == 5:  # many small ones
        many = int(rng.integers(2000, 60_000))
        config = sequential(image_layer(), *(layer("ReLU", f"r{index}") for index in range(many)), convolution("tap"))
    elif choice == 6:  # each model calls the one before it several times
        config = doubled(int(rng.integers(3, 60)), (32, None)[rng.integers(2)])
    elif choice == 7:  # one model with many calls of one layer, and a model that calls it
        calls = int(rng.integers(100, 3000))
        nodes = [
            called(
                image_layer(),
            ),
            called(layer("ReLU", "r"), *["image"] * calls),
            called(convolution("tap"), "r"),
        ]
        config = functional(nodes, "image", "tap")
    else:
        steps = int(rng.integers(1000, 100_000))
        config = sequential(
            image_layer(),
            layer("Reshape", "flat", target_shape=[1024, 3]),
            layer("UpSampling1D", "up", size=max(1, steps // 1024)),
            layer("LSTM", "lstm", units=4, unroll=True, return_sequences=True),
            layer("Reshape", "tap", target_shape=[32, -1, 4]),
        )
    return export_words(keras_file(folder, config), folder)


def configured_text(rng, folder):
    """Configurations that are long, deep or full of odd numbers."""
    size = int(rng.integers(1, 60)) << 20
    number = ["9" * int(rng.integers(20, 5000)), "1e400", "-1e999", "NaN", str(large(rng, 31, 63)), "-1", "1e18", "0"]
    choice = rng.integers(6)
    good = json.dumps(GOOD)
    if choice == 0:
        unit = ("[],", "{},", "null,", '{"":[]},', "0.1,", '{"class_name":"ReLU","config":{}},')[rng.integers(6)]
        text = good.replace('"layers":', f'"junk": [{unit * (size // len(unit))}0], "layers":')
    elif choice == 1:
        depth = int(rng.integers(500, 2_000_000))
        text = good.replace('"layers":', f'"junk": {"[" * depth}{"]" * depth}, "layers":')
    elif choice in (2, 3):
        places = ['"filters": 4', '"kernel_size": [3', "[null, 32", "32, 3]"]
        place = places[rng.integers(len(places))]
        text = good.replace(
            place, place.rstrip("432]").rstrip("3") + number[rng.integers(8)] + "]" * place.endswith("]")
        )
    elif choice == 4:
        before, after = json.dumps(sequential(image_layer(), "?")).split('"?"')
        depth = int(rng.integers(10, 2000))
        text = before * depth + good + after * depth
    else:
        text = json.dumps(layer("ReLU", "\U0001f600" * (size // 16)))
    return export_words(keras_file(folder, text=text), folder)


# HDF5


def chunked(group, name, shape, chunks, content=b"", *, deflate=True, dtype=h5py.h5t.IEEE_F32LE, shuffle=False):
    """A data set of which one chunk is stored, with the bytes given."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk(chunks)
    if shuffle:
        properties.set_shuffle()
    if deflate:
        properties.set_deflate(9)
    space = h5py.h5s.create_simple(shape, (h5py.h5s.UNLIMITED,) * len(shape))
    made = h5py.h5d.create(group.id, name.encode(), dtype, space, dcpl=properties)
    if content:
        made.write_direct_chunk((0,) * len(shape), content)


def odd_array(rng, group, name, shape):
    """An array that unpacks to more than it says, or says more than there is."""
    choice = rng.integers(7)
    size = large(rng, 20, 32)
    if choice == 0:  # chunks far larger than the array
        rows = min(size // 16, (1 << 30) // prod(shape[1:]) - 1)  # HDF5 takes chunks of up to 4 GB
        chunked(group, name, shape, (rows, *shape[1:]), zlib.compress(bytes(64)))
    elif choice == 1:  # a chunk that unpacks to more than its size
        chunked(group, name, shape, shape, zlib.compress(bytes(min(size, 400 << 20)), 9), shuffle=bool(rng.integers(2)))
    elif choice == 2:  # an array that is not there
        chunked(group, name, (size, *shape[1:]), (64, *shape[1:]))
    elif choice == 3:
        chunked(group, name, (size,), (int(rng.integers(1, 64)),))
    elif choice == 4:  # many names of one text
        text = "x" * int(rng.integers(1, 1 << 15))
        group.attrs.create("weight_names", [text[:100]] * 50, dtype=h5py.string_dtype())
        group.create_dataset(name, (int(rng.integers(100, 5000)),), dtype=h5py.string_dtype())[:] = text
    elif choice == 5:
        group.create_dataset(name, (size,), "f4", fillvalue=1.0)
    else:
        group[name] = np.zeros(shape, ("f8", "i8", "S99", "f2", "u1")[rng.integers(5)])


def odd_groups(rng, file):
    choice = rng.integers(3)
    if choice == 0:
        for index in range(int(rng.integers(1000, 90_000))):
            file.create_group(str(index))
    elif choice == 1:
        group = file
        for _ in range(int(rng.integers(100, 3000))):
            group = group.create_group("g" * int(rng.integers(1, 9)))
        group["loop"] = file["/"]
    else:
        for index in range(int(rng.integers(10, 5000))):
            file.attrs[f"a{index}"] = "x" * int(rng.integers(1, 1000))


def hdf5_arrays(rng, folder):
    """Weights in a ``.keras`` or ``.h5`` model that HDF5 unpacks to more than they are."""

    def fill(file):
        kernel_weights(file)
        if rng.integers(4) == 0:
            odd_groups(rng, file)
            return
        group = file["layers/conv2d/vars"]
        del group["0"]
        odd_array(rng, group, "0", (3, 3, 3, 4))

    weights = hdf5(fill)
    if rng.integers(2):
        return export_words(keras_file(folder, weights=weights), folder)
    path = folder / "model.h5"
    path.write_bytes(weights)
    with h5py.File(path, "a") as file:
        text = json.dumps(GOOD) if rng.integers(3) else json.dumps(layer("x" * large(rng, 20, 27), "y"))
        file.attrs["model_config"] = text
        file.attrs["keras_version"] = "3.8.0"
        file.attrs["backend"] = "tensorflow"
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = np.array([b"tap"])
        inner = group.create_group("tap")
        inner.attrs["weight_names"] = np.array([b"kernel", b"bias"])
        odd_array(rng, inner, "kernel", (3, 3, 3, 4))
        inner["bias"] = np.zeros(4, np.float32)
    return export_words(path, folder)


def vgg16_arrays(rng, folder):
    """The same in a file of VGG16's weights."""
    path = folder / "weights.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("block1_conv1")
        odd_array(rng, group, "kernel", (3, 3, 3, 64))
        if "bias" not in group:
            group["bias"] = np.zeros(64, np.float32)
        if rng.integers(3) == 0:
            odd_groups(rng, file)
    if rng.integers(5) == 0:
        with path.open("ab") as stream:
            stream.truncate(int(rng.integers(1 << 31, 1 << 40)))
    return ["export", "--weights", path, "--layer", "block1_conv1", "--models", folder / "models"]


def good_vgg16(folder):
    return ["export", "--weights", "untrained", "--layer", "block1_conv1", "--models", folder / "models"]


# Model files


_FOLDER = tempfile.TemporaryDirectory()


@cache
def good_model(kind):
    """A good model to be changed: its path and content."""
    folder = Path(_FOLDER.name)
    words = ["export", "--weights", "untrained", "--layer", "block1_conv1", "--models", folder]
    outcome = measured([*words, "--format", kind, "--size", "32", "--batch", "1"], folder)
    assert outcome.code == 0, outcome.said
    (path,) = folder.glob(f"*.{kind}")
    return path, path.read_bytes()


def varint(value):
    found = b""
    while value > 0x7F:
        found += bytes([value & 0x7F | 0x80])
        value >>= 7
    return found + bytes([value])


def field(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


def long_facts(rng, text):
    """The card's facts made long."""
    size = int(rng.integers(1, 200)) << 20
    junk = ("[]", "{}", '"' + "x" * 100 + '"', "0.5")[rng.integers(4)]
    return (text[:-1] + ', "junk": [' + (junk + ",") * (size // (len(junk) + 1)) + "0]}").encode()


def with_model(folder, name, content):
    path = folder / name
    path.write_bytes(content)
    picture = folder / "picture.png"
    Image.new("RGB", (32, 32), (200, 100, 50)).save(picture)
    command = ["run", picture, "--model", path, "--output", folder / "page.html"]
    return [["info", path], command][len(content) % 2]


def onnx_metadata(rng, folder):
    """An ONNX file whose metadata is larger than any card."""
    path, content = good_model("onnx")
    card = json.loads(path.with_name(path.name + ".json").read_text())
    choice = rng.integers(3)
    if choice == 0:
        more = field(14, field(1, b"fmedge_card") + field(2, long_facts(rng, json.dumps(card))))
        key = content.rindex(b"fmedge_card")
        content = content[: key - 8] if rng.integers(2) else content
    elif choice == 1:
        more = field(14, field(1, b"k") + field(2, b"v")) * int(rng.integers(1000, 600_000))
    else:
        more = field(14, field(1, b"x" * large(rng, 8, 26)) + field(2, b"y" * large(rng, 8, 26)))
    return with_model(folder, "model.onnx", content + more)


def tflite_metadata(rng, folder):
    """A TFLite file whose facts are longer than any card, or of which many tables point to one place."""
    path, content = good_model("tflite")
    if rng.integers(2):
        return with_model(folder, "model.tflite", shared_vectors(rng))
    card = path.with_name(path.name + ".json").read_text()
    facts = long_facts(rng, json.dumps(json.loads(card)))
    at = content.index(b'{"')  # the facts: their length stands before them
    end = at + struct.unpack_from("<I", content, at - 4)[0]
    moved = bytearray(content) + bytes(-len(content) % 8 + 4)
    place = len(moved)
    moved += struct.pack("<I", len(facts)) + facts + bytes(8)
    start = at - 4
    for position in range(0, len(content) - 4, 4):
        if position + struct.unpack_from("<I", content, position)[0] == start:
            struct.pack_into("<I", moved, position, place - position)
    assert end <= len(content)
    return with_model(folder, "model.tflite", bytes(moved))


def shared_vectors(rng):
    """A TFLite file of many operators and tensors that share their long lists, or that are one and the same."""
    builder = flatbuffers.Builder(1 << 20)
    ports, operators, tensors = (
        int(rng.integers(least, most)) for least, most in ((100, 1025), (1000, 10_001), (1, 30_001))
    )

    def listed(places, count):
        builder.StartVector(4, count, 4)
        for index in range(count):
            builder.PrependUOffsetTRelative(places[index % len(places)])
        return builder.EndVector()

    name, shape = (
        builder.CreateString("t" * int(rng.integers(1, 1025))),
        builder.CreateNumpyVector(np.ones(4, np.int32)),
    )

    def tensor():
        schema.TensorStart(builder)
        schema.TensorAddName(builder, name)
        schema.TensorAddShape(builder, shape)
        return schema.TensorEnd(builder)

    read = builder.CreateNumpyVector(np.zeros(ports, np.int32))
    written = builder.CreateNumpyVector(np.ones(1, np.int32))

    def operator():
        schema.OperatorStart(builder)
        schema.OperatorAddInputs(builder, read)
        if rng.integers(2):
            schema.OperatorAddOutputs(builder, written)
        return schema.OperatorEnd(builder)

    made = listed([tensor() for _ in range(int(rng.integers(1, 3)))], tensors)
    several = int(rng.integers(1, operators)) if rng.integers(2) else 1
    run = listed([operator() for _ in range(several)], operators)
    first = builder.CreateNumpyVector(np.zeros(1, np.int32))
    schema.SubGraphStart(builder)
    schema.SubGraphAddTensors(builder, made)
    schema.SubGraphAddInputs(builder, first)
    schema.SubGraphAddOutputs(builder, first)
    schema.SubGraphAddOperators(builder, run)
    graphs = listed([schema.SubGraphEnd(builder)], 1)
    schema.OperatorCodeStart(builder)
    schema.OperatorCodeAddBuiltinCode(builder, schema.BuiltinOperator.CONCATENATION)
    schema.OperatorCodeAddDeprecatedBuiltinCode(builder, schema.BuiltinOperator.CONCATENATION)
    codes = listed([schema.OperatorCodeEnd(builder)], 1)
    schema.BufferStart(builder)
    buffers = listed([schema.BufferEnd(builder)], 1)
    schema.ModelStart(builder)
    schema.ModelAddVersion(builder, 3)
    schema.ModelAddOperatorCodes(builder, codes)
    schema.ModelAddSubgraphs(builder, graphs)
    schema.ModelAddBuffers(builder, buffers)
    builder.Finish(schema.ModelEnd(builder), b"TFL3")
    return bytes(builder.Output())


# Reports and choices


def good_report():
    return report(*(measurement(batch=batch) for batch in (1, 2)))


def documents(rng, folder):
    """Reports that hold far more than was ever measured."""
    data = good_report().to_dict()
    one = data["measurements"][0]
    choice = rng.integers(6)
    size = int(rng.integers(1, 250)) << 20
    if choice == 0:
        numbers = [float(value) for value in rng.uniform(0.01, 0.02, 1000)]
        one["processes"] = [{"turns": [numbers]}]
        text = json.dumps(data).replace(str(numbers[-1]), ", ".join([str(numbers[-1])] * (size // 20)))
    elif choice == 1:
        turns = rng.integers(1000, size // 8)
        text = json.dumps(data).replace('"turns": [', '"turns": [' + "[0.1]," * int(turns), 1)
    elif choice == 2:
        text = json.dumps(data).replace(
            '"measurements": [', '"measurements": [' + (json.dumps(one) + ",") * int(rng.integers(10, 100_000)), 1
        )
    elif choice == 3:
        junk = ("[],", "{},", "0,", '"",', '{"a":0},', "1e-300,")[rng.integers(6)]
        text = json.dumps(data).replace('"flags": [', '"flags": [' + junk * (size // len(junk)), 1)
    elif choice == 4:
        text = json.dumps(data).replace("Some CPU", "\U0001f600" * (size // 4))
    else:
        depth = int(rng.integers(100, size // 2))
        text = json.dumps(data)[:-1] + ', "deep": ' + "[" * depth + "]" * depth + "}"
    path = folder / "report.json"
    path.write_text(text)
    return [["report", path, "--output", folder / "report.html"], ["compare", path, path]][rng.integers(2)]


def a_good_report(folder):
    path = folder / "report.json"
    path.write_text(json.dumps(good_report().to_dict()))
    return ["report", path, "--output", folder / "report.html"]


# Images, several at once


def saved(rng, kind, side, **options):
    stream = io.BytesIO()
    small = Image.fromarray(rng.integers(0, 256, (60, 60, 3), np.uint8))
    small.resize((side, side)).save(stream, kind, **options)
    return stream.getvalue()


def large_image(rng):
    """An image that takes as much memory or time as is let through, or more."""
    side = int(rng.integers(4000, 9450))
    choice = rng.integers(9)
    if choice == 0:
        return png(side, side, zeros(side, side))
    if choice == 1:
        return png(side, side, zeros(side, side, 8), depth=16, colour=6)
    if choice == 2:
        return png(side, side, zeros(side, side, 2), depth=16, colour=0)
    if choice == 3:
        return saved(rng, "JPEG", side, progressive=True, subsampling=0)
    if choice == 4:
        return with_scans(saved(rng, "JPEG", side // 4, progressive=True), int(rng.integers(10, 500)))
    if choice == 5:
        body = b"Exif\0\0" + bytes(int(rng.integers(1000, 65_000)))
        return with_segments(saved(rng, "JPEG", 500), *[segment(0xE1, body)] * int(rng.integers(10, 1600)))
    if choice == 6:
        return saved(rng, "WEBP", side // 3, lossless=True)
    if choice == 7:
        text = b"\0\0" + zlib.compress(bytes(1 << 20), 9)
        return png(8, 8, *[chunk(b"zTXt", text)] * int(rng.integers(10, 1000)), zeros(8, 8))
    return bitmap_runs(side // 3, side // 3, b"\1\1" * int(rng.integers(1000, 8_000_000)))


def images(rng, folder):
    """Several images of that kind in one run, on several threads."""
    place = folder / "photos"
    place.mkdir()
    if rng.integers(2):
        (place / "0").write_bytes(large_image(rng))
        for index in range(1, 4):
            (place / str(index)).write_bytes((place / "0").read_bytes())
    else:
        for index in range(4):
            (place / str(index)).write_bytes(large_image(rng))
    return image_words(
        rng.integers(1, 5), folder, *sorted(place.iterdir()), resize=("nearest", "bicubic")[rng.integers(2)]
    )


def image_words(threads, folder, *paths, resize="nearest"):
    path, _ = good_model("onnx")
    return [
        *("run", *paths, "--model", path, "--output", folder / "pages", "--threads", threads, "--resize", resize),
    ]


def good_images(folder):
    Image.new("RGB", (640, 480), (9, 99, 199)).save(folder / "a.png")
    (folder / "pages").mkdir()
    return image_words(2, folder, folder / "a.png", folder / "a.png")


def model_kind(kind, make):
    """Models whose graph means harm, run with a card of their own on one of their engines."""

    def made(rng, folder):
        good, _ = good_model(kind)
        seed = int(rng.integers(1 << 30))
        content = make(seed, str(folder / "saved")) if kind == "tflite" else make(seed)
        card = stranger_models.card_of(json.loads(good.with_name(good.name + ".json").read_text()), kind)
        card["file_sha256"] = hashlib.sha256(content).hexdigest()
        (folder / f"model.{kind}.json").write_text(json.dumps(card))
        (folder / f"model.{kind}").write_bytes(content)
        Image.new("RGB", (32, 32), (200, 100, 50)).save(folder / "picture.png")
        engines = {"onnx": ("onnxruntime", "openvino"), "tflite": ("litert",)}[kind]
        backend = engines[seed % len(engines)]
        return ["run", folder / "picture.png", "--model", folder / f"model.{kind}", "--no-page", "--backend", backend]

    return Kind(made, good_vgg16)


class Kind(NamedTuple):
    """A row of the table: what makes a file and the command that reads it, and the same for a good file."""

    make: Callable[[np.random.Generator, Path], list]
    good: Callable[[Path], list]


KINDS = {
    "members of .keras files": Kind(zip_members, good_keras),
    "layers by configuration": Kind(configured_layers, good_keras),
    "texts of configurations": Kind(configured_text, good_keras),
    "HDF5 of Keras models": Kind(hdf5_arrays, good_keras),
    "HDF5 of VGG16's weights": Kind(vgg16_arrays, good_vgg16),
    "metadata of ONNX files": Kind(onnx_metadata, good_vgg16),
    "TFLite files": Kind(tflite_metadata, good_vgg16),
    "ONNX, sizes by pixels": model_kind("onnx", stranger_models.by_pixels),
    "ONNX, huge by constants": model_kind("onnx", stranger_models.by_constants),
    "ONNX, no end of work": model_kind("onnx", stranger_models.long_running),
    "ONNX, NaN and infinity": model_kind("onnx", stranger_models.no_numbers),
    "TFLite, sizes by pixels": model_kind("tflite", stranger_models.tflite_by_pixels),
    "reports": Kind(documents, a_good_report),
    "images at once": Kind(images, good_images),
}


def case(kind: str, number: int, folder: Path) -> Outcome:
    """Make the file of that number and run its command; large files go again."""
    folder.mkdir()
    words = KINDS[kind].make(np.random.default_rng([number, *kind.encode()]), folder)
    return measured(words, folder)
