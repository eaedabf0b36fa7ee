"""Models of others: what ends an engine ends a child."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from fmedge import cli
from fmedge.data.images import parity_image
from fmedge.errors import ArtifactError, BackendUnavailable, LimitExceeded
from fmedge.export.onnx import direct as onnx_direct
from fmedge.model import known_models
from fmedge.model.artifact import read_artifact, write_artifact
from fmedge.model.card import WeightsFacts
from fmedge.model.native_format import HEADER
from fmedge.model.run_options import RunOptions
from fmedge.model.submodel import ExportOptions, Format, Precision
from fmedge.runtime import isolated
from fmedge.runtime.opening import open_session
from fmedge.workflow.artifacts import create_artifact, run_batches
from fmedge.workflow.model_files import describe_model, open_model
from fmedge.workflow.request import request_artifact
from fmedge.workflow.verification import verify_artifact
from support.builds import build
from support.hostile import constant, edited, mutations, structure
from support.messages import says
from support.places import ROOT
from support.processes import children, has_mapped, words_of

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for the child in /proc")
IMAGE = np.full((1, 32, 32, 3), 80, np.uint8)


@pytest.fixture(autouse=True)
def state(monkeypatch, tmp_path, onnx_fp32, tflite_int8, ncnn_fp32, native_fp32):
    """A user who knows no model yet, not even those that this module made."""
    monkeypatch.setenv("FMEDGE_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(known_models, "_made_here", set())
    return tmp_path / "state"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def onnx_fp32(models):
    options = ExportOptions(size=(32, 32))
    return create_artifact(request_artifact("block1_conv2", weights="untrained", models=models, options=options))


@pytest.fixture(scope="module")
def tflite_int8(models, photos_folder):
    if find_spec("ai_edge_litert") is None:
        return None
    options = ExportOptions(Format.TFLITE, Precision.INT8, size=(32, 32))
    request = request_artifact("block1_conv2", weights="untrained", models=models, options=options)
    return create_artifact(request, calibration=photos_folder)


def _float_model(models, package, model_format):
    if find_spec(package) is None:
        return None
    options = ExportOptions(model_format, size=(32, 32))
    return create_artifact(request_artifact("block1_conv2", weights="untrained", models=models, options=options))


@pytest.fixture(scope="module")
def ncnn_fp32(models):
    return _float_model(models, "ncnn", Format.NCNN)


@pytest.fixture(scope="module")
def native_fp32(models):
    return _float_model(models, "fmedge_native", Format.NATIVE)


def own(artifact, model):
    """An artifact of other bytes, of which nothing is known."""
    return replace(artifact, model=model, card=replace(artifact.card, file_sha256=hashlib.sha256(model).hexdigest()))


@pytest.fixture(params=["onnx_fp32", "tflite_int8", "ncnn_fp32", "native_fp32"])
def artifact(request):
    return request.getfixturevalue(request.param) or pytest.skip("its engine is not installed")


def engine_of(session):
    return type(session._engine).__name__


def test_an_unknown_model_runs_elsewhere_and_gives_the_same(artifact, monkeypatch):
    with open_session(artifact, RunOptions(threads=1)) as session:
        assert engine_of(session) == "IsolatedEngine"
        found = [session.run(IMAGE)["block1_conv2"] for _ in range(2)]
        filled = np.zeros_like(found[0])
        assert session.run(IMAGE, {"block1_conv2": filled})["block1_conv2"] is filled
        about = session.backend, session.active_provider, session.placement
    known_models.remember(artifact.card, lasting=False)
    with open_session(artifact, RunOptions(threads=1)) as session:
        assert engine_of(session) != "IsolatedEngine"
        expected = session.run(IMAGE)["block1_conv2"]
        assert about == (session.backend, session.active_provider, session.placement)
    for maps in (*found, filled):
        np.testing.assert_array_equal(maps, expected)


@linux
def test_room_grows_with_the_pictures(untrained_network):
    """Of an open size: 1 GB at 1,500 x 1,500 is more than a child gets for pictures of VGG16's size."""
    artifact = build(onnx_direct, untrained_network, "block1_conv2", size=None)
    artifact = replace(artifact, card=artifact.card.facts())
    with open_session(artifact, RunOptions(threads=1)) as session:
        for side in (32, 1500, 64):
            assert session.run(np.zeros((1, side, side, 3), np.uint8))["block1_conv2"].shape == (1, 64, side, side)


