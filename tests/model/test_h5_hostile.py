"""Hostile weights files, given to the command: exit 4, one line, and no file opened but the given one."""

import json
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from fmedge.model.weights import UNTRAINED, load_weights
from support.places import ROOT

posix = pytest.mark.skipif(os.name != "posix", reason="limits of POSIX")
SHAPE = (3, 3, 64, 64)
BIAS = np.zeros(64, np.float32)

CHILD = """
import json, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
from fmedge.cli.main import main
codes = {}
for name in json.loads(sys.argv[1]):
    sys.stderr.write(f"# {name}\\n")
    sys.stderr.flush()
    codes[name] = main(["export", "--layer", "block1_conv2", "--weights", name, "--no-verify", "--models", "models"])
with open("codes.json", "w") as stream:
    json.dump(codes, stream)
"""


def export(folder, names, *around):
    """Export from each of the files, one after the other in one process; return exit codes and output."""
    words = [*around, sys.executable, "-c", CHILD, json.dumps(names)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HDF5_PLUGIN_PATH": str(folder / "secret")}
    process = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, (process.returncode, process.stderr[-500:])
    said = dict(re.findall(r"^# (\S+)\n((?:[^#].*\n)*)", process.stderr, re.MULTILINE))
    codes = json.loads((folder / "codes.json").read_text())
    return {name: (codes[name], said.get(name, "")) for name in names}


def kernel(file, *, name="block1_conv2/kernel", **options):
    file.create_dataset(name, **{"shape": SHAPE, "dtype": "f4", **options})
    file["block1_conv2/bias"] = BIAS


def virtual(file, source, shape=SHAPE, most=None):
    layout = h5py.VirtualLayout(SHAPE, "f4", maxshape=most)
    layout[...] = h5py.VirtualSource(source, "kernel", shape)
    file.create_virtual_dataset("block1_conv2/kernel", layout, fillvalue=1)
    file["block1_conv2/bias"] = BIAS


def unlimited_virtual(file):
    """Its size is that of the source: reading the shape opens the other file."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    space = h5py.h5s.create_simple(SHAPE, (h5py.h5s.UNLIMITED, *SHAPE[1:]))
    source = h5py.h5s.create_simple(SHAPE, (h5py.h5s.UNLIMITED, *SHAPE[1:]))
    for each in (space, source):
        each.select_hyperslab((0, 0, 0, 0), (h5py.h5s.UNLIMITED, 1, 1, 1), (1, *SHAPE[1:]), (1, *SHAPE[1:]))
    properties.set_virtual(space, b"secret/virtual.h5", b"kernel", source)
    group = file.create_group("block1_conv2")
    h5py.h5d.create(group.id, b"kernel", h5py.h5t.IEEE_F32LE, space, dcpl=properties)
    group["bias"] = BIAS


def printf_virtual(file):
    """A numbered source for every block: the library checks how many exist."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    space = h5py.h5s.create_simple(SHAPE, (h5py.h5s.UNLIMITED, *SHAPE[1:]))
    space.select_hyperslab((0, 0, 0, 0), (h5py.h5s.UNLIMITED, 1, 1, 1), (1, *SHAPE[1:]), (1, *SHAPE[1:]))
    properties.set_virtual(space, b"secret/virtual%b.h5", b"kernel", h5py.h5s.create_simple((1, *SHAPE[1:])))
    group = file.create_group("block1_conv2")
    h5py.h5d.create(group.id, b"kernel", h5py.h5t.IEEE_F32LE, space, dcpl=properties)
    group["bias"] = BIAS


def filtered(number, name="kernel", flags=0):
    def plant(file):
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk(SHAPE)
        properties.set_filter(number, h5py.h5z.FLAG_OPTIONAL | flags, (1, 2, 3))
        group = file.create_group("block1_conv2")
        h5py.h5d.create(group.id, name.encode(), h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple(SHAPE), dcpl=properties)
        group["bias"] = BIAS

    return plant


def values(number, where=(0, 0, 0, 0), dtype=np.float32):
    def plant(file):
        array = np.zeros(SHAPE, dtype)
        array[where] = number
        kernel(file, data=array, dtype=dtype)

    return plant


def bias_of(array):
    def plant(file):
        file["block1_conv2/kernel"] = np.zeros(SHAPE, np.float32)
        file["block1_conv2/bias"] = array

    return plant


def link(target, place="block1_conv2"):
    def plant(file):
        file[place] = target
        if "/" in place:
            file["block1_conv2/bias"] = BIAS

    return plant


def circles(file):
    group = file.create_group("block1_conv2")
    group["again"] = group
    group["root"] = file["/"]


def deep(file):
    file["block1_conv2/" + "a/" * 200 + "kernel"] = BIAS


PLANTS = {
    "soft-link": link(h5py.SoftLink("/block1_conv1")),
    "soft-link-to-nothing": link(h5py.SoftLink("/gone")),
    "soft-link-to-itself": link(h5py.SoftLink("/block1_conv2")),
    "soft-link-to-kernel": link(h5py.SoftLink("/block1_conv1/kernel"), "block1_conv2/kernel"),
    "soft-link-above": link(h5py.SoftLink("/other"), "model_weights"),
    "external-link": link(h5py.ExternalLink("secret/weights.h5", "/block1_conv2")),
    "external-link-to-kernel": link(h5py.ExternalLink("secret/weights.h5", "/kernel"), "block1_conv2/kernel"),
    "external-link-above": link(h5py.ExternalLink("secret/weights.h5", "/"), "model_weights"),
    "external-link-absolute": link(h5py.ExternalLink("/etc/hostname", "/")),
    "external-storage": lambda file: kernel(file, external=[("secret/values.bin", 0, 4 * 9 * 64 * 64)]),
    "external-storage-absolute": lambda file: kernel(file, external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)]),
    "external-bias": lambda file: (
        file.create_dataset("block1_conv2/bias", (64,), "f4", external=[("secret/values.bin", 0, 256)]),
        file.create_dataset("block1_conv2/kernel", SHAPE, "f4"),
    ),
    "virtual": lambda file: virtual(file, "secret/virtual.h5"),
    "virtual-of-itself": lambda file: virtual(file, "."),
    "virtual-unlimited": unlimited_virtual,
    "virtual-printf": printf_virtual,
    "filter-unknown": filtered(40_000),
    "filter-blosc": filtered(32_001),
    "filter-lzf": filtered(32_000),
    "filter-szip": filtered(4),
    "filter-nbit": filtered(5),
    "filter-scaleoffset": filtered(6),
    "160-gigabytes": lambda file: kernel(file, shape=(200_000, 200_000), chunks=(1000, 1000)),
    "160-gigabytes-of-bias": lambda file: kernel(file, shape=(40_000_000_000,), chunks=(1_000_000,)),
    "more-axes": lambda file: kernel(file, shape=(1,) * 28 + SHAPE),
    "no-axes": lambda file: kernel(file, shape=()),
    "no-space": lambda file: (
        file.create_dataset("block1_conv2/kernel", data=h5py.Empty("f4")),
        file.create_dataset("block1_conv2/bias", data=BIAS),
    ),
    "empty": lambda file: kernel(file, shape=(3, 3, 64, 0)),
    "turned": lambda file: kernel(file, shape=(64, 64, 3, 3)),
    "one-less": lambda file: kernel(file, shape=(3, 3, 64, 63)),
    "float64": values(1, dtype=np.float64),
    "float16": values(1, dtype=np.float16),
    "big-endian": values(1, dtype=">f4"),
    "integers": values(1, dtype=np.int32),
    "complex": values(1, dtype=np.complex64),
    "records": lambda file: kernel(file, dtype=np.dtype([("a", "f4")])),
    "strings": lambda file: kernel(file, dtype=h5py.string_dtype()),
    "ragged": lambda file: kernel(file, dtype=h5py.vlen_dtype(np.float32)),
    "references": lambda file: kernel(file, dtype=h5py.ref_dtype),
    "enumeration": lambda file: kernel(file, dtype=h5py.enum_dtype({"a": 1}, "i4")),
    "nan": values(np.nan),
    "infinite": values(np.inf, (2, 2, 63, 63)),
    "minus-infinite": values(-np.inf),
    "nan-in-bias": bias_of(np.full(64, np.nan, np.float32)),
    "short-bias": bias_of(np.zeros(63, np.float32)),
    "wide-bias": bias_of(np.zeros((64, 1), np.float32)),
    "kernel-alone": lambda file: file.create_dataset("block1_conv2/kernel", SHAPE, "f4"),
    "three-arrays": lambda file: (kernel(file), file.create_dataset("block1_conv2/more", (1,), "f4")),
    "many-arrays": lambda file: [file.create_dataset(f"block1_conv2/{index}", (1,)) for index in range(5000)],
    "no-group": lambda file: file.create_dataset("block1_conv2", (3,)),
    "type-as-group": lambda file: file.__setitem__("block1_conv2", np.dtype("f4")),
    "empty-group": lambda file: file.create_group("block1_conv2"),
    "other-names": lambda file: file.create_group("conv2d_block1_2"),
    "circles": circles,
    "deep": deep,
}


