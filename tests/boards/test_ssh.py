"""Boards behind a real sshd: what is run there, and one line for each way not to get there."""

import os
import signal

import pytest

from fmedge.boards import ssh
from fmedge.boards.link import Link, ask
from fmedge.boards.probe import probe
from fmedge.boards.registry import Board
from fmedge.boards.ssh import SshTarget
from fmedge.boards.target import LinkLost
from support.boards import free_port

pytestmark = pytest.mark.ssh


@pytest.fixture
def target(host):
    found = SshTarget(Board("pi", "board", ssh_config=str(host.config)))
    yield found
    found.close()


def output(target, *words):
    process = target.start(words)
    out, err = process.communicate(timeout=60)
    assert target.failure(process.returncode, err.decode()) is None, err
    return out.decode()


ODD = ["a b", "$HOME", "`id`", "'", '"', "; id", "\\", "*", "a\nb", "-n", "", "!", "ödön", "&&", "| cat", "~"]


def test_words_arrive_as_they_are(target):
    assert output(target, "printf", r"[%s]\n", *ODD) == "".join(f"[{word}]\n" for word in ODD)


def test_one_connection_carries_everything(target, host):
    def logins():
        return (host.folder / "log").read_text().count("Accepted publickey")

    before = logins()
    for _ in range(3):
        assert output(target, "echo", "x") == "x\n"
    assert logins() == before + 1
    folder = target._socket.parent
    assert folder.stat().st_mode & 0o077 == 0
    target.close()
    assert not folder.exists()


def test_the_board_says_what_it_is(target, host):
    found = probe(target)
    assert found.machine == os.uname().machine
    assert found.writable
    assert [each.name for each in found.pythons if each.fits][-1] == "python3"
    assert not host.data.exists()  # it only looked


def test_the_agent_comes_along(target, host):
    (host.home / ".bashrc").write_text("echo Welcome to this board\n")
    try:
        assert ask(Link(target, "python3"), "state", measure=True) == {"jobs": [], "setup": None, "used_bytes": 0}
    finally:
        (host.home / ".bashrc").unlink()


FAILURES = {
    "it accepts none of your keys": lambda host: host.use("stranger"),
    "the host key has changed": lambda host: host.trust("stranger"),
    "its host key is not known here": lambda host: host.trust(None),
    "no ssh server answers there": lambda host: host.use("user", free_port()),
    "the connection was lost": lambda host: host.proxy.cut(),
    "ssh's own file is wrong": lambda host: host.config.write_text("Nonsense yes\n"),
}
PASSING = {"no ssh server answers there", "the connection was lost"}


@pytest.mark.parametrize("said", FAILURES)
def test_each_way_not_to_get_there_has_its_line(host, target, said):
    FAILURES[said](host)
    with pytest.raises(LinkLost) as caught:
        target.start(["true"])
    error = caught.value.failure.error
    assert str(error).startswith(f"Cannot reach the board 'pi': {said}")
    assert error.exit_code == 5
    assert error.hint
    assert len(error.in_full()) <= 190
    assert caught.value.failure.passing == (said in PASSING)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("ssh: Could not resolve hostname pi: Name or service not known", "cannot be resolved"),
        ("ssh: connect to host pi port 22: No route to host", "there is no way to it"),
        ("ssh: connect to host pi port 22: Connection timed out", "does not answer"),
        ("Timeout, server pi not responding.", "does not answer"),
        ("client_loop: send disconnect: Broken pipe", "connection was lost"),
        ("Received disconnect from 10.0.0.1 port 22:2: Too many authentication failures", "too many keys"),
        ("x\n\x1b[2Jsomething new\n", "?[2Jsomething new"),
        ("", "connection was lost"),
    ],
)
def test_what_ssh_says(said, meant):
    failure = SshTarget(Board("pi", "pi@pi.local")).failure(255, said)
    assert meant in str(failure.error)
    assert failure.error.in_full().isprintable()


def test_the_programs_own_code_is_no_failure(target):
    process = target.start(["sh", "-c", "echo oh >&2; exit 3"])
    _, err = process.communicate(timeout=60)
    assert (process.returncode, target.failure(3, err.decode())) == (3, None)


def test_a_connection_that_was_lost_is_made_again(target, host):
    assert output(target, "echo", "1") == "1\n"
    target._master.send_signal(signal.SIGKILL)
    target._master.wait()
    assert output(target, "echo", "2") == "2\n"
    host.proxy.cut()
    target._master.wait(60)
    with pytest.raises(LinkLost):
        target.start(["true"])
    host.proxy.mend()
    assert output(target, "echo", "3") == "3\n"


def test_a_folder_whose_name_is_too_long_for_a_socket(host, monkeypatch, target):
    monkeypatch.setattr(ssh, "_LONGEST_SOCKET", 5)
    assert output(target, "echo", "1") == "1\n"
    assert target._socket is None
