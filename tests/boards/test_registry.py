"""The list of boards: what may stand there, and what becomes of it."""

import stat

import pytest

from fmedge.boards.registry import (
    Board,
    add_board,
    find_board,
    find_boards,
    read_boards,
    registry_path,
    remember_python,
    remove_board,
)
from fmedge.errors import UsageError
from support.messages import says


@pytest.fixture(autouse=True)
def _settings(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))


def test_boards_are_kept():
    one = Board("pi5", "pi@pi5.local")
    two = Board("jetson-2", "ssh://ubuntu@[fe80::1%eth0]:2222", "python3.12", '/home/a "b"/ödön\U0001f408')
    add_board(one)
    add_board(two)
    assert read_boards() == {"jetson-2": two, "pi5": one}
    assert remember_python(one, "python3.11") == find_board("pi5") == Board("pi5", "pi@pi5.local", "python3.11")
    remove_board("jetson-2")
    remove_board("jetson-2")
    assert list(read_boards()) == ["pi5"]
    assert stat.S_IMODE(registry_path().stat().st_mode) & 0o111 == 0
    assert find_boards(["local", "pi5"]) == {"local": None, "pi5": find_board("pi5")}


def test_a_name_is_given_once():
    add_board(Board("pi", "a"))
    with pytest.raises(UsageError, check=says("There is a board 'pi' already: a")):
        add_board(Board("pi", "b"))
    with pytest.raises(UsageError, check=says(r"Unknown board 'pii'. Closest: 'pi'. All: fmedge boards list")):
        find_board("pii")


@pytest.mark.parametrize("name", ["", "Pi", "-a", "a b", "a/b", "a.b", "local", "a" * 33, "ä", "a\n"])
def test_names_that_cannot_be(name):
    with pytest.raises(UsageError, check=says("cannot be named")):
        Board(name, "host")


@pytest.mark.parametrize(
    "target", ["", "-oProxyCommand=x", "a b", "a;b", "$(x)", "a'b", "a\nb", "x" * 300, "a|b", "`a`"]
)
def test_targets_that_are_options_or_for_a_shell(target):
    with pytest.raises(UsageError, check=says("is not a target")):
        Board("a", target)


@pytest.mark.parametrize("python", ["-c", "a;b", "$(x)", " a", "a\n", "'"])
def test_pythons_that_are_options_or_for_a_shell(python):
    with pytest.raises(UsageError, check=says("is not a Python")):
        Board("a", "host", python)


@pytest.mark.parametrize("place", ["relative", "/a\nb", "/a\udcff"])
def test_configurations_that_cannot_be_kept(place):
    with pytest.raises(UsageError, check=says("cannot be kept")):
        Board("a", "host", "", place)


@pytest.mark.parametrize(
    "text",
    ["[pi", "pi = 1", '[pi]\ntarget = 1', '[pi]\ntarget = "-x"', '[pi]\nx = "a"\ntarget = "a"', "[pi]",
     '["a b"]\ntarget = "a"',
     "\xff", '[a]\ntarget = "b"\npython = "\\u0000"'],
)  # fmt: skip
def test_a_damaged_list(text):
    registry_path().parent.mkdir(parents=True)
    registry_path().write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError):
        read_boards()
