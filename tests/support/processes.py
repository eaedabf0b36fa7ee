"""What Linux tells of processes, and waiting until something is so."""

import contextlib
import time
from pathlib import Path

LONGEST_S = 60
"""Longest wait for something that has to come: only a test that fails waits so long."""


def children(process_id):
    """The numbers of its children."""
    found = []
    for task in Path(f"/proc/{process_id}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # a thread that has ended
            found += [int(word) for word in task.read_text().split()]
    return found


def words_of(process_id):
    """Its command line; empty where it is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process_id}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""


def has_mapped(process_id, name):
    """Whether a library of which the path holds this name is loaded."""
    with contextlib.suppress(OSError):
        return name.encode() in Path(f"/proc/{process_id}/maps").read_bytes()
    return False


def wait_until(process, condition, longest_s=LONGEST_S):
    """Wait for something that a command comes to while it runs."""
    ends = time.monotonic() + longest_s
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < ends, "it did not come to it"
        time.sleep(0.002)