def test_what_was_made_here_runs_here(tmp_path, monkeypatch):
    monkeypatch.setattr(isolated, "IsolatedEngine", None)
    artifact = create_artifact(request_artifact("block1_conv1", weights="untrained", models=tmp_path))
    assert artifact.card.parity is not None
    monkeypatch.setattr(known_models, "_made_here", set())  # another process of the same user
    next(run_batches(open_model(artifact.path), [np.zeros((1, 224, 224, 3), np.uint8)]))


def test_a_changed_byte_or_card_makes_it_unknown(onnx_fp32, tmp_path):
    known_models.remember(onnx_fp32.card)
    kernel = onnx.load_model_from_string(onnx_fp32.model).graph.initializer[1].raw_data
    changed = own(onnx_fp32, onnx_fp32.model.replace(kernel, kernel[:-1] + bytes([kernel[-1] ^ 1])))
    other_tools = replace(onnx_fp32, card=replace(onnx_fp32.card, tools={"fmedge": "9"}))
    no_parity = replace(onnx_fp32, card=replace(onnx_fp32.card, parity=None))
    assert [known_models.is_known(each.card) for each in (onnx_fp32, no_parity, changed, other_tools)] == [
        *(True, True, False, False),
    ]


def test_a_card_that_says_otherwise_than_the_file_is_refused(artifact, tmp_path):
    """Even one that is known: untrained weights shown as ImageNet's, another tool, another size."""
    card = artifact.card
    trained = replace(card, weights=WeightsFacts("imagenet", "0" * 64))
    for other, word in (
        (trained, "facts inside that differ from its card: weights"),
        (replace(card, tools={"fmedge": "9"}), "differ from its card: tools"),
        (replace(card, options=replace(card.options, float_tap=True)), "differ from its card: options"),
    ):
        known_models.remember(other, lasting=False)
        with pytest.raises(ArtifactError, match=word):
            open_session(replace(artifact, card=other))
        written = write_artifact(tmp_path / artifact.path.name, artifact.model, other, artifact.weights)
        with pytest.raises(ArtifactError, match=word):
            describe_model(written.path)


def outer_product(model):
    """Before the last ReLU: maps x maps, as vectors; 65,536 values become 4 thousand million, then far more."""
    relu = model.graph.node.pop()
    tail = relu.input[0]
    shapes = [constant("column", [-1, 1]), constant("row", [1, -1]), constant("all", [0, 1, 2, 3])]
    model.graph.initializer.extend(shapes)
    nodes, flat = [], tail
    for index in range(2):
        names = [f"{kind}{index}" for kind in ("column_", "row_", "product_")]
        nodes.append(helper.make_node("Reshape", [flat, "column"], [names[0]]))
        nodes.append(helper.make_node("Reshape", [flat, "row"], [names[1]]))
        nodes.append(helper.make_node("MatMul", names[:2], [names[2]]))
        flat = names[2]
    nodes.append(helper.make_node("ReduceMax", [flat], ["peak"], keepdims=0))
    nodes.append(helper.make_node("Add", [tail, "peak"], ["sum"]))
    relu.input[0] = "sum"
    model.graph.node.extend([*nodes, relu])


def test_a_small_file_that_wants_terabytes(onnx_fp32):
    with pytest.raises(LimitExceeded, match="values in 'product_0'"):
        open_session(own(onnx_fp32, edited(onnx_fp32.model, outer_product)))


