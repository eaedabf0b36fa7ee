"""Commands with ``--on``: what a board does, against what this machine does."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from fmedge.boards.agent import _marked
from fmedge.boards.registry import Board, add_board
from fmedge.data.bench_report import read_report
from fmedge.workflow.tuned_choice import read_tuned
from support.boards import Host, find_sshd, prepare, running
from support.places import ROOT
from support.processes import wait_until

pytestmark = pytest.mark.ssh


@pytest.fixture(scope="module")
def _host(tmp_path_factory):
    if find_sshd() is None:
        pytest.skip("OpenSSH's server or client is not installed")
    host = Host(tmp_path_factory.mktemp("host"))
    prepare(host.data)
    yield host
    host.close()


@pytest.fixture
def board(_host, tmp_path, monkeypatch):
    """A board that is set up, named pi."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    add_board(Board("pi", "board", "python3", str(_host.config)))
    yield _host
    assert not list((_host.data / "fmedge-board").glob("jobs/*"))


BENCH = ("bench", "--weights", "untrained", "--size", "32", "--backend", "onnxruntime", "--runs", "3", "--seconds", "0")


def test_bench_on_a_board_and_here(board, fmedge_inprocess, tmp_path):
    words = [*BENCH, "--processes", "1", "--on", "pi,local", "--output", "b.json", "--output", "b.html"]
    ran = fmedge_inprocess(*words, "--threads", "1")
    assert "pi:\n" in ran.stdout
    here, there = (read_report(tmp_path / f"b.{name}.json") for name in ("local", "pi"))
    assert [each.configuration for each in here.measurements] == [each.configuration for each in there.measurements]
    assert here.measurements[0].file_sha256 == there.measurements[0].file_sha256
    assert here.machine.processor == there.machine.processor
    assert b"pi" in (tmp_path / "b.html").read_bytes()
    compared = fmedge_inprocess("compare", "b.local.json", "b.pi.json")
    assert "block1_conv1 on onnxruntime" in compared.stdout


def test_bench_of_a_model_file(fmedge_inprocess, block1, tmp_path):
    shutil.copytree(block1.path.parent, tmp_path / "m", ignore=shutil.ignore_patterns("state"))
    words = ["--runs", "2", "--seconds", "0", "--processes", "1", "--backend", "onnxruntime", "--json"]
    found = json.loads(fmedge_inprocess("bench", "--model", f"m/{block1.path.name}", *words).stdout)
    (measured,) = found["measurements"]
    assert measured["configuration"]["layer"] == "block1_conv1"
    assert measured["configuration"]["weights"].startswith("untrained weights")
    assert measured["file_sha256"] == block1.card.file_sha256
    refused = fmedge_inprocess("bench", "--model", "x.onnx", "--weights", "untrained", code=2)
    assert "--model names files" in refused.stderr


@pytest.mark.slow
def test_doctor(board, fmedge_inprocess):
    found = json.loads(fmedge_inprocess("doctor", "--on", "pi", "--json").stdout)["pi"]
    assert found["machine"]["cores"] >= 1
    works = {each["backend"]: [device["works"] for device in each["devices"]] for each in found["engines"]}
    assert works["onnxruntime"][0] is True


def test_run(board, fmedge_inprocess, picture, tmp_path):
    """The maps are those that this machine computes."""
    words = ["--weights", "untrained", "--format", "onnx", "--backend", "onnxruntime"]
    there = fmedge_inprocess("run", picture, *words, "--on", "pi", "--save-maps", "there.npz", "--png", "there.png")
    assert there.stdout == "picture.block1_conv1.html\n"
    page = (tmp_path / "picture.block1_conv1.html").read_bytes()
    fmedge_inprocess("run", picture, *words, "--save-maps", "here.npz", "--png", "here.png")
    for name in ("there", "here"):
        with np.load(tmp_path / f"{name}.npz") as found:
            maps = found["block1_conv1"] if "block1_conv1" in found else found[found.files[0]]
            if name == "there":
                expected = maps
    assert np.array_equal(maps, expected)
    assert (tmp_path / "there.png").read_bytes() == (tmp_path / "here.png").read_bytes()
    assert b"picture.png" in page
    assert str(board.home).encode() not in page