@pytest.fixture(scope="module")
def arrays():
    return load_weights(UNTRAINED, "block1_conv2")[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, arrays):
    """Write the hostile files, and in secret/ valid files that they point to."""
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "secret").mkdir()
    (folder / "secret/values.bin").write_bytes(bytes(4 * 9 * 64 * 64))
    for name in ("virtual.h5", "virtual0.h5", "weights.h5"):
        with h5py.File(folder / "secret" / name, "w") as file:
            kernel(file)
            file["kernel"] = np.zeros(SHAPE, np.float32)
    for name, plant in PLANTS.items():
        with h5py.File(folder / f"{name}.h5", "w") as file:
            write_layer(file, "block1_conv1", arrays)
            if name.endswith("-above"):
                del file["block1_conv1"]
            plant(file)
    with h5py.File(folder / "good.h5", "w") as file:
        for layer in arrays:
            write_layer(file, layer, arrays)
    return folder


def write_layer(file, layer, arrays):
    file[f"{layer}/kernel"], file[f"{layer}/bias"] = arrays[layer]


@posix
def test_hostile_files_end_in_one_line_and_exit_4(folder, cases):
    outcomes = export(folder, [f"{name}.h5" for name in PLANTS])
    assert {name: code for name, (code, _) in outcomes.items()} == {f"{name}.h5": 4 for name in PLANTS}
    for name, (_, said) in outcomes.items():
        assert said.startswith("Error: "), name
        assert said.count("\n") == 1, said
        assert len(said) <= 201
    assert not list((folder / "models").glob("*.onnx"))
    cases("weights", len(PLANTS))


