"""Jobs on a board: they end when their results are here, whatever happens to the connection, and leave nothing."""

import io
import itertools
import json
import os
import random
import signal
import subprocess
import threading
import time

import pytest

from fmedge.boards import jobs
from fmedge.boards.jobs import Job, Runner
from fmedge.boards.link import Link, ask
from fmedge.boards.local import LocalTarget
from fmedge.boards.registry import Board
from fmedge.boards.ssh import SshTarget
from fmedge.boards.target import Failure, LinkLost
from fmedge.errors import BoardUnavailable
from support.boards import running
from support.messages import says


class Target(LocalTarget):
    """This machine with a home of the test's, and a link that can be made to fail."""

    def __init__(self, data):
        super().__init__({**os.environ, "XDG_DATA_HOME": str(data)})
        self.root = data / "fmedge-board"
        self.lose = itertools.repeat(False)

    def start(self, words):
        if next(self.lose):
            raise LinkLost(Failure(BoardUnavailable("Cannot reach the board 'local'."), passing=True))
        return super().start(words)


@pytest.fixture
def target(tmp_path):
    found = Target(tmp_path / "data")
    yield found
    ask(Link(LocalTarget(found._environment), "python3"), "uninstall")
    assert not (tmp_path / "data").exists()


@pytest.fixture
def runner(target, monkeypatch):
    monkeypatch.setattr(jobs, "_PAUSES_S", (0.05,))
    found = Runner(
        Link(target, "python3"),
        lambda stream, text: found.said[stream].append(text),
        lambda text: found.notes.append(text),
    )
    found.said, found.notes = {"out": [], "err": []}, []
    return found


def sh(script, **more):
    return Job("a test", [["sh", "-c", script]], **more)


def test_a_job_with_files(runner, target, tmp_path):
    (tmp_path / "model").write_bytes(b"model" * 1000)
    (tmp_path / "photo").write_bytes(b"photo")
    job = Job(
        "a test",
        [
            ["sh", "-c", 'cat "$1" "$2" > out/both; echo done; echo note >&2', "sh", "@JOB@/in/model", "in/p"],
            ["echo", "@JOB@"],
        ],
        {"in/model": tmp_path / "model", "in/p": tmp_path / "photo"},
        {"out/both": tmp_path / "both", "out/none": tmp_path / "none"},
        frozenset({"in/model"}),
    )
    ended = runner.run(job)
    assert (ended.code, ended.found) == (0, {"out/both"})
    assert (tmp_path / "both").read_bytes() == b"model" * 1000 + b"photo"
    assert not (tmp_path / "none").exists()
    assert "".join(runner.said["out"]).startswith(f"done\n{target.root}/jobs/")
    assert runner.said["err"] == ["note\n"]
    assert not list((target.root / "jobs").iterdir())
    (kept,) = (target.root / "files").rglob("model")
    assert kept.read_bytes() == b"model" * 1000


def test_a_step_that_fails_is_the_last(runner):
    job = Job("a test", [["sh", "-c", "exit 7"], ["sh", "-c", "echo never"]])
    assert runner.run(job).code == 7
    assert not runner.said["out"]
    assert runner.run(Job("a test", [["no-such-program-at-all"]])).code == 127
    assert "cannot be started" in runner.said["err"][0]


def test_what_a_job_leaves_running_is_ended(runner):
    assert runner.run(sh("setsid sleep 4711.25 & sleep 4711.25 & exit 0")).code == 0
    assert not running("sleep 4711.25")


def test_a_link_that_fails_again_and_again(runner, target, tmp_path):
    """Every request fails now and then, before it is made."""
    target.lose = itertools.chain([False], itertools.cycle([True, True, False]))
    assert (
        runner.run(sh("for i in 1 2 3; do echo $i; done; echo x > out/x", outputs={"out/x": tmp_path / "x"})).code == 0
    )
    assert "".join(runner.said["out"]) == "1\n2\n3\n"
    assert (tmp_path / "x").read_text() == "x\n"
    assert any("Trying again" in note for note in runner.notes)


