"""The gate of the native engine's models: what passes, and that what passes never ends the process."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from fmedge.errors import ArtifactError, LimitExceeded
from fmedge.export.native import direct as native_direct
from fmedge.model.native_format import FACTS, HEADER, LAYER, MAX_LAYERS, Flag, Kind
from fmedge.model.submodel import Format
from fmedge.runtime.gate.checks import inspect_model, require_artifact
from support.builds import build, card_with
from support.messages import says
from support.places import ROOT

NATIVE = {"format": Format.NATIVE}
CONVOLUTION, POOLING = int(Kind.CONVOLUTION), int(Kind.POOLING)


@pytest.fixture(scope="module")
def small(untrained_network):
    """Two taps of a picture that is no multiple of anything: convolutions 0, 1 and 3, and pooling 2."""
    return build(native_direct, untrained_network, "block1_conv2+block2_conv1", "none", size=(37, 53), **NATIVE)


def reading(artifact, model):
    return inspect_model(artifact.path, Format.NATIVE, model)


def with_header(model, field, value):
    """The file with another number in its header."""
    fields = list(HEADER.unpack_from(model))
    fields[field] = value
    return HEADER.pack(*fields) + model[HEADER.size :]


def with_layer(model, place, field, value):
    """The file with another number in its table of layers."""
    start = HEADER.size + LAYER.size * place
    fields = list(LAYER.unpack_from(model, start))
    fields[field] = value
    return model[:start] + LAYER.pack(*fields) + model[start + LAYER.size :]


def parts(model):
    """The file up to its facts, and the facts."""
    end = HEADER.unpack_from(model)[6]
    return model[:end], model[end:]


def test_what_the_gate_reads(small):
    facts = reading(small, small.model)
    assert [(one.name, one.dtype, one.shape) for one in facts.inputs] == [("image", "uint8", None)]
    assert [(one.name, one.dtype) for one in facts.outputs] == [
        ("block1_conv2", "float32"),
        ("block2_conv1", "float32"),
    ]
    assert facts.facts_json == small.card.facts_json()
    assert [(way.convolutions, way.rectifiers) for way in facts.ways.values()] == [(2, 1), (3, 2)]


def test_what_a_run_takes(small):
    """Of all images together: the two largest values that follow each other, and the outputs."""
    facts = reading(small, small.model)
    needs = facts.needs((2, 37, 53, 3))
    assert needs.shapes == {"block1_conv2": (2, 64, 37, 53), "block2_conv1": (2, 128, 18, 26)}
    assert needs.memory == 4 * (2 * (64 + 64) * 37 * 53 + 2 * 64 * 37 * 53 + 2 * 128 * 18 * 26)
    pixels, quarter = 37 * 53, 18 * 26
    products = 64 * pixels * (1 + 27) + 64 * pixels * (1 + 576) + 64 * quarter * 10 + 128 * quarter * (1 + 576)
    assert needs.products == 2 * products


@pytest.mark.parametrize(
    ("images", "kind", "message"),
    [
        ((1, 37, 53, 1), ArtifactError, "images of 3 channels instead of 1"),
        ((1, 1 << 21, 1, 3), LimitExceeded, "an extent of"),
        ((1, 1 << 20, 1 << 20, 3), LimitExceeded, "values in 'the image'"),
        ((1, 8_000, 8_000, 3), LimitExceeded, "values in 'layer 0'"),
    ],
)
def test_images_that_are_too_much(small, images, kind, message):
    with pytest.raises(kind, match=message):
        reading(small, small.model).needs(images)


def test_facts_may_be_missing(small):
    """The library reads no further than the weights; outputs are then called by their places."""
    facts = reading(small, parts(small.model)[0])
    assert facts.facts_json is None
    assert [one.name for one in facts.outputs] == ["tap 0", "tap 1"]


@pytest.mark.cases("models")
@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (0, b"FMCHAIN2", "not a chain of convolutions"),
        (1, 0, "number of layers is 0"),
        (1, MAX_LAYERS + 1, "number of layers is 1025"),
        (1, 3, "the mean at byte 192 instead of 160"),
        (1, 5, "the mean at byte 192 instead of 224"),
        (1, MAX_LAYERS, "the mean at byte"),
        (2, 0, "channels of the images is 0"),
        (2, 1, "weights of layer 0 at byte"),
        (2, 1 << 31, "channels of the images is"),
        (3, 2, "images of type 2"),
        (4, 1, "zeros belong"),
        (5, 0, "the mean at byte 0"),
        (5, 196, "the mean at byte 196"),
        (5, (1 << 64) - 4, "the mean at byte"),
        (6, 0, "0 announced"),
        (6, 64, "a table of layers up to byte 192"),
        (6, (1 << 64) - 1, "announced"),
        (7, b"\1" + bytes(23), "zeros belong"),
        (7, bytes(23) + b"\1", "zeros belong"),
    ],
)
def test_headers_that_are_refused(small, field, value, message):
    with pytest.raises((ArtifactError, LimitExceeded), check=says(message)) as caught:
        reading(small, with_header(small.model, field, value))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 200


@pytest.mark.cases("models")
@pytest.mark.parametrize(
    ("place", "field", "value", "message"),
    [
        (0, 0, 0, "layer 0 of unknown kind 0"),
        (0, 0, 3, "layer 0 of unknown kind 3"),
        (0, 0, POOLING, "layer 0 with flags 1"),
        (2, 0, CONVOLUTION, "weights of layer 2 at byte 0"),
        (0, 1, 0, "channels of layer 0 is 0"),
        (0, 1, 65, "weights of layer 0 at byte"),
        (0, 1, 65_536, "weights of layer 0 at byte"),
        (1, 1, 65_537, "channels of layer 1 is 65537"),
        (2, 1, 32, "layer 2, pooling, with other channels"),
        (3, 1, 127, "weights of layer 3 at byte"),
        (1, 2, 8, "layer 1 with flags 8"),
        (1, 2, int(Flag.TAP | Flag.TAP_BEFORE_RELU | Flag.RELU), "layer 1 with flags 7"),
        (1, 2, int(Flag.TAP_BEFORE_RELU), "layer 1 with flags 4"),
        (2, 2, int(Flag.RELU), "layer 2 with flags 1"),
        (3, 2, 0, "a last layer whose values are not returned"),
        (1, 2, int(Flag.RELU), "1 outputs, its facts name 2"),
        (2, 2, int(Flag.TAP), "3 outputs, its facts name 2"),
        (1, 3, 1, "layer 1 with flags 5 and 1"),
        (0, 4, 0, "weights of layer 0 at byte 0"),
        (0, 4, (1 << 64) - 4, "weights of layer 0 at byte"),
        (1, 5, 1 << 63, "weights of layer 1 at byte"),
        (2, 4, 204, "layer 2, pooling"),
        (2, 5, 204, "layer 2, pooling"),
    ],
)
def test_layers_that_are_refused(small, place, field, value, message):
    with pytest.raises((ArtifactError, LimitExceeded), check=says(message)) as caught:
        reading(small, with_layer(small.model, place, field, value))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 200


def test_kernels_that_two_layers_share_are_refused(small):
    """Weights lie one after the other, so a small file cannot stand for many layers."""
    first = LAYER.unpack_from(small.model, HEADER.size + LAYER.size)
    twice = with_layer(with_layer(small.model, 3, 4, first[4]), 3, 1, 64)
    with pytest.raises(ArtifactError, match="weights of layer 3 at byte"):
        reading(small, twice)


def test_weights_that_are_moved_are_refused(small):
    """Bytes that belong to nothing could be anything."""
    body, facts = parts(small.model)
    for model in (body + bytes(4) + facts, body[:-4] + facts, body[:-4]):
        with pytest.raises(ArtifactError):
            reading(small, model)
    with pytest.raises(ArtifactError, match="weights up to byte"):
        reading(small, with_header(body + bytes(4), 6, len(body) + 4))


@pytest.mark.cases("models")
@pytest.mark.parametrize(
    ("facts", "message"),
    [
        (b"\0", "something else than a card"),
        (b"fmedge_card {}", "something else than a card"),
        (FACTS + b"{}\n", "card cannot be read"),
        (FACTS + b"\n", "cannot be read"),
        (FACTS + b"[" * 100_000 + b"\n", "cannot be read"),
        (FACTS + b"\xff\xfe\n", "cannot be read"),
        (FACTS + b" " * (1 << 20) + b"{}\n", "bytes of facts"),
    ],
    ids=["zero", "no end", "empty", "nothing", "deep", "no text", "long"],
)
def test_other_facts_are_refused(small, facts, message):
    body, _ = parts(small.model)
    with pytest.raises((ArtifactError, LimitExceeded), check=says(message)) as caught:
        reading(small, body + facts)
    assert "\n" not in str(caught.value)


def _facts(card):
    return FACTS + json.dumps(card).encode() + b"\n"


@pytest.mark.cases("models")
@pytest.mark.parametrize(
    "change",
    [
        lambda card: card["inputs"].clear(),
        lambda card: card.update(inputs=card["inputs"] * 2),
        lambda card: card["outputs"].pop(),
        lambda card: card["submodel"].update(taps=["block1_conv2"]),
        lambda card: card["submodel"].update(taps=["block1_conv2", "block1_conv2"]),
        lambda card: card["submodel"].update(taps=[]),
    ],
)
def test_cards_that_say_otherwise_are_refused(small, change):
    body, facts = parts(small.model)
    card = json.loads(facts[len(FACTS) :])
    change(card)
    with pytest.raises(ArtifactError) as caught:
        reading(small, body + _facts(card))
    assert "\n" not in str(caught.value)


@pytest.mark.cases(
    "models",
)
def test_truncated_files_are_refused(small, cases):
    body, _ = parts(small.model)
    shorter = [*range(HEADER.size + 4 * LAYER.size + 16), *range(len(body) - 4, len(body))]
    shorter += [*range(len(body) + 1, len(small.model)), *(share * len(body) // 50 for share in range(50))]
    for length in shorter:
        with pytest.raises((ArtifactError, LimitExceeded)):
            reading(small, small.model[:length])
    cases("models", len(shorter))


MUTATE = """
import random, sys
sys.path.insert(0, {tests!r})
import numpy as np
from dataclasses import replace
from support.builds import build
from support.hostile import mutations
from fmedge.errors import ArtifactError, LimitExceeded
from fmedge.export.native import direct
from fmedge.export.stock_network import StockNetwork
from fmedge.model.native_format import HEADER, LAYER
from fmedge.model.submodel import Format
from fmedge.model.weights import UNTRAINED, load_weights
from fmedge.runtime.opening import open_session
network = StockNetwork(*load_weights(UNTRAINED, "block2_conv1"))
artifact = build(direct, network, "block1_conv2+block2_conv1", "none", size=(9, 11), format=Format.NATIVE)
image, passed = np.zeros((1, 9, 11, 3), np.uint8), 0
table = range(HEADER.size + 4 * LAYER.size)
for model in mutations(artifact.model, table, int(sys.argv[2]), int(sys.argv[1])):
    try:
        with np.errstate(all="ignore"), open_session(replace(artifact, model=model)) as session:
            session.run(image)
            passed += 1
    except (ArtifactError, LimitExceeded) as error:
        assert "\\n" not in str(error)
