"""Work begun in a thread before the place is reached that needs it: beside imports, which use one core."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock, Thread
from typing import Any, ParamSpec, TypeVar

from fmedge.system.address_space import is_thrifty

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_begun: dict[tuple[Any, ...], Future[Any]] = {}
_turn = Lock()


def begin(function: Callable[Arguments, Any], *arguments: Arguments.args, **none: Arguments.kwargs) -> None:
    """Begin a call whose result :func:`take` will ask for, with the same arguments; they can be hashed.

    Where memory is short it is left for later.
    """
    if is_thrifty():
        return
    future: Future[Any] = Future()

    def work() -> None:
        try:
            future.set_result(function(*arguments, **none))
        except BaseException as error:  # raised where the result is asked for
            future.set_exception(error)

    with _turn:
        _begun[function, *arguments] = future
    Thread(target=work, daemon=True).start()


def forget() -> None:
    """Leave what was begun and never asked for: a file may be another one by now."""
    with _turn:
        _begun.clear()


def _start_anew() -> None:
    """In a forked process: the threads stayed with the parent, and one of them may have had the lock."""
    global _turn
    _turn = Lock()
    _begun.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)


def take(function: Callable[Arguments, Result], *arguments: Arguments.args, **none: Arguments.kwargs) -> Result:
    """The result of a call that was begun, once; of one that was not, it is made here.

    Raises:
        Exception: What the function raises.
    """
    with _turn:
        future = _begun.pop((function, *arguments), None)
    return function(*arguments, **none) if future is None else future.result()