def test_run_of_several_photos_and_layers(board, fmedge_inprocess, picture, tmp_path):
    """One of the photos is none: the others are done, and the command says so, as it does here."""
    photos = tmp_path / "photos"
    photos.mkdir()
    shutil.copy(picture, photos / "a.png")
    shutil.copy(picture, photos / "b.png")
    (photos / "c.png").write_bytes(b"no photo")
    words = ["run", "photos", "--weights", "untrained", "--format", "onnx", "--backend", "onnxruntime", "--size", "32"]
    words += ["--layer", "block1_conv1+block1_conv2", "--activation", "both", "--json"]
    found = {}
    for place, where in (("here", []), ("there", ["--on", "pi"])):
        made = fmedge_inprocess(*words, *where, "--output", place, "--save-maps", place, code=9)
        assert "1 of 3 images skipped" in made.stderr
        found[place] = json.loads(made.stdout)
        assert sorted({each["image"] for each in found[place]}) == ["photos/a.png", "photos/b.png", "photos/c.png"]
    assert [each.get("page") for each in found["there"]] == [
        each.get("page") and each["page"].replace("here", "there") for each in found["here"]
    ]
    names = sorted(path.name for path in (tmp_path / "here").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "there").iterdir())
    assert len(names) == 8
    for name in names:
        if name.endswith(".npz"):
            with np.load(tmp_path / "here" / name) as here, np.load(tmp_path / "there" / name) as there:
                assert all(np.array_equal(here[key], there[key]) for key in here.files if here[key].dtype == np.float32)


def test_one_page_of_several_layers(board, fmedge_inprocess, picture, tmp_path):
    words = ["run", picture, "--weights", "untrained", "--format", "onnx", "--backend", "onnxruntime", "--size", "32"]
    words += ["--layer", "block1_conv1+block1_conv2", "--on", "pi", "--output", "p.html", "--png", "sheets"]
    assert fmedge_inprocess(*words).stdout == "p.html\n"
    assert b"block1_conv2" in (tmp_path / "p.html").read_bytes()
    assert len(list((tmp_path / "sheets").iterdir())) == 2


@pytest.mark.slow
def test_a_board_finds_its_own_choice_and_runs_use_it(board, fmedge_inprocess, picture, tmp_path):
    sub = ["--weights", "untrained", "--size", "32", "--models", "models"]
    words = ["tune", *sub, "--on", "pi", "--backend", "onnxruntime,ncnn", "--threads", "1", "--seconds", "0"]
    ran = fmedge_inprocess(*words, "--output", "t.html", "--output", "t.json")
    (choice,) = tmp_path.glob("models/*.pi.tuned.json")
    assert ran.stdout.endswith(f"{choice.relative_to(tmp_path)}\n")
    assert "fmedge run --on pi uses it by default" in ran.stderr
    tuned = read_tuned(choice)
    assert tuned.judged_on == "the parity image"
    assert tuned.choice.exact
    assert len(read_report(tmp_path / "t.json").measurements) == 2
    ran = json.loads(fmedge_inprocess("run", picture, *sub, "--on", "pi", "--json").stdout)
    assert (ran["backend"], ran["threads"]) == (tuned.choice.backend, 1)
    here = fmedge_inprocess("run", picture, *sub, "--tuned", code=2)
    assert "No tuned choice" in here.stderr


@pytest.fixture
def model(block1):
    """A model that was made here."""
    return block1.path


