"""Reading the words of ``fmedge run`` without Typer, which takes longer to load than a run computes.

What is read here is what Typer would read, word for word: ``tests/cli/test_fast_parser.py`` compares the two.
All else is left to Typer: other commands, help, whatever is wrong or unusual.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from fmedge.cli.run_command import OPTIONS, RunCommand


def _number(word: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", word):
        raise ValueError(word)
    return int(word)


def _one_of(*allowed: str) -> Callable[[str], str]:
    def read(word: str) -> str:
        if word not in allowed:
            raise ValueError(word)
        return word

    return read


def _reader(kind: Any) -> Callable[[str], Any]:  # noqa: ANN401 - a type, an alias or a union
    """How a word becomes a value of a type of :class:`RunCommand`; None, where it is one of them, is no word."""
    if get_origin(kind) in (Union, UnionType):
        (kind,) = (each for each in get_args(kind) if each is not NoneType)
    if get_origin(kind) is Literal:
        return _one_of(*get_args(kind))
    return _number if kind is int else kind


_SWITCHES = (bool, bool | None)

VALUES: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    option.flag: (name, _reader(RunCommand.__annotations__[name]))
    for name, option in OPTIONS.items()
    if RunCommand.__annotations__[name] not in _SWITCHES
}
"""Per option that takes a value: the argument of :class:`RunCommand`, and how it is read."""

SWITCHES: Mapping[str, tuple[str, bool]] = {
    flag: (name, value)
    for name, option in OPTIONS.items()
    if RunCommand.__annotations__[name] in _SWITCHES
    for flag, value in zip(option.flag.split("/"), (True, False), strict=False)
}
"""Per option without a value: the argument, and what it makes of it."""


def read_quickly(words: Sequence[str]) -> RunCommand | None:
    """What a command line asks of ``fmedge run``; None leaves it to Typer."""
    plain = os.name == "posix" and "_FMEDGE_COMPLETE" not in os.environ  # elsewhere Typer expands patterns itself
    if not plain or not words or words[0] != "run":
        return None
    chosen: dict[str, Any] = {}
    images: list[Path] = []
    rest = iter(words[1:])
    try:
        for word in rest:
            if not word.startswith("-"):
                images.append(Path(_usual(word)))
                continue
            option, given, value = word.partition("=")
            if option in SWITCHES and not given:
                name, found = SWITCHES[option]
            else:
                name, read = VALUES[option]
                found = read(_usual(value if given else next(rest)))
            if name in chosen:  # the last one counts, for Typer
                return None
            chosen[name] = found
    except (KeyError, ValueError, StopIteration):
        return None
    return RunCommand(images, **chosen) if images else None


def _usual(word: str) -> str:
    """A word that nobody reads in two ways.

    Raises:
        ValueError: It is empty, looks like an option, or is no text.
    """
    if not word or word.startswith("-"):
        raise ValueError(word)
    word.encode()
    return word
