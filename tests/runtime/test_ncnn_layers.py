"""The kinds of layers that pass the gate of ncnn models: their shapes are ncnn's, and hostile ones are refused."""

import itertools
import subprocess
import sys

import numpy as np
import pytest

from fmedge.errors import ArtifactError
from fmedge.model.ncnn_format import LAYERS, blob_of, name_of
from fmedge.runtime.gate import ncnn_moves, ncnn_reader
from fmedge.runtime.gate.ncnn_layers import KINDS
from support.messages import says
from support.ncnn_graphs import random_graph
from support.places import ROOT

IMAGE = "Input image 0 1 image 0=12 1=10 2=3"


def read(lines, weights=b""):
    """What the gate reads from a graph of these lines."""
    lines = [IMAGE, *lines]
    tensors = sum(int(line.split(" ")[3]) for line in lines)
    text = "\n".join(["7767517", f"{len(lines)} {tensors}", *lines, ""])
    return ncnn_reader.inspect(text.encode(), weights, "m")


def arrays(*counts, tagged=True):
    """Weights: a kernel with its tag first, then plain arrays."""
    first = [bytes(4)] if tagged else []
    return b"".join([*first, *(bytes(4 * count) for count in counts)])


def test_every_kind_has_a_rule():
    assert KINDS.keys() == LAYERS
    for orders in ncnn_moves._ORDERS.values():
        assert sorted(orders) == sorted(map("".join, itertools.permutations(orders[0])))


@pytest.mark.parametrize(
    ("line", "weights", "shape"),
    [
        ("Convolution c 1 1 image o 0=5 1=3 11=5 2=1 3=2 13=1 4=1 14=2 15=0 16=2 5=1 6=225", (225, 5), (5, 10, 6)),
        ("Convolution c 1 1 image o 0=5 1=3 11=2 3=2 13=1 4=-233 5=1 6=90", (90, 5), (5, 10, 6)),
        ("ConvolutionDepthWise c 1 1 image o 0=6 1=3 4=1 5=0 6=54 7=3", (54,), (6, 10, 12)),
        ("Deconvolution c 1 1 image o 0=4 1=2 3=2 4=0 5=1 6=48 18=1 19=0", (48, 4), (4, 20, 25)),
        ("Pooling p 1 1 image o 0=0 1=3 2=2 5=0", (), (3, 5, 6)),
        ("Pooling p 1 1 image o 0=0 1=3 2=2 5=1", (), (3, 4, 5)),
        ("Pooling p 1 1 image o 0=1 7=1 8=4 18=-233", (), (3, 10, 4)),
        ("Padding p 1 1 image o 0=1 1=2 2=3 3=4 4=0 5=-3.40282347e38", (), (3, 13, 19)),
        ("Interp i 1 1 image o 0=2 1=1.5 2=2.0", (), (3, 15, 24)),
        ("Interp i 1 1 image o 0=1 3=7 4=9", (), (3, 7, 9)),
        ("Permute p 1 1 image o 0=3", (), (10, 12, 3)),
        ("Reshape r 1 1 image o 0=-1 1=6 2=5", (), (5, 6, 12)),
        ('Reshape r 1 1 image o 6="0h,-1,6"', (), (6, 6, 10)),
        ("Crop c 1 1 image o -23309=2,1,-4 -23310=2,-1,-233 -23311=2,1,2", (), (3, 8, 4)),
        ("Reduction r 1 1 image o 0=3 1=0 -23303=2,1,2 4=1 5=1", (), (3, 1, 1)),
        ("PReLU p 1 1 image o 0=3", None, (3, 10, 12)),
        ("BinaryOp b 1 1 image o 0=2 1=1 2=0.5", (), (3, 10, 12)),
        ("Reorg r 1 1 image o 0=2", (), (12, 5, 6)),
    ],
)
def test_shapes(line, weights, shape):
    content = bytes(12) if weights is None else arrays(*weights) if weights else b""
    assert read([line], content).outputs == {"o": shape}


def test_vectors_are_stretched_and_outputs_are_maps():
    gate = ["Split s 1 2 image a b", "Pooling p 1 1 a mean 0=1 4=1", "BinaryOp o 2 1 b mean o 0=2"]
    assert read(gate).outputs == {"o": (3, 10, 12)}
    with pytest.raises(ArtifactError, check=says("output 'mean' without height and width")):
        read([*gate[:2], "ReLU r 1 1 b o"])


CONV = "Convolution c 1 1 image o 0=4 1=3 4=1 5=1 6=108"
ROW = "Reshape r 1 1 image v 0=36 1=10"