print(passed)
"""
"""Damages the file, half of the time its tables, and runs what the gate lets through: the process may not die."""


def mutate(seed, count):
    script = MUTATE.format(tests=str(ROOT / "tests"))
    command = [sys.executable, "-c", script, str(seed), str(count)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=600)
    assert run.returncode == 0, run.stderr[-2000:]
    return int(run.stdout)


@pytest.fixture
def kernels():
    return pytest.importorskip("fmedge_native", reason="needs fmedge's own kernels: pip install ./native")


def test_damaged_files_never_end_the_process(kernels, cases):
    assert 0 < mutate(0, 40) < 40
    cases("models, mutated", 40)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 5))
def test_many_damaged_files_never_end_the_process(kernels, seed, cases):
    assert 0 < mutate(seed, 500) < 500
    cases("models, mutated", 500)


def test_the_library_reads_no_more_than_the_gate_lets_through(kernels, small):
    """It looks by itself: what the gate refuses of the tables, it refuses or computes, and stays within the file."""
    from fmedge.model.run_options import RunOptions
    from fmedge.runtime.backends import find_backend
    from fmedge.runtime.engines.native_engine import open_engine
    from fmedge.runtime.engines.native_library import ChainError

    provider = find_backend("native").providers[0]
    for model in (
        with_header(small.model, 0, b"FMCHAIN2"),
        with_header(small.model, 6, len(small.model) + 1),
        with_layer(small.model, 0, 4, len(small.model) - 4),
        with_layer(small.model, 0, 5, (1 << 64) - 4),
        with_layer(small.model, 3, 2, 0),
        small.model[: HEADER.size],
        b"",
    ):
        with pytest.raises((ArtifactError, ChainError), check=says("it is damaged")):
            open_engine(replace(small, model=model), provider, 1, RunOptions())


@pytest.mark.cases("models")
@pytest.mark.parametrize(
    "change",
    [
        lambda card: card_with(card, "outputs", shape=(None, 32, 37, 53)),
        lambda card: card_with(card, "outputs", shape=(None, 64, 38, 53)),
        lambda card: card_with(card, "outputs", dtype="float16"),
        lambda card: card_with(card, "outputs", name="block1_conv2"),
        lambda card: replace(card, outputs=card.outputs * 2),
        lambda card: card_with(card, "inputs", shape=(None, 53, 37, 3)),
        lambda card: card_with(card, "inputs", dtype="float32"),
        lambda card: card_with(card, "inputs", name="photo"),
    ],
)
def test_a_card_that_differs_from_the_file_is_refused(untrained_network, change):
    artifact = build(native_direct, untrained_network, "block1_conv1", size=(37, 53), **NATIVE)
    require_artifact(artifact)
    with pytest.raises(ArtifactError):
        require_artifact(replace(artifact, card=change(artifact.card)))


@pytest.mark.parametrize(
    "options", [{"batch": 3}, {"batch": None}, {"size": None}, {"input_dtype": "float32"}], ids=str
)
def test_a_card_of_the_file_passes(untrained_network, options):
    require_artifact(
        build(native_direct, untrained_network, "block1_conv1+block2_pool", **{"size": (37, 53), **NATIVE, **options})
    )
