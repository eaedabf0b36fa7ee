"""Turn words of the command line into values: the parsing that Typer does not do; it works without Typer."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TypeVar

from fmedge.errors import UsageError, closest
from fmedge.model.preprocessing import Preprocessing
from fmedge.model.run_options import Math, RunOptions
from fmedge.model.submodel import OWN_SIZE

_MAX_THREADS = 1024
"""Most threads that are accepted here: no machine has more cores, and the session allows fewer still."""

Choice = TypeVar("Choice", bound=StrEnum)


def split(words: str) -> list[str]:
    """Split words at commas, keeping each once; a comma after a backslash belongs to its word.

    Raises:
        UsageError: There is no word.
    """
    found = list(dict.fromkeys(word.strip() for word in re.split(r"(?<!\\),", words) if word.strip()))
    if not found:
        raise UsageError(f"'{words}' is empty. Give one value, or several separated by commas.")
    return found


def parse_list(words: str, choices: type[Choice]) -> list[Choice]:
    """Split words at commas into members of an enumeration.

    Raises:
        UsageError: A word is not one of them.
    """
    allowed = [str(choice) for choice in choices]
    for word in split(words):
        if word not in allowed:
            raise UsageError(
                f"Unknown {choices.__name__.lower()} '{word}'.{closest(word, allowed)} Allowed: {', '.join(allowed)}."
            )
    return [choices(word) for word in split(words)]


def parse_size(word: str | None) -> tuple[int, int] | None:
    """Read a size: ``N`` or ``HxW`` in pixels, or ``dynamic`` (None); without a word it is the network's own.

    Raises:
        UsageError: It is none of these.
    """
    if word is None:
        return OWN_SIZE
    if word == "dynamic":
        return None
    match = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", word)
    if match is None:
        raise UsageError(f"--size {word}: not a size. Allowed: a number, HEIGHTxWIDTH, dynamic.")
    return int(match[1]), int(match[2] or match[1])


def parse_fixed_size(word: str | None) -> tuple[int, int]:
    """Read a size that is ``N`` or ``HxW`` in pixels; without a word it is the network's own.

    Raises:
        UsageError: It is neither.
    """
    size = parse_size(word)
    if size is None:
        raise UsageError("--size dynamic: a run has one size. Give one: --size 224, or HEIGHTxWIDTH.")
    return size


def parse_preprocessing(
    word: str | None, scale: str | None, mean: str | None, std: str | None, order: str | None
) -> str | Preprocessing | None:
    """Read the preprocessing of a Keras model: a word, a formula, or None where neither is given.

    Raises:
        UsageError: Both are given, or one is not understood.
    """
    if (scale, mean, std, order) == (None,) * 4:
        return word
    if word is not None:
        raise UsageError(f"--preprocessing {word} excludes --scale, --mean, --std and --order. Use one or the other.")
    return Preprocessing(
        (order or "rgb").upper(),
        _numbers("--mean", mean or "0"),
        scale=_numbers("--scale", scale or "1")[0],
        std=_numbers("--std", std or "1"),
    )


def _numbers(flag: str, words: str) -> tuple[float, ...]:
    """Read numbers, or fractions such as ``1/255``, separated by commas."""
    from fractions import Fraction  # rarely needed

    try:
        found = tuple(float(Fraction(word.strip())) for word in words.split(","))
    except (ValueError, ZeroDivisionError, OverflowError) as error:
        raise UsageError(f"{flag} {words}: not a number. Allowed: numbers such as 0.5 or 1/255.") from error
    allowed = "1" if flag == "--scale" else "1 or 3"
    if str(len(found)) not in allowed.split():
        raise UsageError(f"{flag} {words}: {len(found)} numbers. Allowed: {allowed}.")
    return found


def parse_threads(words: str) -> tuple[int, ...]:
    """Read numbers of threads separated by commas, keeping each once.

    Raises:
        UsageError: A word is not a number of threads.
    """
    for word in split(words):
        if not word.isdecimal() or not 1 <= int(word) <= _MAX_THREADS:
            raise UsageError(f"--threads {words}: '{word}' is not a number of threads. Allowed: 1, 2 and so on.")
    return tuple(dict.fromkeys(map(int, split(words))))


def parse_batch(word: str) -> int | None:
    """Read a number of images, or ``dynamic`` (None).

    Raises:
        UsageError: It is neither.
    """
    if word == "dynamic":
        return None
    if not re.fullmatch(r"\d{1,5}", word):
        raise UsageError(f"--batch {word}: not a number of images. Allowed: 1, 2, 3… or dynamic.")
    return int(word)


def parse_cpus(words: str) -> tuple[int, ...]:
    """Read numbers of cores separated by commas, keeping each once; or a side of the machine: big, little or all.

    Raises:
        UsageError: A word is not a number, or the machine's cores are all alike.
    """
    if words in ("big", "little", "all"):
        from fmedge.system.topology import choose_cpus

        return choose_cpus(words)
    for word in split(words):
        if not re.fullmatch(r"\d{1,5}", word):
            raise UsageError(
                f"--cpus {words}: '{word}' is not a core number. Allowed: 0, or 0,1 and so on; big, little, all."
            )
    return tuple(dict.fromkeys(map(int, split(words))))


def run_options(
    backend: str | None, device: str, threads: int | None, cpus: str | None, math: Math, allow_fallback: bool
) -> RunOptions:
    """Make run options from the flags that several commands share.

    Raises:
        UsageError: ``cpus`` are not numbers.
    """
    return RunOptions(
        backend, device, threads, None if cpus is None else parse_cpus(cpus), math, allow_fallback=allow_fallback
    )