@posix
def test_nothing_outside_the_file_is_opened(folder):
    """Check every file that the process opens below the folder, as traced in the kernel."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    trace = folder / "trace.txt"
    try:
        export(folder, ["good.h5"], "strace", "-f", "-e", "trace=%file", "-o", str(trace))
    except AssertionError:
        pytest.skip("strace may not trace here")
    shutil.rmtree(folder / "models")
    names = [f"{name}.h5" for name in PLANTS]
    export(folder, names, "strace", "-f", "-s", "300", "-e", "trace=%file", "-o", str(trace))
    lines = trace.read_text(errors="replace").splitlines()
    touched = {word for line in lines for word in re.findall(r'"([^"]*)"', line)}
    assert {name for name in names if name in touched or str(folder / name) in touched} == set(names)  # trace worked
    assert not [word for word in touched if "secret/" in word]
    assert not [word for word in touched if word == "/etc/passwd" and _opened(lines, word)]
    assert not [word for word in touched if word == "/etc/hostname"]
    inside = {Path(word).name for word in touched if not word.startswith("/") or word.startswith(str(folder))}
    known = {*names, "models", "codes.json", folder.name, "", ".", "secret", "state"}
    assert not [name for name in inside - known if name.endswith((".h5", ".bin"))]


def _opened(lines, path):
    return [line for line in lines if "open" in line and f'"{path}"' in line]


def test_truncated_at_twenty_points(folder, cases):
    whole = (folder / "good.h5").read_bytes()
    names = []
    for point in range(20):
        names.append(f"cut{point}.h5")
        (folder / names[-1]).write_bytes(whole[: len(whole) * point // 20])
    outcomes = export(folder, names)
    assert {code for code, _ in outcomes.values()} == {4}
    assert all(said.count("\n") == 1 for _, said in outcomes.values())
    cases("weights", len(outcomes))


def test_a_lambda_in_the_configuration_is_never_looked_at(folder, arrays):
    """As weights, such a file works; as a model it is refused before any of it is loaded."""
    config = {
        "class_name": "Sequential",
        "config": {
            "name": "m",
            "layers": [
                {"class_name": "InputLayer", "config": {"batch_shape": [None, 8, 8, 3], "name": "i"}},
                {"class_name": "Lambda", "config": {"name": "block1_conv1", "function": ["4wEAAAA=", None, None]}},
            ],
        },
    }
    path = folder / "lambda.h5"
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(config)
        file.attrs["keras_version"] = "3.15.1"
        file.attrs["backend"] = "tensorflow"
        for layer, (weight, bias) in arrays.items():
            file[f"model_weights/{layer}/kernel"], file[f"model_weights/{layer}/bias"] = weight, bias
    code, said = export(folder, ["lambda.h5"])["lambda.h5"]
    assert code == 0, said
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-m", "fmedge", "export", "--preprocessing", "none", "--keras", "lambda.h5"]
    process = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    if process.returncode == 5:
        pytest.skip("needs TensorFlow: pip install 'fmedge[export]'")
    assert process.returncode == 4, process.stderr
    assert process.stderr.count("\n") == 1


@posix
def test_changed_bytes_never_end_the_process(folder, cases):
    """Half of the changes are in the structure before the first array, half anywhere."""
    whole = bytearray((folder / "good.h5").read_bytes())
    generator = random.Random(3)
    names = []
    for number in range(60):
        changed = bytearray(whole)
        for _ in range(generator.randint(1, 8)):
            changed[generator.randrange(4000 if number % 2 else len(whole))] = generator.randrange(256)
        names.append(f"changed{number}.h5")
        (folder / names[-1]).write_bytes(changed)
    codes = [code for code, _ in export(folder, names).values()]
    assert set(codes) <= {0, 4}
    print(f"{codes.count(0)} read, {codes.count(4)} refused")
    cases("weights", len(codes))
