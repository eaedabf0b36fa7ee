"""What becomes of loaded models in a forked process, which inherits their memory and none of their threads.

An engine that is used or freed there may wait for threads that do not exist: ncnn when it runs, OpenVINO when a model
is freed, if only by the end of the process (seen with ncnn 20261020 and OpenVINO 2026.4 on Linux). So what was
inherited is never used and never freed. A model that the child loads itself works, in OpenVINO in a process of its own.
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
_loaded: set[str] = set()
_inherited: set[str] = set()
"""Names of the engines that this process has loaded, and of those among them that were loaded before it was forked."""

_NEVER_AGAIN = frozenset(("openvino",))
"""Engines that may hang in a forked process even in a model of its own: their threads held locks that nobody gives back
there (OpenVINO 2026.4, 1 of 4 times)."""


def loaded(engine: str) -> None:
    """Be told that an engine was loaded."""
    _loaded.add(engine)


def is_stuck(engine: str) -> bool:
    """Whether an engine was loaded before this process was forked, and may hang in it."""
    return engine in _inherited & _NEVER_AGAIN


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
    _inherited.update(_loaded)
    for holder in list(_live):
        keep_for_good(holder.leave())
    _live.clear()


in_child(_leave_all)