def test_a_deployment_runs_and_is_replaced_when_the_new_one_is_checked(
    board, fmedge_inprocess, model, picture, tmp_path
):
    folder = tmp_path / "fm"
    words = ["deploy", model, "--on", "pi", "--to", folder, "--threads", "1", "--backend", "onnxruntime"]
    made = fmedge_inprocess(*words)
    assert made.stdout == f"pi:{folder}\n"
    assert "the file matches its card" in made.stderr
    (first,) = (folder / "releases").iterdir()
    facts = json.loads((folder / "current" / "deployment.json").read_text())
    assert facts["run"] == {"backend": "onnxruntime", "device": "cpu", "threads": 1, "math": "fp32"}
    ran = _called(folder / "run", picture, "--save-maps", "m.npz", "--no-page", "--json", cwd=tmp_path)
    assert json.loads(ran.stdout)["threads"] == 1
    assert "own process" not in ran.stderr  # it was made here, and so it is trusted there
    fmedge_inprocess("run", picture, "--model", model, "--save-maps", "h.npz", "--no-page")
    with np.load(tmp_path / "m.npz") as there, np.load(tmp_path / "h.npz") as here:
        name = next(each for each in here.files if here[each].ndim == 3)
        np.testing.assert_allclose(there[name], here[name], rtol=1e-4, atol=1e-2)

    other = tmp_path / "wrong" / model.name  # not what its reference says
    other.parent.mkdir()
    content = bytearray(model.read_bytes())
    content[-1] ^= 1
    other.write_bytes(content)
    failed = fmedge_inprocess("deploy", other, "--on", "pi", "--to", folder, "--weights", "untrained", code=4)
    assert "Error: " in failed.stderr
    assert [*(folder / "releases").iterdir()] == [first]

    fmedge_inprocess(*words)
    (second,) = (folder / "releases").iterdir()
    assert second.name != first.name
    assert (folder / "current").resolve() == second
    assert _called(folder / "current" / "verify", cwd=tmp_path).returncode == 0


def _called(*words, cwd):
    return subprocess.run([*map(str, words)], cwd=cwd, capture_output=True, text=True, check=True)


def test_a_release_that_computes_something_else_is_not_used(board, fmedge_inprocess, model, tmp_path, monkeypatch):
    """The reference is that of another network: what is computed there does not agree."""
    from fmedge.workflow import verification

    def wrong(path, images, expected):
        np.savez(path, images=images, **{name: each + 300 for name, each in expected.items()})

    monkeypatch.setattr(verification, "save_reference", wrong)
    failed = fmedge_inprocess("deploy", model, "--on", "pi", "--to", tmp_path / "fm", code=4)
    assert "fails its parity gate" in failed.stderr
    assert not (tmp_path / "fm" / "current").exists()
    assert not [*(tmp_path / "fm" / "releases").iterdir()]


