"""The commands as a user types them, each in a process of its own."""

import json
import os
import signal
import subprocess
import sys

import h5py
import numpy as np
import pytest

from fmedge.model.run_options import RunOptions
from fmedge.runtime.opening import choose_backend
from support.messages import bare
from support.models import name_of_run
from support.places import ROOT
from support.processes import wait_until


@pytest.fixture
def models(block1):
    return block1.path.parent


def test_version_layers_and_help(fmedge_process):
    assert fmedge_process("--version").stdout.startswith("fmedge 0.")
    lines = fmedge_process("layers").stdout.splitlines()
    assert len(lines) == 19
    shape = ["64", "x", "224", "x", "224"]
    assert lines[1].split() == ["block1_conv1", "conv", "relu", *shape, "1", "3", "1,792", "86.7"]
    rows = json.loads(fmedge_process("layers", "--json", "--size", "64").stdout)
    assert rows[-1] == {
        "name": "block5_pool", "kind": "pool", "activation": None, "shape": [512, 2, 2], "stride": [32, 32],
        "receptive_field": [212, 212], "parameters": 0, "macs": 0, "obstacle": None,
    }  # fmt: skip
    assert "run" in fmedge_process("--help").stdout
    assert fmedge_process().stdout == fmedge_process("--help").stdout


def test_export_then_info_then_run(fmedge_process, tmp_path, picture):
    exported = fmedge_process("export", "--layer", "block1_conv1", "--weights", "untrained")
    assert exported.stdout == "models/block1_conv1.relu.fp32.untrained.onnx\n".replace("/", os.sep)
    assert "untrained weights" in exported.stderr
    assert "dB SNR" in exported.stderr
    model = exported.stdout.strip()
    shown = fmedge_process("info", model).stdout
    assert "uint8 N x 224 x 224 x 3 (NHWC)" in shown
    assert "untrained weights (He normal" in shown
    assert json.loads(fmedge_process("info", model, "--json").stdout)["submodel"]["taps"] == ["block1_conv1"]
    ran = fmedge_process("run", picture, "--model", model)
    assert ran.stdout == "picture.block1_conv1.html\n"
    assert "untrained weights" in ran.stderr
    assert b"untrained" in (tmp_path / "picture.block1_conv1.html").read_bytes()
    assert "Exporting" not in ran.stderr


def test_info_of_a_bare_file(fmedge_inprocess, block1, tmp_path):
    (tmp_path / "bare.onnx").write_bytes(block1.model)
    shown = fmedge_inprocess("info", "bare.onnx").stdout
    assert "block1_conv1" in shown
    assert "the facts inside it" in shown
    assert json.loads(fmedge_inprocess("info", "bare.onnx", "--json").stdout)["file_sha256"] is None


def test_run_exports_what_is_missing_and_says_so(fmedge_process, tmp_path, picture):
    words = [
        "run",
        picture,
        "--layer",
        "block1_conv2",
        "--activation",
        "none",
        "--channel",
        "5",
        "--weights",
        "untrained",
    ]
    files = ["--output", "five.html", "--save-maps", "maps.npz"]
    ran = fmedge_process(*words, *files, "--json", FMEDGE_MODELS="here")
    assert "Exporting" in ran.stderr
    assert (tmp_path / "here" / name_of_run("block1_conv2", "none")).is_file()
    facts = json.loads(ran.stdout)
    provider = choose_backend(RunOptions()).providers[0].name
    assert (facts["page"], facts["maps"], facts["active_provider"]) == ("five.html", "maps.npz", provider)
    with np.load(tmp_path / "maps.npz") as archive:
        assert archive["maps"].shape == (64, 224, 224)
        assert archive["maps"].min() < 0


def test_same_page_twice(fmedge_inprocess, tmp_path, picture, models):
    for name in ("a.html", "b.html"):
        fmedge_inprocess("run", picture, "--weights", "untrained", "--models", models, "--output", name)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def text_as_jpg(folder):
    (folder / "text.jpg").write_text("not an image")
    return ["run", "text.jpg"]


def empty(folder):
    (folder / "empty.jpg").touch()
    return ["run", "empty.jpg"]


def wrong_weights(folder):
    with h5py.File(folder / "other.h5", "w") as file:
        file["dense/kernel"] = np.zeros(3)
    return ["export", "--weights", "other.h5"]


def no_card(folder):
    (folder / "m.onnx").write_bytes(b"x")
    return ["info", "m.onnx"]


def folder_of_that_name(folder):
    (folder / "page.html").mkdir()
    return ["run", "PICTURE", "--output", "page.html"]


