"""Parse the command line of ``fmedge run`` without Typer, which takes longer to load than a run computes.

The result is exactly what Typer would read: ``tests/cli/test_fast_parser.py`` compares the two. Everything else is left
to Typer: other commands, help, and whatever is wrong or unusual.
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
    """Return the function that turns a word into a value of a type of :class:`RunCommand`; no word stands for None."""
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
"""For each option that takes a value: the argument of :class:`RunCommand`, and the function that reads it."""

SWITCHES: Mapping[str, tuple[str, bool]] = {
    flag: (name, value)
    for name, option in OPTIONS.items()
    if RunCommand.__annotations__[name] in _SWITCHES
    for flag, value in zip(option.flag.split("/"), (True, False), strict=False)
}
"""For each option without a value: the argument, and the value that the option gives it."""


def read_quickly(words: Sequence[str]) -> RunCommand | None:
    """Parse a command line of ``fmedge run``; None leaves it to Typer."""
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
            if name in chosen:  # for Typer the last one counts
                return None
            chosen[name] = found
    except (KeyError, ValueError, StopIteration):
        return None
    return RunCommand(images, **chosen) if images else None


def _usual(word: str) -> str:
    """Return a word if it cannot be read in two ways.

    Raises:
        ValueError: It is empty, looks like an option, or is not valid text.
    """
    if not word or word.startswith("-"):
        raise ValueError(word)
    word.encode()
    return word