def test_memory_of_the_child_is_bounded(onnx_fp32, monkeypatch):
    monkeypatch.setattr(isolated, "address_bytes", lambda *_: 64 << 20)  # too little even for the engine itself
    with pytest.raises((LimitExceeded, ArtifactError)) as caught:
        open_session(onnx_fp32)
    assert "\n" not in str(caught.value)


LOADED = """print('{}', flush=True); print('{"active_provider": "a", "placement": {}}', flush=True)"""
"""What a child says that has loaded its model."""


@pytest.mark.parametrize(
    ("bound", "what", "says"), [("_LOAD_S", "load", "print('{}', flush=True)"), ("_RUN_S", "run", LOADED)]
)
def test_time_of_the_child_is_bounded(onnx_fp32, monkeypatch, bound, what, says):
    """One that hears all, and says no more."""
    hears = "import sys, threading, time; threading.Thread(target=sys.stdin.buffer.read, daemon=True).start()"
    command = [sys.executable, "-c", f"{hears}; {says}; time.sleep(60)"]
    monkeypatch.setattr("fmedge.system.children.module_command", lambda _: command)
    monkeypatch.setattr(isolated, bound, 0.2)
    with pytest.raises(LimitExceeded, match=rf"did not {what} within"), open_session(onnx_fp32) as session:
        session.run(IMAGE)


def test_what_is_computed_is_bounded(onnx_fp32, monkeypatch):
    monkeypatch.setattr(isolated, "MAX_PRODUCTS_PER_PIXEL", 100)
    with open_session(onnx_fp32) as session, pytest.raises(LimitExceeded, match="billion operations"):
        session.run(IMAGE)


def test_a_model_that_computes_nan_or_another_shape(onnx_fp32):
    def not_a_number(model):
        tensor = next(tensor for tensor in model.graph.initializer if tensor.name.endswith("bias"))
        tensor.raw_data = np.full(64, np.nan, np.float32).tobytes()

    def narrowed(model):
        for node in model.graph.node:
            node.output[:] = ["inner" if name == "block1_conv2" else name for name in node.output]
        cut = [constant("from", [0]), constant("to", [31]), constant("axis", [2])]
        model.graph.initializer.extend(cut)
        model.graph.node.append(helper.make_node("Slice", ["inner", "from", "to", "axis"], ["block1_conv2"]))

    nan = own(onnx_fp32, edited(onnx_fp32.model, not_a_number))
    with open_session(nan) as session:
        with pytest.raises(ArtifactError, match="computes NaN"):
            session.run(IMAGE)
        with pytest.raises(LimitExceeded, match="has ended"):
            session.run(IMAGE)
    with pytest.raises(ArtifactError, match="computes 1 x 64 x 31 x 32 for 'block1_conv2'; its card says"):
        open_session(own(onnx_fp32, edited(onnx_fp32.model, narrowed)))


def right_on_one_picture_alone(model):
    """As the weights say for pictures as bright as the parity image, and brighter for all others."""
    relu = model.graph.node.pop()
    bright = np.float32(parity_image(32, 32).mean())
    model.graph.initializer.extend([constant("bright", bright, np.float32), constant("a bit", 0.01, np.float32)])
    rows = [
        ("Cast", ["image"], ["bare"], {"to": onnx.TensorProto.FLOAT}),
        ("ReduceMean", ["bare"], ["mean"], {"axes": [1, 2, 3]}),
        ("Sub", ["mean", "bright"], ["off"], {}),
        ("Abs", ["off"], ["distance"], {}),
        ("Greater", ["distance", "a bit"], ["other"], {}),
        ("Cast", ["other"], ["more"], {"to": onnx.TensorProto.FLOAT}),
        ("Add", [relu.input[0], "more"], ["sum"], {}),
    ]
    model.graph.node.extend(helper.make_node(name, reads, gives, **options) for name, reads, gives, options in rows)
    relu.input[0] = "sum"
    model.graph.node.append(relu)