@pytest.mark.cases("models")
@pytest.mark.parametrize(
    ("lines", "weights", "message"),
    [
        ([CONV], (107, 4), "bytes of weights, at least"),
        ([CONV], (108, 5), "bytes of weights, 452 needed"),
        ([CONV.replace("6=108", "6=109")], (109, 4), "a kernel of 109 values, 108 needed"),
        ([CONV + " 9=3"], (108, 4), "an activation without its 2 numbers"),
        ([CONV + " 9=2 -23310=2,0.1,0.2"], (108, 4), "an activation without its 1 numbers"),
        ([CONV + " -23310=1,0"], (108, 4), "wrong parameter '-23310=1,0'"),
        ([CONV + " -23310=3,0.5,1.0"], (108, 4), "wrong parameter '-23310=3"),
        ([CONV + " 8=1"], (108, 4), "wrong parameter '8=1'"),
        ([CONV + " 19=1"], (108, 4), "wrong parameter '19=1'"),
        ([CONV + " 18=1"], (108, 4), "wrong parameter '18=1'"),
        ([CONV + " 18=1e99"], (108, 4), "wrong parameter '18=1e99'"),
        ([CONV + " 18=nan"], (108, 4), "wrong parameter '18=nan'"),
        ([CONV.replace("4=1", "4=-232")], (108, 4), "borders below zero"),
        ([CONV.replace("4=1", "4=-233 14=0")], (108, 4), "borders below zero"),
        ([CONV.replace("4=1", "4=-233 15=1")], (108, 4), "borders below zero"),
        ([CONV.replace("4=1", "4=-233 3=4")], (108, 4), "borders below zero"),
        (["Deconvolution c 1 1 image o 0=4 1=1 4=-233 5=0 6=12"], (12,), "borders below zero"),
        ([CONV.replace("4=1", "4=1 2=1024")], (108, 4), "Convolution cannot take 3 x 10 x 12"),
        ([CONV.replace("0=4", "0=65536").replace("6=108", "6=1769472")], (), "weights of an unknown kind"),
        ([CONV.replace("0=4 1=3", "0=65536 1=1024").replace("6=108", "6=2147483647")], (), "Convolution cannot take"),
        (["ConvolutionDepthWise c 1 1 image o 0=4 1=3 4=1 5=0 6=36 7=2"], (36,), "2 groups for 3 and 4 channels"),
        (["Deconvolution c 1 1 image o 0=4 1=1 4=1024 5=0 6=12"], (12,), "Deconvolution cannot take"),
        (["Deconvolution c 1 1 image o 0=65536 1=1024 3=1024 4=0 5=0 6=1"], (1,), "a tensor of|a kernel of"),
        (["Pooling p 1 1 image o 0=0"], (), "a pool without a window"),
        (["Pooling p 1 1 image o 0=0 1=0 5=1"], (), "wrong parameter '1=0'"),
        (["Pooling p 1 1 image o 0=0 1=11 5=0"], (), "Pooling cannot take"),
        (["Pooling p 1 1 image o 0=0 7=1 8=0"], (), "a pool of no size"),
        (["Pooling p 1 1 image o 0=0 7=1 8=1048576 18=1048576"], (), "a tensor of"),
        (["Padding p 1 1 image o 0=10 1=0 2=0 3=0 4=2"], (), "Padding cannot take"),
        (["Padding p 1 1 image o 0=1 1=1 2=1 3=1 6=3"], (), "wrong parameter '6=3'"),
        (["BatchNorm b 1 1 image o 0=4"], (), "4 factors for 3 channels"),
        (["BatchNorm b 1 1 image o 0=3 1=1"], (), "wrong parameter '1=1'"),
        (["PReLU b 1 1 image o 0=2"], (), "2 factors for 3 channels"),
        (["Scale s 1 1 image o 0=-233"], (), "wrong parameter '0=-233'"),
        (["LayerNorm b 1 1 image o 0=10"], (), "10 factors for rows of 12 values"),
        (["GroupNorm b 1 1 image o 0=2 1=3"], (), "GroupNorm cannot take"),
        ([ROW, "InnerProduct i 1 1 v o 0=4 2=145"], (), "a kernel of 145 values, 144 needed"),
        ([ROW, "Gemm g 1 1 v o 3=1 5=1 6=1 8=4 9=35 10=4"], (), "rows of 36 values for a matrix of 35"),
        ([ROW, "Gemm g 1 1 v o 3=1 5=1 6=1 8=4 9=36 10=4 4=1"], (), "wrong parameter '4=1'"),
        ([ROW, "Permute p 1 1 v o 0=2"], (), "Permute cannot take 10 x 36"),
        (["Permute p 1 1 image o 0=6"], (), "Permute cannot take"),
        (["Reshape r 1 1 image o 0=7 1=7 2=7"], (), "Reshape cannot take"),
        (["Reshape r 1 1 image o 0=-1 1=-1 2=3"], (), "Reshape cannot take"),
        (["Reshape r 1 1 image o 0=3 2=120"], (), "an incomplete shape"),
        (['Reshape r 1 1 image o 6="1h,1w,3"'], (), "a wrong number of inputs"),
        (['Reshape r 1 1 image o 6="0w,0h,*(0c,0n)"'], (), "wrong parameter '6="),
        (['Reshape r 1 1 image o 0=3 6="0w,0h,0c"'], (), "in numbers and in words"),
        (["Reshape r 1 1 image o 0=12 1=10 2=3 12=0 13=0"], (), "wrong parameter '12=0'"),
        (["Slice s 1 2 image o p 1=0"], (), "a slice needs the sizes of its parts or their places"),
        (["Slice s 1 2 image o p -23300=2,1,1 1=0"], (), "Slice cannot take"),
        (["Slice s 1 2 image o p -23300=3,1,1,1 1=0"], (), "Slice cannot take"),
        (["Slice s 1 2 image o p -23300=2,4,-1 1=0"], (), "Slice cannot take"),
        (["Slice s 1 2 image o p -23302=1,0 1=0"], (), "Slice cannot take"),
        (["Slice s 1 2 image o p -23300=2,1,2 1=3"], (), "Slice cannot take"),
        (["Crop c 1 1 image o -23309=1,5 -23310=1,3 -23311=1,1"], (), "Crop cannot take"),
        (["Crop c 1 1 image o -23309=1,5 -23310=2,6,7 -23311=1,1"], (), "places that do not fit each other"),
        (["Crop c 1 1 image o 0=1 3=99"], (), "wrong parameter '0=1'"),
        (["Interp i 1 1 image o 0=1 1=33.0 2=1.0"], (), "wrong parameter '1=33.0'"),
        (["Interp i 1 1 image o 0=1 3=100000 4=9"], (), "Interp cannot take"),
        (["Interp i 1 1 image o 0=1 1=0.001 2=1.0"], (), "without pixels"),
        (['Interp i 1 1 image o 0=1 9="0w"'], (), "wrong parameter '9="),
        (["PixelShuffle p 1 1 image o 0=2"], (), "PixelShuffle cannot take"),
        (["ShuffleChannel p 1 1 image o 0=2"], (), "ShuffleChannel cannot take"),
        (["Softmax p 1 1 image o 0=3 1=1"], (), "Softmax cannot take"),
        (["Reduction r 1 1 image o 0=3 1=0 -23303=2,1,-2 5=1"], (), "Reduction cannot take"),
        (["Reduction r 1 1 image o 0=3 1=0 -23303=1,4 5=1"], (), "wrong parameter '-23303=1,4'"),
        (["MemoryData m 0 1 o 0=0"], (), "wrong parameter '0=0'"),
        (["MemoryData m 0 1 o 0=4 2=3"], (), "an incomplete shape"),
        (["MemoryData m 0 1 o 0=1048576 1=1048576"], (), "a tensor of 4,398,046,511,104 bytes"),
        (["MemoryData m 0 1 p 0=4", "BinaryOp b 2 1 image p o 0=0"], (4,), "BinaryOp cannot take 3 x 10 x 12 and 4"),
        (["BinaryOp b 1 1 image o 0=0"], (), "a wrong number of inputs"),
        (["Split s 1 2 image a b", "BinaryOp b 2 1 a b o 0=0 1=1"], (), "a wrong number of inputs"),
        (["Split s 1 2 image a b", "Permute p 1 1 a c 0=1", "Concat c 2 1 b c o 0=0"], (), "Concat cannot take"),
        (["Split s 1 2 image a b", "Permute p 1 1 a c 0=1", "Eltwise c 2 1 b c o 0=1"], (), "Eltwise cannot take"),
        (["Concat c 2 1 image image o 0=0"], (), "read before it is computed, or twice"),
        (["ReLU r 1 1 o o"], (), "the tensor 'o' is read before it is computed"),
        (["BinaryOp b 2 1 image q o 0=0", "ReLU r 1 1 o q"], (), "the tensor 'q' is read before it is computed"),
        (["Split s 1 1000 image " + " ".join(f"a{index}" for index in range(999))], (), "a line of"),
        (["Split s 1 99999 image a"], (), "a wrong number of inputs or outputs"),
        (["ReLU r 1 1 image o%2f"], (), "a tensor of the wrong name"),
        (["ReLU r 1 1 image o%FF"], (), "a tensor of the wrong name"),
        (["ReLU r 1 1 image o/"], (), "a name with forbidden characters"),
        (["SDPA r 1 1 image o"], (), "a layer of unknown kind 'SDPA'"),
        (["Convolution1D r 1 1 image o"], (), "a layer of unknown kind 'Convolution1D'"),
    ],
)
def test_layers_that_are_refused(lines, weights, message):
    with pytest.raises(ArtifactError, check=says(message)) as caught:
        read(lines, arrays(*weights, tagged="MemoryData" not in lines[0]) if weights else b"")
    assert "\n" not in caught.value.in_full()


