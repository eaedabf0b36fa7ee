"""Start work early in a background thread, while imports use one core, and collect it where it is needed."""

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
    """Start a call in a thread; :func:`take` collects its result.

    The result is found by the function and its arguments, which must be hashable. Where the limit on address space is
    low the call is left to :func:`take`.
    """
    if is_thrifty():
        return
    future: Future[Any] = Future()

    def work() -> None:
        try:
            future.set_result(function(*arguments, **none))
        except BaseException as error:  # raised where the result is collected
            future.set_exception(error)

    with _turn:
        _begun[function, *arguments] = future
    Thread(target=work, daemon=True).start()


def forget() -> None:
    """Drop results that were never collected: a file may have changed since."""
    with _turn:
        _begun.clear()


def _start_anew() -> None:
    """Reset the state in a forked process: the threads stayed with the parent, and one of them may hold the lock."""
    global _turn
    _turn = Lock()
    _begun.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)


def take(function: Callable[Arguments, Result], *arguments: Arguments.args, **none: Arguments.kwargs) -> Result:
    """Collect the result of a started call, once; make the call here if it was not started.

    Raises:
        Exception: Whatever the function raises.
    """
    with _turn:
        future = _begun.pop((function, *arguments), None)
    return function(*arguments, **none) if future is None else future.result()