def models_is_a_file(folder):
    (folder / "models").touch()
    return ["export", "--weights", "untrained", "--models", "models"]


@pytest.mark.parametrize(
    ("code", "words", "message"),
    [
        (2, ["run", "PICTURE", "--layer", "block1_conv3"], "Unknown layer 'block1_conv3'. Closest: 'block1_conv2'"),
        (2, ["run", "PICTURE", "--channel", "64"], "No channel 64 in block1_conv1. Allowed: 0 to 63"),
        (2, ["run", "PICTURE", "--layer", "block1_pool", "--activation", "none"], "has no ReLU to leave out"),
        (2, ["run", "PICTURE", "--output", "page.pdf"], "ends in .html"),
        (2, ["run", "PICTURE", "--model", "m.onnx", "--layer", "block1_conv1"], "Leave out those options"),
        (2, ["run"], "IMAGE"),
        (2, ["run", "PICTURE", "--lyer", "block1_conv1"], "--l"),
        (2, ["run", "PICTURE", "--activation", "tanh"], "tanh"),
        (2, ["run", "PICTURE", "--threads", "0"], "out of range. Allowed: 1 to"),
        (2, ["run", "PICTURE", "--precision", "int8", "--size", "31"], "--calibration DIR"),
        (2, ["run", "PICTURE", "--layer", "block1_conv1,block1_conv2"], "a run takes one model"),
        (2, ["run", "PICTURE", "--threads", "99999"], "out of range. Allowed: 1 to"),
        (2, ["run", "PICTURE", "--size", "0"], "Allowed: 1 x 1 or larger"),
        (2, ["run", "PICTURE", "--backend", "onnxruntim"], "Unknown backend 'onnxruntim'. Closest: 'onnxruntime'"),
        (2, ["run", "PICTURE", "--device", "cdua"], "Unknown device 'cdua'. Closest: 'cuda'"),
        (2, ["run", "PICTURE", "--backend", "ncnn", "--format", "onnx"], "ncnn does not run onnx models"),
        (2, ["run", "PICTURE", "--math", "bf16", "--backend", "onnxruntime"], "onnxruntime does not offer --math bf16"),
        (2, ["run", "PICTURE", "--cpus", "9999"], "--cpus 9999: allowed here"),
        (2, ["layers", "--size", "3"], "32 or more"),
        (3, ["run", "gone.jpg"], "No image 'gone.jpg'"),
        (3, ["run", "x" * 300], "No image"),
        (4, ["run", "PICTURE", "--model", "x" * 300], "No model file"),
        (6, ["run", "PICTURE", "--output", "x" * 300 + ".html"], "Cannot write"),
        (3, text_as_jpg, "Cannot decode 'text.jpg'"),
        (3, empty, "is empty"),
        (3, ["run", "."], "No images in the folder '.'"),
        (4, ["run", "PICTURE", "--model", "gone.onnx"], "No model file 'gone.onnx'"),
        (4, ["export", "--weights", "gone.h5"], "No weights file 'gone.h5'"),
        (4, ["export", "--weights", "imagenet", "--offline"], "MD5 6d6bbae143d832006294945121d1f1fc"),
        (4, wrong_weights, "holds no VGG16 weights"),
        (4, no_card, "damaged"),
        (6, ["run", "PICTURE", "--output", "no/page.html"], "does not exist"),
        (6, folder_of_that_name, "it is a folder"),
        (6, models_is_a_file, "Cannot write"),
    ],
)  # fmt: skip
def test_wrong_input_is_one_line_with_its_code(fmedge_inprocess, tmp_path, picture, models, code, words, message):
    words = words(tmp_path) if callable(words) else words
    words = [picture if word == "PICTURE" else word for word in words]
    before = sorted(tmp_path.rglob("*"))
    result = fmedge_inprocess(*words, code=code, FMEDGE_WEIGHTS="untrained", FMEDGE_MODELS=str(models))
    assert message in result.stderr
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_debug_shows_where_an_error_came_from(fmedge_inprocess):
    plain = fmedge_inprocess("run", "gone.jpg", code=3).stderr
    said = fmedge_inprocess("--debug", "run", "gone.jpg", code=3).stderr
    assert plain.count("\n") == 1
    assert said.endswith(plain)
    assert said.startswith("Traceback (most recent call last):")
    assert "FileNotFoundError" in said  # the cause
    assert "fmedge.errors.ImageError" in said
    assert "\x1b" not in fmedge_inprocess("--debug", "run", "\x1b[2J.jpg", code=3).stderr


