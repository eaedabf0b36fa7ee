"""Start work early in a background thread and collect the result where it is needed: imports use one core alone."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from threading import Thread
from typing import ParamSpec, TypeVar

from fmedge.system.address_space import is_thrifty

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def start(
    function: Callable[Arguments, Result], *arguments: Arguments.args, **keywords: Arguments.kwargs
) -> Callable[[], Result]:
    """Start a call in a background thread.

    If the limit on address space is low, the call is made where its result is asked for.

    Returns:
        A function that waits for the result and returns it, or raises what the call raised.
    """
    call = partial(function, *arguments, **keywords)
    if is_thrifty():
        return call
    future: Future[Result] = Future()

    def work() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # raised where the result is asked for
            future.set_exception(error)

    Thread(target=work, daemon=True).start()
    return future.result
