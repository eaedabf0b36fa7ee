"""The gate of ncnn models: what passes, and that what passes never ends the process."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from fmedge.errors import ArtifactError
from fmedge.export.ncnn import direct as ncnn_direct
from fmedge.model.submodel import Format
from fmedge.runtime.gate import ncnn_reader
from fmedge.runtime.gate.checks import require_artifact
from support.builds import build, card_with
from support.messages import says
from support.places import ROOT

NCNN = {"format": Format.NCNN}


@pytest.fixture(scope="module")
def ncnn():
    return pytest.importorskip("ncnn", reason="needs ncnn: pip install 'fmedge[ncnn]'")


@pytest.fixture(scope="module")
def small(untrained_network):
    """Two taps of a picture that is no multiple of anything."""
    return build(ncnn_direct, untrained_network, "block1_conv2+block2_conv1", "none", size=(37, 53), **NCNN)


@pytest.fixture(scope="module")
def opened(untrained_network):
    """A model of any size."""
    return build(ncnn_direct, untrained_network, "block2_conv1", size=None, **NCNN)


def reading(artifact, **changes):
    changed = replace(artifact, **changes)
    return ncnn_reader.inspect(changed.model, changed.weights, "m")


def test_what_the_gate_reads(small):
    facts = ncnn_reader.inspect(small.model, small.weights, "m")
    assert facts.inputs == {"image": (3, 37, 53)}
    assert facts.outputs == {"block1_conv2": (64, 37, 53), "block2_conv1": (128, 18, 26)}
    assert facts.facts_json is not None
    assert '"block2_conv1"' in facts.facts_json


def test_open_sizes_stay_open(opened):
    facts = reading(opened)
    assert facts.inputs == {"image": (3, None, None)}
    assert facts.outputs == {"block2_conv1": (128, None, None)}


@pytest.mark.cases("models")
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("7767517", "7767518", "first line"),
        ("8 9\n", "8 10\n", "'8 10' layers and tensors announced, 8 9 found"),
        ("8 9\n", "99999999999 9\n", "announced"),
        ("Pooling block1", "MemoryData block1", "MemoryData with a wrong number of inputs"),
        ("Pooling block1", "Noop block1", "kind 'Noop'"),
        ("6=36864", "6=36863", "kernel of 36,863 values, 36,864 needed"),
        ("0=64 1=3", "0=65 1=3", "values"),
        ("0=64 1=3", "0=-1 1=3", "parameter '0=-1'"),
        ("0=64 1=3", "0=2147483648 1=3", "parameter '0=2147483648'"),
        ("1=3 4=1", "1=4 4=1", "kernel of 1,728 values, 3,072 needed"),
        ("4=1", "4=9999", "parameter '4=9999'"),
        ("31=64", "31=127", "parameter '31=127'"),
        ("4=1 5=1", "4=1 4=1 5=1", "parameter '4=1'"),
        ("4=1 5=1", "5=1", "lacks a parameter"),
        ("2=2 5=1", "2=0 5=1", "parameter '2=0'"),
        ("0=53 1=37 2=3", "0=53 1=37 2=3 -23330=4,3,1,1,1", "parameter '-23330"),
        ("0=53 1=37 2=3", "0=53 1=37", "an incomplete shape"),
        ("0=53 1=37 2=3", "0=1048576 1=1048576 2=3", "a tensor of"),
        ("0=53 1=37 2=3", "0=1 1=1 2=3", "Pooling cannot take 64 x 1 x 1"),
        ("0=53 1=37 2=3", "0=0 1=37 2=3", "parameter '0=0'"),
        ("Scale mean", "Scale ../mean", "forbidden characters"),
        ("Scale mean", "Scale " + "m" * 300, "forbidden characters"),
        ("Scale mean 1 1 image", "Scale mean 1 1 block2_conv1", "read before it is computed"),
        ("Scale mean 1 1 image", "Scale mean 2 1 image image", "Scale with a wrong number of inputs"),
        ("image pixels 0=3", "image image 0=3", "computed twice"),
        ("0=3 1=1", "0=4 1=1", "4 factors for 3 channels"),
        ("block1_conv2_split", "block1_conv2", "occurs twice"),
        ("Convolution block1_conv1 1 1 pixels", "Convolution block1_conv1 1 1  pixels", "forbidden characters"),
        ("#fmedge_card", "Input x 0 1 x\n#fmedge_card", "second input"),
        ("#fmedge_card", "0=3\n#fmedge_card", "kind '0=3'"),
        ("\n#fmedge_card", "\r\n#fmedge_card", "not lines of plain text"),
        ("Scale mean", "Scale\x00mean", "not lines of plain text"),
    ],
)
def test_graphs_that_are_refused(small, old, new, message):
    text = small.model.decode()
    assert old in text
    with pytest.raises(ArtifactError, check=says(message)) as caught:
        reading(small, model=text.replace(old, new, 1).encode())
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 200


def test_a_card_without_a_graph(small):
    with pytest.raises(ArtifactError, match="first line"):
        reading(small, model=small.model[small.model.index(b"#fmedge_card") :])


def test_other_weights_are_refused(small):
    whole = small.weights
    for weights in (whole[:-1], whole + b"\0", b"", whole[:24] + b"\1" + whole[25:], whole * 2):
        with pytest.raises(ArtifactError, match="weights"):
            reading(small, weights=weights)


def test_truncated_files_are_refused(small, cases):
    for share in np.linspace(0, 1, 50, endpoint=False):
        with pytest.raises(ArtifactError):
            reading(small, weights=small.weights[: int(share * len(small.weights))])
    end = small.model.index(b"#fmedge_card")  # what follows is no part of the graph
    for share in np.linspace(0, 1, 50, endpoint=False):
        with pytest.raises(ArtifactError):
            reading(small, model=small.model[: int(share * end)])
    cases("models", 100)


def test_graphs_too_large_are_refused_at_once(small):
    with pytest.raises(ArtifactError, match="graph of"):
        reading(small, model=small.model + b"#" * ncnn_reader.MAX_TEXT)
    lines = "".join(f"ReLU r{index} 1 1 t{index} t{index + 1}\n" for index in range(ncnn_reader.MAX_LAYERS))
    text = f"7767517\n1001 1001\nInput i 0 1 t0\n{lines}"
    with pytest.raises(ArtifactError, match="layers"):
        reading(small, model=text.encode())


MUTATE = """
import sys
sys.path.insert(0, {tests!r})
import numpy as np
from dataclasses import replace
from support.builds import build
from fmedge.errors import ArtifactError
from fmedge.export.ncnn import direct as ncnn_direct
from fmedge.export.stock_network import StockNetwork
from fmedge.runtime.opening import open_session
from fmedge.model.submodel import Format
from fmedge.model.weights import UNTRAINED, load_weights
network = StockNetwork(*load_weights(UNTRAINED, "block2_conv1"))
artifact = build(ncnn_direct, network, "block1_conv2+block2_conv1", "none", size=(9, 11), format=Format.NCNN)
image = np.zeros((1, 9, 11, 3), np.uint8)
field, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
passed = 0
for seed in range(first, last):
    generator = np.random.default_rng(seed)
    content = bytearray(getattr(artifact, field))
    reach = content.index(b"#") if field == "model" else len(content)
    for place in generator.integers(0, reach, generator.integers(1, 4)):
        content[place] = generator.choice(np.frombuffer(b"0123456789 =-_", np.uint8)) if seed % 2 else seed * 7 % 256
    try:
        with open_session(replace(artifact, **{{field: bytes(content)}})) as session:
            session.run(image)
            passed += 1
    except ArtifactError as error:
        assert "\\n" not in str(error)