def test_verify_runs_a_picture_that_nobody_knows(onnx_fp32, tmp_path):
    model = edited(onnx_fp32.model, right_on_one_picture_alone)
    for name, content, passes in (("good.onnx", onnx_fp32.model, True), ("odd.onnx", model, False)):
        artifact = write_artifact(tmp_path / name, content, onnx_fp32.card)
        assert verify_artifact(artifact.path)[1].passed is passes
    noise = [parity_image(32, 32)[np.newaxis]]
    (odd,), (good,) = (list(run_batches(read_artifact(tmp_path / name), noise)) for name in ("odd.onnx", "good.onnx"))
    np.testing.assert_array_equal(odd["block1_conv2"], good["block1_conv2"])


def wait_for_engine(process_id):
    """The child, once it has loaded the engine."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        for child in children(process_id):
            # before it is another program, it has our maps
            if "isolated_child" in words_of(child) and has_mapped(child, "onnxruntime_p"):
                return child
    raise AssertionError("no child came")


CRASHES = {
    signal.SIGSEGV: r"crashed the engine \(signal 11\); it ran in a process of its own",
    signal.SIGKILL: r"for lack of memory",
}


@linux
@pytest.mark.parametrize("number", CRASHES)
@pytest.mark.parametrize("awaited", [True, False])
def test_a_crash_ends_the_child_alone(onnx_fp32, number, awaited):
    """The reason is told whether the child has ended by the next run, or ends while it is asked."""
    with open_session(onnx_fp32) as session:
        session.run(IMAGE)
        child = wait_for_engine(os.getpid())
        os.kill(child, number)
        if awaited:
            os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        with pytest.raises(LimitExceeded, check=says(CRASHES[number])):
            session.run(IMAGE)
        with pytest.raises(LimitExceeded, check=says("has ended")):
            session.run(IMAGE)
    with open_session(onnx_fp32) as session:
        session.run(IMAGE)
    assert not [child for child in children(os.getpid()) if "isolated_child" in words_of(child)]


@linux
def test_ctrl_c_ends_the_child(onnx_fp32, picture, tmp_path):
    shutil.copy(onnx_fp32.path, tmp_path / "bare.onnx")
    process = subprocess.Popen(
        [sys.executable, "-m", "fmedge", "run", str(picture), "--model", "bare.onnx"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
        stderr=subprocess.PIPE,
        text=True,
    )
    child = wait_for_engine(process.pid)
    process.send_signal(signal.SIGINT)
    _, talk = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in talk
    assert not Path(f"/proc/{child}").exists()


def test_the_child_gets_no_secrets_and_finds_our_modules(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("HOME", "/home/me")
    environment = isolated._environment()
    assert set(environment) <= {*isolated._INHERITED, "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "OPENBLAS_NUM_THREADS"}
    assert str(ROOT) in environment["PYTHONPATH"].split(os.pathsep)


@pytest.mark.parametrize(
    ("says", "kind", "message"),
    [
        ("", LimitExceeded, "ended the process"),
        ("os.kill(os.getpid(), 11)", LimitExceeded, "signal 11"),
        ("print('{')", LimitExceeded, "ended the process"),
        ("print('[]')", LimitExceeded, "ended the process"),
        ("print('[' * 100_000)", LimitExceeded, "ended the process"),
        ("print('x' * 2_000_000)", LimitExceeded, "ended the process"),
        ("""print('{"error": "LimitExceeded", "message": "so"}')""", LimitExceeded, "^so$"),
        ("""print('{"error": "BackendUnavailable", "message": "so"}')""", BackendUnavailable, "^so$"),
        ("""print('{"error": "NoSuch", "message": 5}')""", ArtifactError, "^5$"),
        ("""print('{"error": "Path", "message": "so"}')""", ArtifactError, "^so$"),
        ("print('{}'); print('{}')", ArtifactError, "did not report what computes it"),
        ('print(\'{}\'); print(\'{"active_provider": "a", "placement": {"a": 5}}\')', ArtifactError, "did not report"),
    ],
)
def test_whatever_the_child_says_is_judged(onnx_fp32, monkeypatch, says, kind, message):
    command = [sys.executable, "-c", f"import os, sys; sys.stdin.readline(); {says or 'pass'}"]
    monkeypatch.setattr("fmedge.system.children.module_command", lambda _: command)
    with pytest.raises(kind, match=message):
        open_session(onnx_fp32)


def test_the_command_takes_a_model_as_ones_own_and_forgets_it(onnx_fp32, picture, tmp_path, capsys):
    shutil.copy(onnx_fp32.path, tmp_path / "mine.onnx")
    shutil.copy(f"{onnx_fp32.path}.json", tmp_path / "mine.onnx.json")
    words = ["run", str(picture), "--model", str(tmp_path / "mine.onnx"), "--no-page"]
    assert cli.main(words) == 0
    assert "not made here, so it runs in its own process" in capsys.readouterr().err
    assert cli.main(["trust", str(tmp_path / "mine.onnx")]) == 0
    assert cli.main(words) == 0
    assert "not made here" not in capsys.readouterr().err
    assert cli.main(["trust", "--forget", str(tmp_path / "mine.onnx")]) == 0
    assert cli.main(words) == 0
    assert "not made here" in capsys.readouterr().err


RUNNER = (
    "import json,sys\n"
    "from fmedge.cli import main\n"
    "codes = []\n"
    "for path in sys.argv[2:]:\n"
    "    print(path, file=sys.stderr)\n"
    "    codes.append(main(['run', sys.argv[1], '--model', path, '--output', 'page.html', '--threads', '1']))\n"
    "print(json.dumps(codes))"
)


def weights(artifact):
    """The larger constants of a model file."""
    if artifact.card.format is Format.ONNX:
        return [tensor.raw_data for tensor in onnx.load_model_from_string(artifact.model).graph.initializer]
    if artifact.card.format is Format.NCNN:
        return []  # they are in a file of their own
    if artifact.card.format is Format.NATIVE:
        header = HEADER.unpack_from(artifact.model)
        return [artifact.model[header[5] : header[6]]]  # from the mean to the end of the weights
    from ai_edge_litert import schema_py_generated as schema

    buffers = schema.ModelT.InitFromObj(schema.Model.GetRootAs(artifact.model)).buffers
    return [bytes(buffer.data) for buffer in buffers if buffer.data is not None and len(buffer.data) > 256]


def exit_codes(artifact, picture, folder, count):
    """Run the command line on mutated files, all in one process: their exit codes.

    Each has a card that holds its hash, as whoever means harm would write it.
    """
    blobs = [artifact.card.facts_json().encode(), *weights(artifact)]
    paths = []
    for index, content in enumerate(mutations(artifact.model, structure(artifact.model, *blobs), count, seed=5)):
        path = folder / f"{index}{artifact.card.format.suffixes[0]}"
        write_artifact(path, content, artifact.card, artifact.weights)
        paths.append(str(path))
    run = subprocess.run(
        [sys.executable, "-c", RUNNER, str(picture), *paths],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-2000:]  # below 0: a signal ended it, and the last path did it
    assert "Traceback" not in run.stderr, run.stderr[-4000:]
    return Counter(json.loads(run.stdout.splitlines()[-1]))


def judge_exit_codes(codes, count, kind):
    """0: the engine ran it in the child, and the page was written."""
    print(f"{count} mutated .{kind} files through the command line: exit codes {dict(sorted(codes.items()))}")
    assert set(codes) <= {0, 4, 7}
    assert codes.total() == count
    assert codes[0] > 0
    assert codes[4] > 0


@pytest.mark.few(2)
def test_mutated_files_never_end_the_process(artifact, picture, tmp_path, cases):
    judge_exit_codes(exit_codes(artifact, picture, tmp_path, 20), 20, artifact.card.format)
    cases("models, mutated", 20)


@pytest.mark.slow
def test_three_hundred_mutated_files_never_end_the_process(artifact, picture, tmp_path, cases):
    judge_exit_codes(exit_codes(artifact, picture, tmp_path, 300), 300, artifact.card.format)
    cases("models, mutated", 300)
