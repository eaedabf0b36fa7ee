"""Silence, and what ends it."""

import os

import pytest

from fmedge.errors import UsageError
from fmedge.quiet import quietly


def chatter():
    os.write(2, b"from C\n")


def test_talk_is_kept_back(capfd):
    with quietly():
        chatter()
    chatter()
    assert capfd.readouterr().err == "from C\n"


def test_talk_comes_out_with_a_bug_of_ours(capfd):
    with pytest.raises(ZeroDivisionError), quietly():
        chatter()
        raise ZeroDivisionError
    assert "from C" in capfd.readouterr().err


def test_an_error_with_a_line_of_its_own_needs_no_talk(capfd):
    with pytest.raises(UsageError), quietly():
        chatter()
        raise UsageError("one line")
    assert capfd.readouterr().err == ""