def test_patience_ends(target):
    target.lose = itertools.chain([False], itertools.repeat(True))
    with pytest.raises(BoardUnavailable, check=says("Cannot reach the board")):
        Runner(Link(target, "python3"), patience_s=0.1).run(sh("true"))
    target.lose = itertools.repeat(False)


@pytest.mark.slow
def test_patience_starts_anew_when_the_board_was_heard(target, monkeypatch):
    """A connection that is lost long after the start of a job is tried again as long as one that is lost at once."""
    monkeypatch.setattr(jobs, "_PAUSES_S", (0.01,))
    losses = []

    def hear(stream, text):
        if len(losses) < 2:
            losses.append(time.sleep(0.3))
            raise LinkLost(Failure(BoardUnavailable("lost"), passing=True))

    runner = Runner(Link(target, "python3"), hear, patience_s=0.2)
    assert runner.run(sh("echo 1; sleep 0.4; echo 2; sleep 0.4; echo 3")).code == 0
    assert len(losses) == 2


def begun(target, count=1):
    until = time.monotonic() + 30
    while len(list(target.root.glob("jobs/*/process.json"))) < count:
        assert time.monotonic() < until
        time.sleep(0.02)
    return json.loads(next(target.root.glob("jobs/*/process.json")).read_text())["pid"]


def test_two_jobs_at_once(runner, target):
    first = threading.Thread(target=runner.run, args=(sh("while ! [ -e go ]; do sleep 0.05; done"),))
    first.start()
    begun(target)
    with pytest.raises(
        BoardUnavailable, check=says("'local' is busy: a test. Wait, or see: fmedge boards status local")
    ):
        Runner(Link(target, "python3")).run(sh("true"))
    (folder,) = target.root.glob("jobs/*")
    (folder / "go").touch()
    first.join(30)
    assert runner.run(sh("true")).code == 0


@pytest.mark.parametrize("victims", ["the runner", pytest.param("everything", marks=pytest.mark.slow)])
def test_a_board_that_restarts(target, victims):
    """All its processes are killed, or the one alone that would have recorded how the job ended."""

    def kill():
        begun(target)
        (place,) = target.root.glob("jobs/*/runner.json")
        os.kill(json.loads(place.read_text())["pid"], signal.SIGKILL)
        for each in running("sleep 4712.25") if victims == "everything" else ():
            os.kill(each, signal.SIGKILL)

    beside = threading.Thread(target=kill)
    beside.start()
    ended = Runner(Link(target, "python3")).run(sh("setsid sleep 4712.25 & sleep 4712.25"))
    beside.join()
    assert ended.code is None
    assert not list((target.root / "jobs").iterdir())
    assert not running("sleep 4712.25")


def test_an_interrupt_stops_the_job_there(runner, target, tmp_path, monkeypatch):
    """What it has by then is collected."""
    script = "trap 'echo half > out/x; exit 130' INT; echo ready; while true; do sleep 0.05; done"

    def interrupt(stream, text):
        raise KeyboardInterrupt

    runner._say = interrupt
    with pytest.raises(KeyboardInterrupt):
        runner.run(sh(script, outputs={"out/x": tmp_path / "x"}))
    assert (tmp_path / "x").read_text() == "half\n"
    assert not list((target.root / "jobs").iterdir())


def test_a_number_that_belongs_to_another_process_now_is_not_killed(target):
    runs = subprocess.Popen(["sleep", "4713"], start_new_session=True)
    try:
        folder = target.root / "jobs" / "abc"
        folder.mkdir(parents=True)
        (target.root / "made.json").write_text(json.dumps([str(target.root.parent)]))
        (folder / "process.json").write_text(json.dumps({"pid": runs.pid, "start": "1", "boot": "x"}))
        (folder / "job.json").write_text(json.dumps({"title": "t", "started": 1.0, "outputs": []}))
        held = subprocess.Popen(["flock", str(folder / "alive"), "sleep", "0.5"])  # as if it ran
        assert ask(Link(target, "python3"), "stop", job="abc") == {"stopped": True}
        held.wait()
        assert runs.poll() is None
    finally:
        runs.kill()
        runs.wait()


