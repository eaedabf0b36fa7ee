"""What becomes of loaded models in a forked process, which inherits their memory and none of their threads.

An engine that is used or freed there may wait for threads that do not exist: ncnn when it runs, OpenVINO when a model
is freed, if only by the end of the process (seen with ncnn 20261020 and OpenVINO 2026.4 on Linux). So what was
inherited is never used and never freed. A model that the child loads itself works in every engine.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from typing import Protocol
from weakref import WeakSet


class Inheritable(Protocol):
    """What holds a loaded model."""

    def leave(self) -> object:
        """Told in the child: make locks anew; returns what must never be freed there."""
        ...


_live: WeakSet[Inheritable] = WeakSet()


def watch(holder: Inheritable) -> None:
    """Have a model left alone in processes that are forked from this one, as long as its holder lives."""
    _live.add(holder)


def in_child(call: Callable[[], object]) -> None:
    """Have something called in every process that is forked from this one, where the system forks at all."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=call)


def keep_for_good(thing: object) -> None:
    """Have an object never freed, not even at the end of the process."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def _leave_all() -> None:
    for holder in list(_live):
        keep_for_good(holder.leave())
    _live.clear()


in_child(_leave_all)