def test_messages_keep_to_two_hundred_letters(fmedge_inprocess):
    for words in (["run", "x" * 250], ["run", "x y" * 2000 + ".jpg"], ["info", "a/" * 150], ["run", "--" + "z" * 300]):
        line = fmedge_inprocess(*words, code={"info": 4}.get(words[0], 2 if words[1].startswith("--") else 3)).stderr
        assert line.count("\n") == 1
        assert len(bare(line.rstrip("\n"))) <= 200


@pytest.mark.skipif(os.name != "posix", reason="file names are bytes on POSIX alone")
def test_a_name_that_is_no_utf8(fmedge_process, tmp_path, picture, models):
    name = os.fsdecode(b"a\xff.png")
    try:
        (tmp_path / name).write_bytes(picture.read_bytes())
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    run = [sys.executable, "-m", "fmedge", "run", name, "--weights", "untrained", "--models", str(models)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8:strict"}
    for words in ([], ["--json"]):
        process = subprocess.run([*run, *words], cwd=tmp_path, env=environment, capture_output=True, timeout=300)
        assert process.returncode == 0, process.stderr
        page = json.loads(process.stdout)["page"] if words else os.fsdecode(process.stdout).rstrip()
        assert (tmp_path / page).is_file()
    process = subprocess.run([*run, "--output", "no/a.html"], cwd=tmp_path, env=environment, capture_output=True)
    assert process.returncode == 6


def test_control_characters_of_a_name_do_not_reach_the_terminal(fmedge_inprocess):
    assert "\x1b" not in fmedge_inprocess("run", "\x1b[31m.jpg", code=3).stderr


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_folder(fmedge_inprocess, tmp_path, picture):
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o555)
    assert "read-only" in fmedge_inprocess("run", picture, "--output", "closed/page.html", code=6).stderr


def test_without_plotly_a_figure_is_refused_in_one_line(fmedge_process, tmp_path, picture, models):
    (tmp_path / "plotly").mkdir()
    (tmp_path / "plotly/__init__.py").touch()
    words = ["run", picture, "--style", "grid", "--weights", "untrained", "--models", models]
    said = fmedge_process(*words, code=5, PYTHONPATH=os.pathsep.join([str(tmp_path), str(ROOT)])).stderr
    assert said == "Error: A figure needs the plotly package. Install it: pip install plotly.\n"


def test_layers_into_a_closed_pipe():
    command = [sys.executable, "-m", "fmedge", "layers"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(30) == 0


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_leave_nothing_half_written(tmp_path, number, code):
    process = subprocess.Popen(
        [sys.executable, "-m", "fmedge", "export", "--layer", "block5_conv3", "--weights", "untrained"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(process, (tmp_path / "models").is_dir)  # the command is under way once its folder is there
    process.send_signal(number)
    _, talk = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in talk
    # C code that is being imported may swallow the exception: then the work is done as a whole before the command ends
    name = "block5_conv3.relu.fp32.untrained.onnx"
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) in ([], [name, f"{name}.json"])


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="POSIX signals")
@pytest.mark.parametrize(("number", "raised"), [(signal.SIGINT, "KeyboardInterrupt"), (signal.SIGTERM, "SystemExit")])
def test_a_signal_that_an_import_swallows_comes_again(tmp_path, number, raised):
    (tmp_path / "swallower.py").write_text(
        "import os, time\n"
        "try:\n"
        f"    os.kill(os.getpid(), {int(number)})\n"
        "    for _ in range(100): time.sleep(0.01)\n"
        "except BaseException: pass\n"
    )
    script = (  # a process of its own: other threads of this one may be handed the signal
        "import signal, time\n"
        "from fmedge.cli.interrupts import signals\n"
        "before = signal.getsignal(signal.SIGALRM)\n"
        "with signals() as came:\n"
        "    try:\n"
        "        import swallower\n"
        "        for _ in range(1000): time.sleep(0.01)\n"
        f"    except {raised}:\n"
        "        print(came)\n"
        "print(signal.getsignal(signal.SIGALRM) == before, signal.getitimer(signal.ITIMER_REAL))\n"
    )
    path = os.pathsep.join(map(str, (tmp_path, ROOT)))
    ran = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.stdout.splitlines() == [f"[{int(number)}]", "True (0.0, 0.0)"], ran.stderr


def test_layer_names_complete(fmedge_process):
    typed = {"COMP_WORDS": "fmedge run --layer block3_c", "COMP_CWORD": "3"}
    found = fmedge_process(_FMEDGE_COMPLETE="complete_bash", **typed)
    assert found.stdout.split() == [f"block3_conv{number}" for number in (1, 2, 3, 4)]