def test_hidden_values_count():
    """A border or a part that is cut off again is as large as one that stays."""
    wide = "Pooling p 1 1 image o 0=0 1=1 2=1024 3=1024 5=1"
    assert read([wide]).outputs["o"][0] == 3
    lines = ["Input image 0 1 image 0=1048576 1=64 2=3", wide]
    text = "\n".join(["7767517", "2 2", *lines, ""]).encode()
    with pytest.raises(ArtifactError, check=says("a tensor of")):
        ncnn_reader.inspect(text, b"", "m")


def test_growth_is_bounded():
    lines = [
        f"Interp i{step} 1 1 {'image' if not step else f't{step - 1}'} t{step} 0=1 1=32.0 2=32.0" for step in range(9)
    ]
    with pytest.raises(ArtifactError, check=says("a tensor of")):
        read(lines)


def test_random_lines_never_raise_anything_else(cases):
    """Parameters of every kind, of any value."""
    dice = np.random.default_rng(5)
    values = ["0", "1", "-1", "3", "-233", "2147483647", "99999999", "0.5", "1e9", '"0w"', "2,1,1", "1,0.5", "", "x"]
    for number in range(4_000):
        kind = dice.choice([*KINDS])
        keys = [
            f"-233{key:02}" if dice.random() < 0.2 else str(key) for key in dice.integers(0, 33, dice.integers(0, 7))
        ]
        words = [f"{key}={dice.choice(values)}" for key in keys]
        counts = dice.integers(0, 3, 2)
        line = " ".join([kind, "l", *map(str, counts), "image", "o", *words])
        try:
            read([line])
        except ArtifactError as error:
            assert "\n" not in str(error), number
    cases("models", 4_000)


