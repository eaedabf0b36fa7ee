"""Silencing stderr, and what ends it."""

import logging
import os
import shlex
import subprocess
import sys
import threading
import warnings

import pytest
from PIL import Image

from fmedge.errors import UsageError
from fmedge.system.stderr import own_process, quietly, talk


def chatter():
    os.write(2, b"from C\n")


@pytest.fixture
def ours(capfd):
    with own_process():
        yield capfd


def test_in_somebody_elses_process_everything_is_let_through(capfd):
    with quietly():
        chatter()
        with pytest.warns(UserWarning, match="theirs"):
            warnings.warn("theirs", stacklevel=1)
    assert capfd.readouterr().err == "from C\n"


def test_talk_is_kept_back(ours):
    with quietly():
        chatter()
    chatter()
    assert ours.readouterr().err == "from C\n"


def test_talk_comes_out_with_a_bug_of_ours(ours):
    with pytest.raises(ZeroDivisionError), quietly():
        chatter()
        raise ZeroDivisionError
    assert "from C" in ours.readouterr().err


def test_an_error_with_a_line_of_its_own_needs_no_talk(ours):
    with pytest.raises(UsageError), quietly():
        chatter()
        raise UsageError("one line")
    assert ours.readouterr().err == ""


def test_threads_that_leave_in_any_order(ours):
    """The first to enter leaves first: when the second leaves, the first one's silence must not come back."""
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
    assert ours.readouterr().err == "said\nafter\n"
    assert warnings.filters == filters


def test_warnings_and_records_are_off_while_the_process_is_ours():
    filters, disabled = list(warnings.filters), logging.root.manager.disable
    with own_process():
        warnings.warn("not shown", stacklevel=1)
        assert not logging.getLogger("tensorflow").isEnabledFor(logging.ERROR)
    assert (warnings.filters, logging.root.manager.disable) == (filters, disabled)


def test_streams_that_are_missing_are_there_while_the_process_is_ours(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    monkeypatch.setattr(sys, "stdout", None)
    with own_process():
        talk("to nobody")
        print("to nobody")
        with quietly():
            talk("to nobody")
    assert sys.stdout is None
    assert sys.stderr is None


@pytest.mark.skipif(os.name != "posix", reason="POSIX shells close streams so")
@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&- >&- 2>&-"])
def test_commands_with_closed_streams(closed, tmp_path):
    """A page is drawn, and none of fmedge's files is opened under the number of a stream that engines print on."""
    image = tmp_path / "photo.png"
    Image.new("RGB", (40, 30), (200, 100, 50)).save(image)
    words = "run photo.png --weights untrained --output page.html"
    command = f"exec {shlex.quote(sys.executable)} -m fmedge {words} {closed}"
    ran = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "page.html").stat().st_size > 100_000
