"""Keep loaded models unused and unfreed in a forked process, which inherits their memory but none of their threads.

An engine that is used or freed there may wait for threads that do not exist: ncnn when it runs, OpenVINO when a model
is freed, even if only at the end of the process (seen with ncnn 20261020 and OpenVINO 2026.4 on Linux). So inherited
models are never used and never freed. A model that the child loads itself works; OpenVINO needs a separate process
for it.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from typing import Protocol
from weakref import WeakSet


class Inheritable(Protocol):
    """An object that holds a loaded model."""

    def leave(self) -> object:
        """Create new locks and return what must never be freed; called in the child."""
        ...


_live: WeakSet[Inheritable] = WeakSet()
_loaded: set[str] = set()
_inherited: set[str] = set()
"""Names of the engines that were loaded before this process was forked; ``_loaded`` names all that are loaded in it."""

_used: set[str] = set()
_spoilt: set[str] = set()
"""Names of the engines that used a device other than the CPU before this process was forked, and of all that did so."""

_NEVER_AGAIN = frozenset(("openvino",))
"""Engines that may hang in a forked process even with a model that it loads itself: at the fork their threads held
locks that nobody releases there (OpenVINO 2026.4, 1 of 4 times)."""


def loaded(engine: str, device: str = "cpu") -> None:
    """Record that an engine was loaded, or is about to use a device."""
    _loaded.add(engine)
    if device != "cpu":
        _used.add(engine)


def is_stuck(engine: str, device: str = "cpu") -> bool:
    """Return whether an engine cannot be used in this process, since it was loaded before the process was forked.

    The driver of a graphics card works in no process that was forked after its first use: CUDA refuses to start there.
    """
    return engine in _inherited & _NEVER_AGAIN or (device != "cpu" and engine in _spoilt)


def watch(holder: Inheritable) -> None:
    """Leave a model alone in processes that are forked from this one, as long as its holder lives."""
    _live.add(holder)


def in_child(call: Callable[[], object]) -> None:
    """Call a function in every process that is forked from this one, on systems that can fork."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=call)


def keep_for_good(thing: object) -> None:
    """Never free an object, not even at the end of the process."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def _leave_all() -> None:
    _inherited.update(_loaded)
    _spoilt.update(_used)
    for holder in list(_live):
        keep_for_good(holder.leave())
    _live.clear()


in_child(_leave_all)