RUN = """
import sys
sys.path.insert(0, {tests!r})
import numpy as np
import ncnn
from fmedge.runtime.engines.ncnn_engine import _Reader, _set_options
from fmedge.model.run_options import RunOptions
from fmedge.runtime.gate import ncnn_reader
from support.ncnn_graphs import random_graph
run = refused = 0
image = np.random.default_rng(0).random((3, 9, 11), np.float32)
for seed in range(int(sys.argv[1]), int(sys.argv[2])):
    text, weights = random_graph(seed)
    facts = ncnn_reader.inspect(text, weights, "m")
    net = ncnn.Net()
    _set_options(net.opt, False, 1 + seed % 2, RunOptions())
    if net.load_param_mem(text.decode()) or net.load_model(_Reader(weights)):
        refused += 1
        continue
    with net.create_extractor() as extractor:
        extractor.input("image", ncnn.Mat(image).clone())
        for name, shape in facts.outputs.items():
            code, maps = extractor.extract(name)
            assert (code, np.asarray(maps).shape) == (0, shape), (seed, name, code, shape)
            maps.release()
    run += 1
print(run, refused)
"""
"""Runs graphs that the gate lets through, in a process of its own, and compares the shapes with the gate's."""


def run_random(first, last):
    script = RUN.format(tests=str(ROOT / "tests"))
    command = [sys.executable, "-c", script, str(first), str(last)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    return [int(word) for word in done.stdout.split()]


def test_what_passes_runs_and_has_the_shapes_that_the_gate_works_out(cases):
    pytest.importorskip("ncnn", reason="needs ncnn: pip install 'fmedge[ncnn]'")
    run, refused = run_random(0, 30)
    assert refused <= 3 < run
    cases("models, random", run)


@pytest.mark.slow
def test_much_that_passes_runs(cases):
    pytest.importorskip("ncnn", reason="needs ncnn: pip install 'fmedge[ncnn]'")
    run, refused = run_random(100, 1_000)
    assert refused <= 90 < run
    cases("models, random", run)


def test_truncated_weights_are_refused(cases):
    for seed in range(20):
        text, weights = random_graph(seed)
        facts = ncnn_reader.inspect(text, weights, "m")
        assert all(name_of(blob_of(name)) == name for name in facts.outputs)
        for wrong in (weights[:-4], weights + bytes(4), weights[: len(weights) // 2]):
            if wrong != weights:
                with pytest.raises(ArtifactError, match="weights"):
                    ncnn_reader.inspect(text, wrong, "m")
    cases("models", 60)