def test_only_where_there_is_room_for_a_deployment(board, fmedge_inprocess, model, tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").touch()
    said = fmedge_inprocess("deploy", model, "--on", "pi", "--to", tmp_path / "taken", code=5).stderr
    assert f"'{tmp_path}/taken' on 'pi' holds something else" in said
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["thesis.txt"]
    said = fmedge_inprocess("deploy", model, "--on", "pi", "--to", "/proc/fm", code=5).stderr
    assert "/proc/fm" in said
    said = fmedge_inprocess("deploy", model, "--on", "pi", "--to", "/opt/fm", "--backend", "ncnn", code=2).stderr
    assert "ncnn does not run onnx models. Allowed: onnxruntime" in said
    for place in ("fm", "/", "/opt/../etc", "/opt/a b", "/opt/$(id)"):
        assert (
            "not a folder on a board" in fmedge_inprocess("deploy", model, "--on", "pi", "--to", place, code=2).stderr
        )


def test_a_dry_run_shows_every_command(board, fmedge_inprocess, model, tmp_path):
    words = ["deploy", model, "--on", "pi", "--to", "/opt/fm", "--watch", "/srv/in", "--dry-run"]
    lines = fmedge_inprocess(*words).stdout.splitlines()
    assert f"# copy {model.name}, {model.stat().st_size:,} bytes" in lines
    assert sum("/releases/" in line and line.endswith("/verify") for line in lines) == 1
    assert "systemctl --user enable fmedge-fm.service" in lines
    assert any(line.startswith("cp -a ~/.local/share/fmedge-board/venv /opt/fm/releases/") for line in lines)


def test_a_folder_of_photos_is_watched(model, picture, tmp_path):
    """By what a deployment's service starts; what it runs is a script, as there."""
    run, inbox = tmp_path / "run", tmp_path / "in"
    run.write_text(f'#!/bin/sh\nexec {sys.executable} -m fmedge run --model {model} --backend onnxruntime "$@"\n')
    run.chmod(0o755)
    inbox.mkdir()
    for name in ("a.png", "b.png", ".hidden.png"):
        shutil.copy(picture, inbox / name)
    (inbox / "c.png").write_bytes(b"no photo")
    words = [sys.executable, "-m", "fmedge.boards.inbox", inbox, run, "both"]
    process = subprocess.Popen([*map(str, words)], env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        wait_until(process, lambda: (inbox / "done" / "b.png").exists() and (inbox / "failed" / "c.png").exists())
        shutil.copy(picture, inbox / "a.png")
        wait_until(process, lambda: (inbox / "done" / "a-2.png").exists())
    finally:
        process.kill()
        process.wait()
    made = sorted(path.name for path in (inbox / "results").iterdir())
    assert made == ["a.block1_conv1.html", "a.block1_conv1.npz", "b.block1_conv1.html", "b.block1_conv1.npz"]
    assert sorted(path.name for path in inbox.iterdir()) == [".hidden.png", "done", "failed", "results"]


def test_wrong_requests(board, fmedge_inprocess, picture, tmp_path):
    assert "Unknown board 'pj'" in fmedge_inprocess("doctor", "--on", "pj", code=2).stderr
    assert "takes one board" in fmedge_inprocess("run", picture, "--on", "pi,local", code=2).stderr
    assert "belong together" in fmedge_inprocess("tune", "--model", "x.onnx", code=2).stderr
    words = ["run", picture, "--weights", "untrained", "--on", "pi", "--format", "onnx"]
    failed = fmedge_inprocess(*words, "--threads", "100000", code=2)
    assert "Error: " in failed.stderr


def test_boards_that_cannot_be_used(board, fmedge_inprocess, tmp_path):
    add_board(Board("new", "board", "", str(board.config)))
    assert "'new' is not set up" in fmedge_inprocess("doctor", "--on", "new", code=5).stderr
    record = board.data / "fmedge-board" / "board.json"
    former = record.read_text()
    record.write_text('{"fmedge": "9.9\\u001b[2J"}')
    try:
        failed = fmedge_inprocess("doctor", "--on", "pi", code=5).stderr
        assert "has fmedge 9.9?[2J; here it is" in failed
        assert "Set it up again: fmedge boards setup pi" in failed
    finally:
        record.write_text(former)


def started(words, folder):
    """A command that goes on while the test does."""
    return subprocess.Popen(
        [sys.executable, "-m", "fmedge", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_an_interrupt_stops_the_board_and_keeps_what_was_measured(board, tmp_path):
    words = [*BENCH, "--processes", "1", "--on", "pi", "--output", "b.json", "--runs", "100000", "--seconds", "600"]
    process = started(words, tmp_path)
    mark = f"{board.home}/data/fmedge-board/venv/bin/python"
    wait_until(process, lambda: any("fmedge.bench.worker" in _words(each) for each in running(mark)))
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Stopping the job on 'pi'" in said
    assert not running(mark)
    assert read_report(tmp_path / "b.json").interrupted


@pytest.mark.slow
def test_what_was_measured_before_a_board_stopped_is_kept(board, tmp_path):
    words = [*BENCH, "--on", "pi", "--output", "b.json", "--processes", "90", "--runs", "100000", "--seconds", "60"]
    process = started(words, tmp_path)
    jobs = board.data / "fmedge-board" / "jobs"
    wait_until(process, lambda: next(jobs.glob("*/out/report.json"), None))
    folder = next(jobs.iterdir())
    victims = [json.loads((folder / "runner.json").read_text())["pid"], *_marked(folder.name)]  # as a restart does
    for pid in victims:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 5, said
    assert "was cut off" in said
    report = read_report(tmp_path / "b.json")
    assert report.interrupted
    assert report.measurements[0].processes


def _words(pid):
    from support.processes import words_of

    return words_of(pid)
