"""Silence, and what ends it."""

import os
import threading
import warnings

import pytest

from fmedge.errors import UsageError
from fmedge.quiet import quietly, talk


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


def test_threads_that_leave_in_any_order(capfd):
    """The first to enter leaves first: the second's end must not bring back the first's silence."""
    entered, left = threading.Event(), threading.Event()

    def other():
        with quietly():
            entered.set()
            left.wait()
            chatter()

    thread = threading.Thread(target=other)
    filters = list(warnings.filters)
    with quietly():
        thread.start()
        entered.wait()
        talk("said")
    chatter()
    left.set()
    thread.join()
    talk("after")
    assert capfd.readouterr().err == "said\nafter\n"
    assert warnings.filters == filters
