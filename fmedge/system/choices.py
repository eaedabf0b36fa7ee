"""Check values of options once, where they come in: one of several words, a switch, a record, a whole number."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from fmedge.errors import UsageError, closest

Word = TypeVar("Word", bound=str)

StrPath = str | os.PathLike[str]
"""A path, as text or as an object such as :class:`pathlib.Path`."""


def one_of(what: str, value: object, allowed: Iterable[Word]) -> Word:
    """Return the allowed word that a value spells.

    Args:
        what: What the value is, for the message: ``precision``.
        value: What was given: a word or a member of an enumeration.
        allowed: The allowed words. If they are members of an enumeration, the member itself is returned, so that ``is``
            works.

    Raises:
        UsageError: The value is none of them.
    """
    words = tuple(allowed)
    if isinstance(value, str):
        for word in words:
            if word == value:
                return word
        got = f"'{value}'.{closest(value, words)}"
    else:
        got = f"{value!r}."
    raise UsageError(f"Unknown {what} {got} Allowed: {', '.join(words)}.")


def require_switch(what: str, value: object) -> None:
    """Check that a value is True or False.

    Raises:
        UsageError: It is not; a word such as ``"no"`` would count as True.
    """
    if not isinstance(value, bool):
        raise UsageError(f"{what}: got {value!r}. Allowed: True, False.")


def require_record(what: str, value: object, kind: type) -> None:
    """Check that a value is a record of options, or None, which stands for the defaults.

    Args:
        what: What the value is, for the message: ``run``.
        value: What was given.
        kind: Its class, which :mod:`fmedge` exports under the same name.

    Raises:
        UsageError: It is neither.
    """
    if value is not None and not isinstance(value, kind):
        raise UsageError(f"{what}: got {value!r}. Allowed: fmedge.{kind.__name__}(...), or None (the defaults).")


def require_whole(what: str, value: object, *, unset: str = "") -> None:
    """Check that a value is a whole number, of Python or NumPy; its range is checked where it is used.

    Args:
        what: What the value is, for the message: ``batch``.
        value: What was given.
        unset: What None stands for, for the message; empty where None is not allowed.

    Raises:
        UsageError: It is not.
    """
    if value is None and unset:
        return
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        also = f", or None ({unset})" if unset else ""
        raise UsageError(f"{what}: got {value!r}. Allowed: a whole number{also}.")


def find_path(what: str, value: object) -> Path:
    """The path that a text or path object names.

    Args:
        what: What the value is, for the message: ``models``.
        value: What was given: ``str``, or anything with ``__fspath__`` that gives one.

    Raises:
        UsageError: It is neither, such as a number or bytes.
    """
    text = os.fspath(value) if isinstance(value, os.PathLike) else value  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if not isinstance(text, str):
        raise UsageError(f"{what}: got {value!r}. Allowed: a path, as a string or an object such as pathlib.Path.")
    return Path(text)