print(passed)
"""
"""Damages one of the two files, and runs what the gate lets through, in a process of its own: it may not die."""


def mutate(field, first, last):
    script = MUTATE.format(tests=str(ROOT / "tests"))
    command = [sys.executable, "-c", script, field, str(first), str(last)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=600)
    assert run.returncode == 0, run.stderr[-2000:]
    return int(run.stdout)


@pytest.mark.parametrize("field", ["model", "weights"])
def test_damaged_files_never_end_the_process(ncnn, field, cases):
    assert mutate(field, 0, 30) < 31
    cases("models, mutated", 30)


@pytest.mark.slow
@pytest.mark.parametrize("field", ["model", "weights"])
def test_many_damaged_files_never_end_the_process(ncnn, field, cases):
    assert mutate(field, 30, 330) < 301
    cases("models, mutated", 300)


@pytest.mark.cases("models")
@pytest.mark.parametrize(
    "change",
    [
        lambda card: card_with(card, "outputs", shape=(None, 32, 37, 53)),
        lambda card: card_with(card, "outputs", shape=(None, 64, 38, 53)),
        lambda card: card_with(card, "outputs", shape=(None, 64, None, None)),
        lambda card: card_with(card, "outputs", shape=(None, None, 37, 53)),
        lambda card: card_with(card, "outputs", shape=(2, 64, 37, 53)),
        lambda card: card_with(card, "outputs", dtype="float16"),
        lambda card: card_with(card, "outputs", dtype="uint8"),
        lambda card: card_with(card, "outputs", name="block1_conv2"),
        lambda card: replace(card, outputs=card.outputs * 2),
        lambda card: card_with(card, "inputs", shape=(None, 53, 37, 3)),
        lambda card: card_with(card, "inputs", shape=(None, None, None, 3)),
        lambda card: card_with(card, "inputs", shape=(None, 37, 53, 1)),
        lambda card: card_with(card, "inputs", shape=(4, 37, 53, 3)),
        lambda card: card_with(card, "inputs", name="photo"),
    ],
)
def test_a_card_with_other_shapes_than_the_graph_is_refused(untrained_network, change):
    artifact = build(ncnn_direct, untrained_network, "block1_conv1", size=(37, 53), **NCNN)
    require_artifact(artifact)
    with pytest.raises(ArtifactError, match="inputs or outputs other than its card"):
        require_artifact(replace(artifact, card=change(artifact.card)))


@pytest.mark.parametrize(
    "options", [{"batch": 3}, {"batch": None}, {"size": None}, {"input_dtype": "float32"}], ids=str
)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_card_of_the_graph_passes(untrained_network, options, precision):
    build_options = {"size": (37, 53), **NCNN, **options}
    require_artifact(
        build(ncnn_direct, untrained_network, "block1_conv1+block2_pool", precision=precision, **build_options)
    )


def test_a_graph_of_another_size_than_its_card_is_refused(small, opened):
    for artifact, other in ((small, opened), (opened, small)):
        with pytest.raises(ArtifactError, match="inputs or outputs other than its card"):
            require_artifact(replace(artifact, model=other.model, weights=other.weights))