class Hostile(LocalTarget):
    """A board that answers what it likes."""

    def __init__(self, answers):
        super().__init__()
        self.answers = answers

    def start(self, words):
        lines = b"".join(
            each if isinstance(each, bytes) else json.dumps(each).encode() + b"\n" for each in next(self.answers)
        )
        process = super().start(["sh", "-c", "exec cat >/dev/null"])
        process.stdout.close()
        process.stdout = io.BytesIO(b"\nfmedge-board-agent\n" + lines)
        return process


HOSTILE = {
    "no JSON": [b"{\n"],
    "not an object": [[1]],
    "deep": [b"[" * 100_000 + b"\n"],
    "no end": [b"x" * (2 << 20)],
    "a number that is none": [b'{"code": NaN, "outputs": {}}\n'],
    "a code that is none": [{"code": "0", "outputs": {}}],
    "no results": [{"code": 0}],
    "results of another kind": [{"code": 0, "outputs": {"out/x": "y"}}],
    "a negative size": [{"code": 0, "outputs": {"out/x": [-1, "y"]}}],
    "another stream": [{"stream": "../x", "at": 0, "text": "a"}],
    "no text": [{"stream": "out", "at": 0, "text": 5}],
    "a refusal of another kind": [{"refused": ["x"], "text": "\x1b[2J"}],
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_answers(what):
    answers = iter([[{"missing": []}], [{"started": "x"}], HOSTILE[what], HOSTILE[what]])
    with pytest.raises(BoardUnavailable) as caught:
        Runner(Link(Hostile(answers), "python3"), patience_s=0).run(sh("true"))
    assert caught.value.in_full().isprintable()


def test_results_that_nobody_asked_for_are_not_fetched(tmp_path):
    end = {"code": 0, "outputs": {"../../evil": [4, "x"], "/etc/passwd": [4, "x"]}}
    answers = iter([[{"missing": ["nobody asked"]}], [{"started": "x"}], [end], [{"discarded": "x"}]])
    ended = Runner(Link(Hostile(answers), "python3")).run(sh("true", outputs={"out/x": tmp_path / "x"}))
    assert not ended.found
    assert not list(tmp_path.iterdir())


def test_a_result_that_is_too_large_or_another(tmp_path):
    job = sh("true", outputs={"out/x": tmp_path / "x"})
    for size, more in ((1 << 40, []), (4, [[{"bytes": 4}, b"evil"]] * 3)):
        end = {"code": 0, "outputs": {"out/x": [size, "0" * 64]}}
        answers = iter([[{"missing": []}], [{"started": "x"}], [end], *more])
        with pytest.raises(BoardUnavailable):
            Runner(Link(Hostile(answers), "python3")).run(job)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.ssh
def test_a_connection_that_is_cut_again_and_again(host, tmp_path, monkeypatch):
    """A job prints numbers, and its connection is cut at random moments: each number arrives once."""
    monkeypatch.setattr(jobs, "_PAUSES_S", (0.05,))
    target = SshTarget(Board("pi", "board", ssh_config=str(host.config)))
    said = []
    generator, over = random.Random(3), threading.Event()

    def cut():
        for _ in range(4):
            over.wait(generator.uniform(0.1, 0.9))
            host.proxy.cut()
            over.wait(0.1)
            host.proxy.mend()

    beside = threading.Thread(target=cut)
    try:
        script = "for i in 0 1 2 3 4 5 6 7 8 9; do echo $i; sleep 0.2; done; head -c 3000000 /dev/zero > out/x"
        link = Link(target, "python3")
        ask(link, "state", measure=False)
        beside.start()
        ended = Runner(link, lambda _, text: said.append(text)).run(sh(script, outputs={"out/x": tmp_path / "x"}))
    finally:
        over.set()
        beside.join()
        host.proxy.mend()
    assert ended.code == 0
    assert "".join(said) == "".join(f"{number}\n" for number in range(10))
    assert (tmp_path / "x").read_bytes() == bytes(3_000_000)
    assert ask(link, "uninstall") == {"removed": True}
    target.close()
    assert not host.data.exists()
